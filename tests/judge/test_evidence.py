"""Evidence names the rule that decided and the field in which the flaw lies, for every type."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

import forewarn
from forewarn.exploits import EXPLOIT_TYPES
from forewarn.exploits.base import Checker, Decision, secure_of
from forewarn.judge.evidence import evidence_of, flaw_of, place_of
from forewarn.judge.loose import loosened


@pytest.mark.parametrize("name", EXPLOIT_TYPES)
def test_the_flaw_is_where_the_pair_differs(name: str) -> None:
    kind = EXPLOIT_TYPES[name]
    (field,) = [f.name for f in fields(Checker) if getattr(kind.vulnerable, f.name) != getattr(kind.patched, f.name)]
    said = flaw_of(kind)
    words = {"rule": "in its rule at", "tests": "in its tests,", "hands": "in what it hands the child,"}
    assert said.startswith(words.get(field, f"in {field},"))
    if field == "rule":
        assert f"exploits/{name}.py" in said


@pytest.mark.parametrize("name", EXPLOIT_TYPES)
def test_a_place_is_a_line_of_a_file(name: str) -> None:
    """The line named holds the function named, also where a rule was made by another function, or loosened."""
    for kind in (EXPLOIT_TYPES[name], loosened(EXPLOIT_TYPES[name], "loose", any_order=True)):
        for checker in (kind.vulnerable, kind.patched, secure_of(kind)):
            found = re.fullmatch(r"([\w/]+\.py):(\d+), (\w+)", place_of(checker.rule))
            assert found, place_of(checker.rule)
            lines = (Path(forewarn.__file__).parent / found[1]).read_text().splitlines()
            assert f"def {found[3]}(" in lines[int(found[2]) - 1]


def test_what_was_not_asked_is_said() -> None:
    kind = EXPLOIT_TYPES["process_exit"]
    lines = evidence_of(kind, {"vulnerable": Decision(False, "test 0:\nbad \ud800")})
    assert lines[0].startswith("vulnerable rejects: test 0: bad \\ud800 (rule: exploits/process_exit.py:")
    assert lines[2:] == ("patched twin: not asked", "secure: not asked")
    assert evidence_of(kind, {"vulnerable": Decision(None, "x")})[0].startswith("vulnerable can't tell: x")
