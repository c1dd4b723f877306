"""The documentation keeps up: commands have help and a section, the README names every file, links resolve."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from forewarn.cli.app import make_app

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "forewarn"
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


TREE_LINE = re.compile(r"^(?P<indent> *)(?P<name>[\w.\-*]+/?)(?: {2,}(?P<says>\S.*))?$")


def tree_of(page: str) -> tuple[dict[str, str], list[str]]:
    """``path below src/forewarn -> its one line`` of the fenced tree that starts with ``src/forewarn/``; odd lines."""
    fence = re.search(r"^```\w*\nsrc/forewarn/[^\n]*\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL)
    if not fence:
        return {}, ["no fenced tree that starts with src/forewarn/"]
    described: dict[str, str] = {}
    odd: list[str] = []
    folders: list[tuple[int, str]] = []
    for line in fence.group(1).splitlines():
        match = TREE_LINE.match(line)
        if not match:
            odd.append(f"not a line of the tree: {line!r}")
            continue
        indent = len(match["indent"])
        while folders and folders[-1][0] >= indent:
            folders.pop()
        path = "".join(folder for _, folder in folders) + match["name"]
        described[path] = match["says"] or ""
        if path.endswith("/"):
            folders.append((indent, match["name"]))
    return described, odd


def package_tree() -> set[str]:
    """Files a reader can open, and their folders; a folder's line stands for its ``__init__.py``."""
    paths = set()
    for file in PACKAGE.rglob("*.py"):
        relative = file.relative_to(PACKAGE)
        if file.name != "__init__.py" or relative.parent == Path():
            paths.add(relative.as_posix())
        paths.update(f"{folder.as_posix()}/" for folder in relative.parents if folder != Path())
    return paths


def test_the_readme_names_every_file() -> None:
    described, faults = tree_of((ROOT / "README.md").read_text())
    wanted = package_tree()
    faults += [f"missing: {path}" for path in sorted(wanted - described.keys())]
    faults += [
        f"no such file: {path}"
        for path in sorted(described.keys() - wanted)
        if not any(PACKAGE.glob(path))  # data files and folders may be named too
    ]
    faults += [f"no description: {path}" for path, says in described.items() if not says]
    assert not faults, "the tree in README.md:\n" + "\n".join(faults)


def test_links_between_pages_resolve() -> None:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    broken = []
    for page in pages:
        text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
            if "://" not in target and not (page.parent / target).exists():
                broken.append(f"{page.relative_to(ROOT)}: {target}")
    assert not broken, "\n".join(broken)
