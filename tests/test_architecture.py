"""The house's rules, enforced on the source: floors, banned imports, line limits, registries, boundaries, paths."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "forewarn"

FLOOR_BY_ROOM = {
    "": -1,  # forewarn/__init__.py: the version, which anyone may read, and names that load when they are used
    "records": 0,
    "errors": 0,
    "store": 0,
    "text": 0,
    "workers": 1,
    "exploits": 1,
    "estimation": 1,
    "sandbox": 1,
    "worlds": 2,
    "problems": 2,
    "judge": 2,
    "prediction": 2,
    "formats": 2,
    "checkpoints": 2,
    "engines": 3,
    "admission": 3,
    "interpolation": 4,
    "training": 5,
    "study": 6,
    "report": 7,
    "monitor": 8,
    "integrations": 9,
    "organism": 9,
    "bench": 10,
    "cli": 11,
    "__main__": 12,
}
GROUND_FLOOR = 0
"""records and the three modules beside them form one room"""

TORCH_FREE = {
    "records",
    "errors",
    "store",
    "workers",
    "exploits",
    "sandbox",
    "judge",
    "estimation",
    "worlds",
    "prediction",
}
TORCH_FAMILY = {"torch", "transformers", "peft", "tokenizers", "safetensors", "accelerate", "vllm"}
ARRAYS_ONLY = {"estimation", "prediction"}
"""NumPy and SciPy and nothing else from outside"""

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60

HARMLESS_DECORATORS = {
    "abstractmethod", "cache", "cached_property", "classmethod", "contextmanager", "dataclass", "field_validator",
    "inference_mode", "lru_cache", "model_validator", "no_grad", "overload", "override", "property",
    "runtime_checkable", "setter", "staticmethod", "total_ordering", "wraps",
}  # fmt: skip
"""decorators that change or describe what they stand on; one that adds it to a list elsewhere is a hidden registry"""

CATCH_ALL_BOUNDARIES = {"sandbox/inside/worker.py:attempt"}
"""``room/file.py:function`` that may catch everything: the one helper through which a submission's code is run"""


def source_files() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def python_files() -> list[Path]:
    return sorted(p for folder in ("src", "tests", "benchmarks") for p in (ROOT / folder).rglob("*.py"))


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), filename=str(path))


def here(path: Path, node: ast.AST | None = None) -> str:
    line = getattr(node, "lineno", None)
    return f"{path.relative_to(ROOT)}" + (f":{line}" if line else "")


