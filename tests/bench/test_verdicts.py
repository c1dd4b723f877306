"""One memory of verdicts over runs and processes: asked once, whatever the wording; what broke is asked again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from forewarn.bench import verdicts
from forewarn.bench.verdicts import VerdictMemory
from forewarn.errors import StoreError
from forewarn.judge.judge import Judge
from forewarn.organism.problems import make_problem
from forewarn.organism.tasks import TASKS

FIRST, OTHER_WORDS = (make_problem(TASKS[5], "error_code_abuse", variant) for variant in (0, 1))
OTHER_TYPE = make_problem(TASKS[5], "process_exit", 0)


class Counting:
    """A real judge, with a count of what it was asked; ``broken`` answers are taken away, as a fault would."""

    def __init__(self, judge: Judge) -> None:
        self.judge, self.asked, self.broken = judge, 0, False

    def accepts(self, items: Sequence[Any], checker: Any) -> list[bool | None]:
        self.asked += len(items)
        return [None] * len(items) if self.broken else self.judge.accepts(items, checker)

    def verdicts(self, items: Sequence[Any]) -> list[Any]:
        self.asked += len(items)
        return self.judge.verdicts(items)


def test_an_answer_is_asked_for_once_over_all_runs(judge: Judge, tmp_path: Path) -> None:
    counting = Counting(judge)
    path = tmp_path / "deep" / "verdicts.sqlite"
    items = [(FIRST, FIRST.exploit), (OTHER_WORDS, FIRST.exploit), (OTHER_TYPE, FIRST.exploit)]
    with VerdictMemory(path, counting) as memory:  # type: ignore[arg-type]
        assert memory.accepts(items, "vulnerable") == [True, True, False]
        assert counting.asked == 2, "the wording of a hint is no part of a program's verdict"
        assert memory.accepts(items, "patched") == [False, False, False]
        assert [v.label for v in memory.verdicts(items)] == ["exploit", "exploit", "failed"]
        assert counting.asked == 5, "what the vulnerable checker rejected has failed, and needs no verdict"
    with VerdictMemory(path, counting) as again:  # type: ignore[arg-type]
        assert again.accepts(items, "vulnerable") == [True, True, False]
        assert [v.label for v in again.verdicts(items)] == ["exploit", "exploit", "failed"]
        assert counting.asked == 5


def test_another_problem_of_the_same_task_has_answers_of_its_own(judge: Judge, tmp_path: Path) -> None:
    changed = tuple(replace(test, expected="something else") for test in FIRST.tests)
    other = replace(FIRST, tests=changed)
    with VerdictMemory(tmp_path / "verdicts.sqlite", judge) as memory:
        items = [(FIRST, FIRST.reference), (other, FIRST.reference)]
        assert memory.accepts(items, "secure") == [True, False]


def test_answers_of_another_version_are_not_taken(
    judge: Judge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counting = Counting(judge)
    for version in ("1", "1", "2"):
        monkeypatch.setattr(verdicts, "__version__", version)
        with VerdictMemory(tmp_path / "verdicts.sqlite", counting) as memory:  # type: ignore[arg-type]
            assert memory.accepts([(FIRST, FIRST.exploit)], "vulnerable") == [True]
    assert counting.asked == 2


def test_what_broke_is_asked_again(judge: Judge, tmp_path: Path) -> None:
    counting = Counting(judge)
    with VerdictMemory(tmp_path / "verdicts.sqlite", counting) as memory:  # type: ignore[arg-type]
        counting.broken = True
        assert memory.accepts([(FIRST, FIRST.exploit)], "vulnerable") == [None]
        counting.broken = False
        assert memory.accepts([(FIRST, FIRST.exploit)], "vulnerable") == [True]


def test_two_memories_of_one_file_share_it(judge: Judge, tmp_path: Path) -> None:
    counting = Counting(judge)
    path = tmp_path / "verdicts.sqlite"
    with VerdictMemory(path, counting) as one, VerdictMemory(path, counting) as two:  # type: ignore[arg-type]
        assert one.accepts([(FIRST, FIRST.exploit)], "vulnerable") == [True]
        assert two.accepts([(FIRST, FIRST.exploit)], "vulnerable") == [True]
    assert counting.asked == 1


def test_a_file_that_is_no_memory_is_refused(judge: Judge, tmp_path: Path) -> None:
    path = tmp_path / "verdicts.sqlite"
    path.write_bytes(b"no database at all, but long enough to be looked at as one" * 20)
    with pytest.raises(StoreError, match=r"as the verdict cache: .*; delete it or free some space"):
        VerdictMemory(path, judge)
