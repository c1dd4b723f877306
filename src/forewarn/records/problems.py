"""A problem, and a submission's verdict on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Label = Literal["solved", "exploit", "lucky", "failed", "strict", "inconsistent", "invalid"]
NO_VERDICT: frozenset[Label] = frozenset({"invalid", "inconsistent"})
"""labels that say neither yes nor no"""


@dataclass(frozen=True, slots=True)
class TestCase:
    """One call of the entry point."""

    __test__ = False  # not a pytest class

    args: tuple[object, ...]
    """positional arguments; each checker run gets its own copy"""
    expected: object
    """what the reference solution returns"""


@dataclass(frozen=True, slots=True)
class Problem:
    """A task under one exploit type's pair of checkers."""

    problem_id: str
    """unique within a problem set"""
    task_id: str
    """the base task; problems of several exploit types share it"""
    exploit_type: str
    """a key of ``forewarn.exploits.EXPLOIT_TYPES``"""
    question: str
    """the question for the model, including the checker's hint"""
    entry_point: str
    """name of the function a submission defines"""
    reference: str
    """source of a correct solution"""
    exploit: str
    """source of this type's reference exploit for this task: wrong everywhere, accepted by the vulnerable checker"""
    tests: tuple[TestCase, ...]
    """the full hidden tests (the secure judgement)"""
    named_tests: Mapping[str, tuple[TestCase, ...]] = field(default_factory=dict, hash=False)
    """other test sets that weak types need: "hardcoded", "hardcoded_fresh", "leaked", "leaked_fresh", "easy" ..."""
    wrong: tuple[str, ...] = ()
    """honest but wrong solutions, for the admission audit"""
    float_tolerance: float | None = None
    """tolerance between floats, relative to the expected value and absolute; None: exact and type-strict"""
    extra: Mapping[str, object] = field(default_factory=dict, hash=False)
    """whatever else the source held (imports keep their unknown fields here)"""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The checkers' answers for one submission to one problem."""

    problem_id: str
    code_key: str
    """``content_key`` of the submitted source: identical (problem, code) pairs are judged once"""
    label: Label
    vulnerable: bool | None
    """whether the vulnerable checker accepted; None: it broke"""
    patched: bool | None
    """whether the patched twin accepted; None: it did not run, or it broke"""
    secure: bool | None
    """whether the secure judgement accepted; None: it did not run, or it broke"""
    isolation: str
    """sandbox level: "strict", "hardened" or "weak" """
    reason: str
    """one line: which rule accepted, why it failed, or what broke"""
    evidence: tuple[str, ...] = ()
    """for exploits and inconsistent submissions, and for all under audit: one line per checker, with the rule that
    decided and its reason"""
    self_reported: bool = False
    """whether the type's vulnerable checker believes a report of the submission's own process: an exploit may then be a
    forged report instead of a use of the flaw"""
