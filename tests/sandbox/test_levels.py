"""Which level is chosen on a kernel that refuses part of what isolation needs: a real filter refuses it here."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

import forewarn
from forewarn.sandbox.inside.defences import DEFENCES, OF_LEVEL
from forewarn.sandbox.levels import LEVELS, try_level
from forewarn.sandbox.machine import offers

ROOT = Path(__file__).resolve().parents[2]
# Runs in a process of its own, as a filter can't be taken off again. Refuses the named calls with ENOSYS.
REFUSE = """
import json, struct, sys
from forewarn.errors import EngineFault
from forewarn.sandbox.inside import kernel
from forewarn.judge.judge import Judge
from forewarn.records import Problem, TestCase

numbers, allow_weak = json.loads(sys.argv[1])
code = [(0x20, 0, 0, 0)]
for number in numbers:
    code += [(0x15, 0, 1, number), (0x06, 0, 0, 0x00050000 | 38)]
code.append((0x06, 0, 0, 0x7FFF0000))
kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
kernel.install_filter(b"".join(struct.pack("=HBBI", *line) for line in code))
"""
SCRIPT = f"""{REFUSE}
problem = Problem("p", "t", "error_code_abuse", "", "f", "", "", (TestCase((1,), 2),))
try:
    with Judge(workers=1, allow_weak=allow_weak) as judge:
        verdict = judge.verdicts([(problem, "def f(n):\\n    return n + 1")])[0]
        missing = {{name for sandbox in judge._pool.sandboxes for name in sandbox.missing}}
        print(json.dumps([judge.level, verdict.isolation, verdict.label, sorted(missing)]))
except EngineFault as fault:
    print(json.dumps(["refused", str(fault), None, []]))
"""
READS = f"""{REFUSE}
from pathlib import Path
from forewarn.sandbox.host import Sandbox
from tests.attacks.conftest import returned, run_in
sandbox = Sandbox("hardened", 512)
print(json.dumps(returned(run_in(sandbox, sys.argv[2], json.loads(sys.argv[3])))))
print(json.dumps(sandbox.missing))
sandbox.close()
"""
UNSHARE, SECCOMP = {"x86_64": (272, 317), "aarch64": (97, 277)}.get(platform.machine(), (-1, -1))
LANDLOCK = 444


@pytest.mark.parametrize(
    ("refused", "allow_weak", "level", "missing"),
    [
        ([], False, "strict", []),
        ([LANDLOCK], False, "strict", ["Landlock"]),
        ([SECCOMP], False, "strict", ["counted threads"]),
        ([UNSHARE], False, "hardened", ["copied library", "own root", "small disk"]),
        ([UNSHARE], True, "hardened", ["copied library", "own root", "small disk"]),
        ([UNSHARE, LANDLOCK], True, "weak", []),
    ],
)
def test_the_strongest_level_that_works_is_taken(
    refused: list[int], allow_weak: bool, level: str, missing: list[str]
) -> None:
    assert chosen(refused, allow_weak) == [level, level, "solved", missing]


def test_without_any_it_refuses_and_says_why() -> None:
    refused, message, *_ = chosen([UNSHARE, LANDLOCK], False)
    assert refused == "refused"
    for word in ("strict: ", "unshare", "hardened: ", "Landlock", "--allow-weak-sandbox"):
        assert word in str(message)


def chosen(refused: list[int], allow_weak: bool) -> list[object]:
    arguments = [sys.executable, "-c", SCRIPT, json.dumps([refused, allow_weak])]
    out = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=False)
    assert out.returncode == 0, out.stderr
    found: list[object] = json.loads(out.stdout)
    return found


def test_without_namespaces_landlock_shows_no_more_than_the_library() -> None:
    library = Path(os.__file__).parent
    shown = [str(library / "this.py"), os.__file__]
    hidden = ["/usr/lib/os-release", "/etc/passwd", forewarn.__file__]
    packages = library / "site-packages"
    hidden += [str(path) for path in sorted(packages.rglob("*.py"))[:3]]
    source = """
    def solve(paths):
        read = []
        for path in paths:
            try:
                with open(path) as file:
                    file.read(1)
                read.append(path)
            except OSError:
                pass
        return read
    """
    numbers = json.dumps([[UNSHARE], False])
    arguments = [sys.executable, "-c", READS, numbers, source, json.dumps([*shown, *hidden])]
    out = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=False, cwd=ROOT)
    assert out.returncode == 0, out.stderr
    read, missing = out.stdout.splitlines()
    assert json.loads(read) == shown
    assert json.loads(missing) == ["own root", "copied library", "small disk"]


@pytest.mark.parametrize(("refused", "begun"), [([], True), ([SECCOMP], False)])
def test_where_nobody_counts_threads_there_are_none(refused: list[int], begun: bool) -> None:
    source = """
    import threading
    def solve(paths):
        try:
            threading.Thread(target=len, args=("",)).start()
        except RuntimeError:
            return False
        return True
    """
    arguments = [sys.executable, "-c", READS, json.dumps([refused, False]), source, "[]"]
    out = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=False, cwd=ROOT)
    assert out.returncode == 0, out.stderr
    assert json.loads(out.stdout.splitlines()[0]) is begun


def test_outside_linux_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    for level in LEVELS:
        why_not = try_level(level, 512).why_not
        assert why_not is not None
        assert why_not.startswith("needs Linux")
    assert set(offers()) == {"system"}


def test_every_level_has_more_than_the_next() -> None:
    sets = [OF_LEVEL[level] for level in LEVELS]
    assert sets[0] > sets[1] > sets[2]
    assert sets[0] == DEFENCES.keys()
