"""The documentation keeps up: commands have help and a section, the layout names every file, links resolve."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import typer
from docs.tree import PACKAGE, ROOT, package_tree, read_tree, write_tree

from forewarn.cli.app import make_app

MIN_HELP_WORDS = 2


def commands(command: Any = None, name: str = "forewarn") -> Iterator[tuple[str, Any]]:
    """Every command and group with its full name, from the application itself."""
    command = command or typer.main.get_command(make_app())
    yield name, command
    for child_name, child in getattr(command, "commands", {}).items():
        yield from commands(child, f"{name} {child_name}")


def verbs() -> list[tuple[str, Any]]:
    return [(name, command) for name, command in commands() if not hasattr(command, "commands")]


def test_there_are_commands() -> None:
    assert "forewarn estimate" in dict(verbs())


def test_every_command_has_help() -> None:
    bare = [name for name, command in commands() if len((command.help or "").split()) < MIN_HELP_WORDS]
    assert not bare, f"these commands lack a help text: {bare}"


def test_every_option_has_help() -> None:
    bare = [f"{name} {p.opts[0]}" for name, command in verbs() for p in command.params if not getattr(p, "help", "")]
    assert not bare, f"these options lack a help text: {bare}"


def sections(page: str) -> dict[str, str]:
    """Heading -> text below it, of ``## `forewarn verb` `` headings."""
    parts = re.split(r"^## +`(forewarn[^`]*)`\s*$", page, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_every_command_is_documented() -> None:
    documented = sections((ROOT / "docs" / "cli.md").read_text())
    wanted = dict(verbs())
    missing = [f"no section ## `{name}`" for name in wanted.keys() - documented.keys()]
    stale = [f"a section for {name}, which is no command" for name in documented.keys() - wanted.keys()]
    options = [
        f"`{name}` does not mention {option}"
        for name in wanted.keys() & documented.keys()
        for parameter in wanted[name].params
        for option in (*parameter.opts, *parameter.secondary_opts)
        if option.startswith("--") and option not in documented[name]
    ]
    faults = missing + stale + options
    assert not faults, "docs/cli.md:\n" + "\n".join(sorted(faults))


def test_the_layout_names_every_file() -> None:
    words, faults = read_tree((ROOT / "docs" / "layout.md").read_text())
    wanted = package_tree()
    faults += [f"missing: {path}" for path in sorted(wanted.keys() - words.keys())]
    # data files and folders may be named too
    faults += [f"no such file: {p}" for p in sorted(words.keys() - wanted.keys()) if not any(PACKAGE.glob(p))]
    faults += [f"no description: {path}" for path, says in words.items() if not says]
    assert not faults, "the tree in docs/layout.md (python docs/tree.py brings it up to date):\n" + "\n".join(faults)


def test_a_new_file_would_be_seen_and_described() -> None:
    page = "```text\nsrc/forewarn/\n  a.py  old words\n  sub/  a folder\n    gone.py  was here\n```\n"
    words, faults = read_tree(page)
    assert (words, faults) == ({"a.py": "old words", "sub/": "a folder", "sub/gone.py": "was here"}, [])
    paths = {"a.py": PACKAGE / "store.py", "sub/": PACKAGE / "cli" / "__init__.py", "sub/b.py": PACKAGE / "errors.py"}
    lines = [line.split(maxsplit=1) for line in write_tree(words, paths).splitlines()]
    assert [line[0] for line in lines] == ["a.py", "sub/", "b.py"]
    assert lines[0][1] == "old words"
    assert lines[2][1].startswith("Errors a user can act on")


def test_links_between_pages_resolve() -> None:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    broken = []
    for page in pages:
        text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
            if "://" not in target and not (page.parent / target).exists():
                broken.append(f"{page.relative_to(ROOT)}: {target}")
    assert not broken, "\n".join(broken)
