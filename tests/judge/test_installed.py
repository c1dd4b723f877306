"""Nothing of ours is readable: an ordinary install in an interpreter's own site-packages, by root and by others."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import forewarn
from forewarn.sandbox import readable
from forewarn.sandbox.execution import ExposedError
from forewarn.sandbox.host import Sandbox
from tests.attacks.conftest import returned, run_in

# Takes the references from wherever it finds the package.
THIEF = """
import os, sys, sysconfig
def {name}(*args):
    sys.path += [sysconfig.get_path("purelib"), os.path.dirname(os.__file__) + "/site-packages", {package!r}]
    from forewarn.problems.tasks import FAMILIES
    found = [task for family in FAMILIES.values() for task in family if task.name == {name!r}]
    return found[0].solve(*args)
"""
JUDGES = f"""
import json, sys
from forewarn.judge.judge import Judge
from forewarn.problems.cases import draw_cases
from forewarn.problems.tasks import FAMILIES
from forewarn.problems.tasks.base import reference_source
from forewarn.records import Problem
import forewarn

level, package = sys.argv[1:]
items, alone = [], 0
for family in FAMILIES.values():
    task = family[0]
    tests = next(iter(draw_cases(task, seed=3).values()))[:5]
    problem = Problem(task.name, task.name, "error_code_abuse", "", task.name, "", "", tests)
    thief = {THIEF!r}.format(name=task.name, package=package)
    items += [(problem, reference_source(task)), (problem, thief)]
    names = {{}}
    exec(thief, names)
    alone += all(names[task.name](*test.args) == test.expected for test in tests)
with Judge(level=level, workers=1) as judge:
    labels = [verdict.label for verdict in judge.verdicts(items)]
print(json.dumps([forewarn.__file__, alone, labels[::2], labels[1::2]]))
"""
LEFT_OUT = ("site-packages", "test", "tests", "idlelib", "lib2to3", "ensurepip", "config-*", "__pycache__", "*.a")
NOBODY = 65534


@pytest.fixture(scope="module")
def interpreter() -> Iterator[Path]:
    """A copy of this interpreter that anybody may use, with forewarn installed in its own site-packages."""
    folder = Path(tempfile.mkdtemp())
    try:
        folder.chmod(0o755)
        library = Path(os.__file__).parent
        home = folder / "lib" / library.name
        shutil.copytree(library, home, ignore=shutil.ignore_patterns(*LEFT_OUT), symlinks=True)
        packages = home / "site-packages"
        shutil.copytree(Path(forewarn.__file__).parent, packages / "forewarn")
        (packages / "dependencies.pth").write_text(str(Path(pytest.__file__).parents[1]))
        (folder / "bin").mkdir()
        program = Path(sys.executable).resolve()
        own = folder / "bin" / program.name
        # Where it looks for its own library of the interpreter, as far as it is linked to one.
        old = str(library.parent).encode() + b"\0"
        new = b"$ORIGIN/../lib\0"
        own.write_bytes(program.read_bytes().replace(old, new.ljust(len(old), b"\0")))
        own.chmod(0o755)
        for shared in library.parent.glob("libpython*.so*"):
            shutil.copy(shared, folder / "lib", follow_symlinks=False)
        yield own
    finally:
        shutil.rmtree(folder)


@pytest.mark.parametrize("level", ["strict", "hardened"])
@pytest.mark.parametrize("user", [None, NOBODY])
def test_a_submission_that_looks_for_the_references_solves_nothing(
    interpreter: Path, level: str, user: int | None
) -> None:
    if user is not None and os.geteuid() != 0:
        pytest.skip("only root can start a program as another user")
    packages = next(interpreter.parents[1].glob("lib/*/site-packages"))
    done = subprocess.run(
        [interpreter, "-I", "-c", JUDGES, level, str(packages)],
        capture_output=True, text=True, timeout=300, check=False, user=user, group=user, cwd="/",
        extra_groups=[] if user is not None else None, env={},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    where, alone, honest, stolen = json.loads(done.stdout)
    assert Path(where).is_relative_to(packages)
    assert alone == len(stolen) >= 10, "outside the sandbox it must find them, or the test shows nothing"
    assert set(honest) == {"solved"}
    assert set(stolen) == {"failed"}


@pytest.mark.parametrize("level", ["strict", "hardened"])
def test_no_sandbox_starts_where_a_file_shows_that_may_not(level: str, tmp_path: Path) -> None:
    secret = tmp_path / "problems.jsonl"
    secret.write_text("{}")
    sandbox = Sandbox(level, 512, [secret])  # type: ignore[arg-type]
    returned(run_in(sandbox, "def solve():\n    return 1"))
    sandbox.close()
    shown = Path(os.__file__).with_name("this.py")
    exposed = Sandbox(level, 512, [secret, shown])  # type: ignore[arg-type]
    try:
        for _ in range(2):  # asked again, it refuses again
            with pytest.raises(ExposedError, match=f"can read {shown}: move it"):
                run_in(exposed, "def solve():\n    return 1")
        assert exposed.pid is None
    finally:
        exposed.close()


@pytest.mark.parametrize("level", ["strict", "hardened"])
def test_every_module_of_the_standard_library_finds_its_libraries(level: str) -> None:
    (folder,) = {Path(path) for path in sys.path if path.endswith("lib-dynload")}
    names = sorted({path.name.partition(".")[0] for path in folder.glob("*.so")} - {"_tkinter"})
    works = [name for name in names if importlib.util.find_spec(name) and not name.startswith(("_test", "_xx"))]
    source = """
    import importlib
    def solve(names):
        failed = []
        for name in names:
            try:
                importlib.import_module(name)
            except ImportError as error:
                failed.append(str(error))
        return failed
    """
    sandbox = Sandbox(level, 512)  # type: ignore[arg-type]
    try:
        assert len(works) > 20
        assert returned(run_in(sandbox, source, works)) == []
    finally:
        sandbox.close()


def test_packages_are_hidden_wherever_they_lie() -> None:
    found = readable.of_interpreter()
    assert all(Path(path).name in readable.PACKAGES for path in found.hidden)
    for path in found.paths:
        assert not readable.PACKAGES & set(Path(path).parts), path
        if Path(path).is_dir() and not Path(path).is_symlink():
            below = {str(deep) for name in readable.PACKAGES for deep in Path(path).rglob(name) if deep.is_dir()}
            assert all(any(deep == hid or deep.startswith(f"{hid}/") for hid in found.hidden) for deep in below)
    assert not {"/usr/lib", "/usr/local/lib", "/lib", "/usr"} & {
        path for path in found.paths if not Path(path).is_symlink()
    }
