"""The tree in docs/layout.md: one line for each file of src/forewarn. Run this file to bring the tree up to date.

Lines that are there keep their words; a new file gets the first sentence of its docstring, to be shortened by hand.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "forewarn"
PAGE = ROOT / "docs" / "layout.md"

TREE = re.compile(r"(?P<head>^```\w*\nsrc/forewarn/\n)(?P<lines>.*?)(?P<foot>^```)", flags=re.MULTILINE | re.DOTALL)
LINE = re.compile(r"^(?P<indent> *)(?P<name>[\w.\-*]+/?)(?: {2,}(?P<says>\S.*))?$")
WORDS_COLUMN = 44


def read_tree(page: str) -> tuple[dict[str, str], list[str]]:
    """``path below src/forewarn -> its words`` of the page's tree, and what is wrong with its lines."""
    found = TREE.search(page)
    if not found:
        return {}, ["no fenced tree that starts with src/forewarn/"]
    words: dict[str, str] = {}
    odd: list[str] = []
    folders: list[tuple[int, str]] = []
    for line in found["lines"].splitlines():
        match = LINE.match(line)
        if not match:
            odd.append(f"not a line of the tree: {line!r}")
            continue
        indent = len(match["indent"])
        while folders and folders[-1][0] >= indent:
            folders.pop()
        path = "".join(folder for _, folder in folders) + match["name"]
        words[path] = match["says"] or ""
        if path.endswith("/"):
            folders.append((indent, match["name"]))
    return words, odd


def package_tree() -> dict[str, Path]:
    """Path below src/forewarn -> the file that describes it; a folder's line stands for its ``__init__.py``."""
    paths: dict[str, Path] = {}
    for file in PACKAGE.rglob("*.py"):
        relative = file.relative_to(PACKAGE)
        for folder in list(relative.parents)[:-1]:
            paths[f"{folder.as_posix()}/"] = PACKAGE / folder / "__init__.py"
        if file.name != "__init__.py" or relative.parent == Path():
            paths[relative.as_posix()] = file
    return paths


def first_sentence(file: Path) -> str:
    doc = (ast.get_docstring(ast.parse(file.read_text())) if file.exists() else None) or ""
    return re.split(r"(?<=[^.])\.(?:\s|$)", " ".join(doc.split("\n\n")[0].split()), maxsplit=1)[0].replace("``", "")


def write_tree(words: dict[str, str], paths: dict[str, Path]) -> str:
    """The tree's lines: files of a folder in the order they had, new ones after them; folders after files."""
    rank = {path: i for i, path in enumerate(words)}

    def place(path: str) -> tuple[int, str]:
        return rank.get(path, len(rank)), path

    def lines(folder: str, depth: int) -> list[str]:
        inside = [p for p in paths if p.startswith(folder) and "/" not in p[len(folder) :].rstrip("/") and p != folder]
        out = []
        for path in sorted(inside, key=lambda p: (p.endswith("/"), *place(p))):
            name = "  " * depth + path[len(folder) :]
            says = words.get(path) or first_sentence(paths[path])
            out.append(f"{name:<{WORDS_COLUMN - 2}}  {says}")
            if path.endswith("/"):
                out += lines(path, depth + 1)
        return out

    return "".join(f"{line}\n" for line in lines("", 1))


def main() -> None:
    page = PAGE.read_text()
    words, _ = read_tree(page)
    tree = write_tree(words, package_tree())
    PAGE.write_text(TREE.sub(lambda found: found["head"] + tree + found["foot"], page))


if __name__ == "__main__":
    main()
