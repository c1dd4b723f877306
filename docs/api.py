"""docs/api.md, made from the docstrings of what ``import forewarn`` offers. Run this file to bring the page up to date.

It reads the source and imports nothing of it but the list of names.
"""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import forewarn

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "api.md"
START = "<!-- made by docs/api.py from the docstrings -->"


def entries() -> str:
    """The page below ``START``: each name with what it takes and its docstring, by the module it comes from."""
    parts = []
    for home, names in forewarn._HOMES.items():
        parts.append(f"## From `{home}`")
        for name in names:
            node, home_of_it = definition(home, name)
            parts += [f"### `{name}`", *described(node, home_of_it)]
    return "\n\n".join(parts) + "\n"


def definition(module: str, name: str) -> tuple[ast.stmt, str]:
    """Where a name is defined, followed through the packages that pass it on."""
    tree = ast.parse(source(module).read_text())
    for i, node in enumerate(tree.body):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name:
            return node, module
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(target, ast.Name) and target.id == name for target in targets):
                following = tree.body[i + 1] if i + 1 < len(tree.body) else None
                return ast.copy_location(ast.Module([node, *([following] if following else [])], []), node), module
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and any(alias.name == name for alias in node.names):
            return definition(node.module, name)
    raise LookupError(f"{module} has no {name}")


def source(module: str) -> Path:
    path = ROOT / "src" / Path(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def described(node: ast.AST, home: str) -> list[str]:
    """What a definition takes, as code, and its docstring."""
    if isinstance(node, ast.FunctionDef):
        return [code(f"{node.name}{arguments(node)}"), ast.get_docstring(node) or ""]
    if isinstance(node, ast.ClassDef):
        makers = [item for item in node.body if isinstance(item, ast.FunctionDef) and item.name == "__init__"]
        text = [code(f"class {node.name}{arguments(makers[0]) if makers else ''}"), ast.get_docstring(node) or ""]
        fields = list(fields_of(node))
        return [*text, "\n".join(fields)] if fields else text
    assert isinstance(node, ast.Module)
    return [code(ast.unparse(node.body[0])), docstring_of(node.body[1]) if len(node.body) > 1 else ""]


def arguments(node: ast.FunctionDef) -> str:
    """The arguments of a function without ``self``, and what it returns."""
    kept = [arg for arg in node.args.args if arg.arg != "self"]
    given = ast.arguments(**{**dict(ast.iter_fields(node.args)), "args": kept})
    returns = f" -> {ast.unparse(node.returns)}" if node.returns and node.name != "__init__" else ""
    return f"({ast.unparse(given)}){returns}"


def fields_of(node: ast.ClassDef) -> list[str]:
    """One line for each field of a record, and what its docstring says."""
    lines = []
    for item, following in zip(node.body, [*node.body[1:], None], strict=True):
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name) and item.target.id[0] != "_":
            says = docstring_of(following)
            lines.append(f"- `{ast.unparse(item)}`" + (f": {says}" if says else ""))
    return lines


def docstring_of(node: ast.AST | None) -> str:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
        return " ".join(inspect.cleandoc(node.value.value).split())
    return ""


def code(text: str) -> str:
    return f"```python\n{text}\n```"


def page() -> str:
    """The whole page: what is written by hand above ``START``, and the entries below it."""
    return PAGE.read_text().split(START)[0] + f"{START}\n\n{entries()}"


if __name__ == "__main__":
    PAGE.write_text(page())