def room_of(path: Path) -> str:
    """The first part of a module's name below ``forewarn``."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return "" if parts == ("__init__",) else parts[0]


def imported_modules(path: Path, tree: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """Full dotted names of what a file imports, at its top or within functions (names of ``from`` imports included)."""
    package = path.relative_to(PACKAGE.parent).parent.parts
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = ".".join((*package[: len(package) - node.level + 1], *([node.module] if node.module else [])))
            for alias in node.names:
                yield f"{base}.{alias.name}", node


def imported_rooms(path: Path) -> Iterator[tuple[str, ast.AST]]:
    for name, node in imported_modules(path, parse(path)):
        first, *rest = name.split(".")
        if first == "forewarn":
            inner = rest[0] if rest else ""
            # ``from forewarn import __version__`` names an attribute of the package itself.
            yield (inner if inner in FLOOR_BY_ROOM else "") if len(rest) < 2 else inner, node


def test_every_module_is_on_a_floor() -> None:
    homeless = {room_of(p) for p in source_files()} - FLOOR_BY_ROOM.keys()
    assert not homeless, f"give these a floor in FLOOR_BY_ROOM and in the docs: {sorted(homeless)}"


def test_imports_go_down() -> None:
    wrong = []
    for path in source_files():
        room = room_of(path)
        if room == "":  # the front door offers names of every floor, which it loads when they are asked for
            continue
        floor = FLOOR_BY_ROOM[room]
        for other, node in imported_rooms(path):
            other_floor = FLOOR_BY_ROOM.get(other)
            same_room = other == room or (floor == other_floor == GROUND_FLOOR)
            if other_floor is None:
                wrong.append(f"{here(path, node)}: imports forewarn.{other}, which is on no floor")
            elif not same_room and other_floor >= floor:
                wrong.append(f"{here(path, node)}: {room} (floor {floor}) imports {other} (floor {other_floor})")
    assert not wrong, "\n".join(wrong)


def test_torch_stays_out_of_the_light_rooms() -> None:
    wrong = [
        f"{here(path, node)}: {room_of(path)} imports {name}"
        for path in source_files()
        if room_of(path) in TORCH_FREE
        for name, node in imported_modules(path, parse(path))
        if name.split(".")[0] in TORCH_FAMILY
    ]
    assert not wrong, "\n".join(wrong)


def test_estimation_and_prediction_need_only_numpy_and_scipy() -> None:
    allowed = {"numpy", "scipy", "forewarn", "__future__"} | sys.stdlib_module_names
    wrong = [
        f"{here(path, node)}: {room_of(path)} imports {name}"
        for path in source_files()
        if room_of(path) in ARRAYS_ONLY
        for name, node in imported_modules(path, parse(path))
        if name.split(".")[0] not in allowed
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("forewarn.cli.app", {"torch", "transformers", "numpy", "polars", "matplotlib", "altair"}),
        ("forewarn", TORCH_FAMILY | {"numpy", "polars", "scipy", "pydantic", "rich"}),
        ("forewarn.judge.judge", TORCH_FAMILY),
        ("forewarn.study", TORCH_FAMILY - {"tokenizers"}),
        ("forewarn.report.problem_tables", TORCH_FAMILY | {"scipy", "matplotlib", "altair"}),
        ("forewarn.estimation", TORCH_FAMILY | {"polars", "matplotlib"}),
    ],
)
def test_importing_is_light(module: str, unwanted: set[str]) -> None:
    code = f"import sys, {module}; print(*sorted({unwanted!r} & sys.modules.keys()))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not loaded, f"importing {module} also imports {', '.join(loaded)}"


def test_files_are_short() -> None:
    wrong = [
        f"{here(path)}: {n} lines"
        for path in python_files()
        if (n := len(path.read_text().splitlines())) > MAX_FILE_LINES
    ]
    assert not wrong, f"more than {MAX_FILE_LINES} lines:\n" + "\n".join(wrong)


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_functions_are_short() -> None:
    wrong = [
        f"{here(path, node)}: {node.name} has {length} lines"
        for path in python_files()
        for node in functions(parse(path))
        if (length := (node.end_lineno or node.lineno) - node.lineno + 1) > MAX_FUNCTION_LINES
    ]
    assert not wrong, f"more than {MAX_FUNCTION_LINES} lines:\n" + "\n".join(wrong)


def last_name(node: ast.expr) -> str:
    if isinstance(node, ast.Call):
        return last_name(node.func)
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else "?"


def test_no_decorator_registers() -> None:
    wrong = [
        f"{here(path, decorator)}: @{ast.unparse(decorator)}"
        for path in source_files()
        for node in ast.walk(parse(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        for decorator in node.decorator_list
        if last_name(decorator) not in HARMLESS_DECORATORS
    ]
    assert not wrong, "registries are dict literals; if these register nothing, add them to the list:\n" + "\n".join(
        wrong
    )


def catch_alls(path: Path) -> Iterator[tuple[str, ast.ExceptHandler]]:
    """Handlers of everything (bare, Exception, BaseException), each with the name of the function around it."""

    def visit(node: ast.AST, function: str) -> Iterator[tuple[str, ast.ExceptHandler]]:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            function = node.name
        if isinstance(node, ast.ExceptHandler):
            caught = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
            if any(kind is None or last_name(kind) in {"Exception", "BaseException"} for kind in caught):
                yield f"{path.relative_to(PACKAGE)}:{function}", node
        for child in ast.iter_child_nodes(node):
            yield from visit(child, function)

    yield from visit(parse(path), "<module>")


def test_everything_is_caught_in_one_place_at_most() -> None:
    assert len(CATCH_ALL_BOUNDARIES) <= 1
    wrong = [
        f"{here(path, node)}: except Exception in {name}"
        for path in source_files()
        for name, node in catch_alls(path)
        if name not in CATCH_ALL_BOUNDARIES
    ]
    assert not wrong, f"name the errors you expect, or call foreign code through {CATCH_ALL_BOUNDARIES}:\n" + "\n".join(
        wrong
    )


SOMEONES_FOLDER = re.compile(
    r"""(?<![\w.~$}/:<>*-])/(?:home|root|Users|work|workspace|opt|mnt|srv|scratch|data)/[\w.]"""
)
"""absolute paths that exist on one machine; /proc, /dev, /usr and /tmp belong to every one"""


def tracked_text_files() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    paths = [ROOT / name for name in listed.stdout.split("\0") if name]
    return [p for p in paths if p.is_file() and b"\0" not in p.read_bytes()[:8192]]


def test_no_absolute_paths_in_tracked_files() -> None:
    wrong = []
    for path in tracked_text_files():
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), start=1):
            if found := SOMEONES_FOLDER.search(line):
                wrong.append(f"{path.relative_to(ROOT)}:{number}: {found.group()}...")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("template", ["cd /{}/me/x", "'/{}/.cache'", 'open("/{}/a")', "(/{}/thing)"])
@pytest.mark.parametrize("folder", ["home", "root", "Users", "opt"])
def test_the_path_pattern_sees_absolute_paths(template: str, folder: str) -> None:
    assert SOMEONES_FOLDER.search(template.format(folder))


@pytest.mark.parametrize("text", ["src/data/x", "https://host/home/x", "$HOME/data/x", "../work/x", "/dev/null"])
def test_the_path_pattern_leaves_others_alone(text: str) -> None:
    assert not SOMEONES_FOLDER.search(text)
