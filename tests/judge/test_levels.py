"""Which level is chosen on a kernel that refuses part of what isolation needs: a real filter refuses it here."""

from __future__ import annotations

import json
import platform
import subprocess
import sys

import pytest

# Runs in a process of its own, as a filter can't be taken off again. Refuses the named calls with ENOSYS.
SCRIPT = """
import json, struct, sys
from forewarn.errors import EngineFault
from forewarn.judge.inside import kernel
from forewarn.judge.judge import Judge
from forewarn.records import Problem, TestCase

numbers, allow_weak = json.loads(sys.argv[1])
code = [(0x20, 0, 0, 0)]
for number in numbers:
    code += [(0x15, 0, 1, number), (0x06, 0, 0, 0x00050000 | 38)]
code.append((0x06, 0, 0, 0x7FFF0000))
kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
kernel.install_filter(b"".join(struct.pack("=HBBI", *line) for line in code))
problem = Problem("p", "t", "error_code_abuse", "", "f", "", "", (TestCase((1,), 2),))
try:
    with Judge(workers=1, allow_weak=allow_weak) as judge:
        verdict = judge.verdicts([(problem, "def f(n):\\n    return n + 1")])[0]
        print(json.dumps([judge.level, verdict.isolation, verdict.label]))
except EngineFault as fault:
    print(json.dumps(["refused", str(fault), None]))
"""
UNSHARE, LANDLOCK = {"x86_64": 272, "aarch64": 97}.get(platform.machine(), -1), 444


@pytest.mark.parametrize(
    ("refused", "allow_weak", "level"),
    [
        ([], False, "strict"),
        ([LANDLOCK], False, "strict"),
        ([UNSHARE], False, "hardened"),
        ([UNSHARE], True, "hardened"),
        ([UNSHARE, LANDLOCK], True, "weak"),
    ],
)
def test_the_strongest_level_that_works_is_taken(refused: list[int], allow_weak: bool, level: str) -> None:
    assert chosen(refused, allow_weak) == [level, level, "solved"]


def test_without_any_it_refuses_and_says_why() -> None:
    refused, message, _ = chosen([UNSHARE, LANDLOCK], False)
    assert refused == "refused"
    for word in ("strict: ", "unshare", "hardened: ", "Landlock", "allow_weak"):
        assert word in str(message)


def chosen(refused: list[int], allow_weak: bool) -> list[str | None]:
    arguments = [sys.executable, "-c", SCRIPT, json.dumps([refused, allow_weak])]
    out = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=False)
    assert out.returncode == 0, out.stderr
    found: list[str | None] = json.loads(out.stdout)
    return found
