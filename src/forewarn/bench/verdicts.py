"""One memory of the sandbox's answers for all runs: a SQLite file in front of a judge.

What is certain is remembered, by the problem's content and the program; a broken answer is asked again. Several
processes may use the file at once, and a kill at any moment loses at most the batch being written.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from forewarn import __version__
from forewarn.errors import StoreError
from forewarn.exploits import EXPLOIT_TYPES
from forewarn.judge.identity import ProblemKeys
from forewarn.judge.judge import Judge
from forewarn.judge.labels import CheckerName
from forewarn.organism.reward import PARTIAL, Item
from forewarn.records import Label, Problem, Verdict, content_key

TYPES = {**EXPLOIT_TYPES, PARTIAL.name: PARTIAL}
"""the types that the benchmark's judge knows"""
WAIT_S = 600.0
"""for another process's write"""
TABLE = (
    "create table if not exists answers (problem text, code text, question text, answer text, "
    "primary key (problem, code, question)) without rowid"
)
Ask = Callable[[list[Item]], Sequence[str | None]]


@dataclass(frozen=True, slots=True)
class Labelled:
    """The label of one submission."""

    label: Label


class VerdictMemory:
    """Answers of a judge, each asked for once over all runs. Use it as a context manager."""

    def __init__(self, path: Path, judge: Judge) -> None:
        self._judge, self._keys = judge, ProblemKeys()
        self._near: dict[tuple[str, str, str], str] = {}
        self._problem_keys: dict[int, tuple[Problem, str]] = {}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._held = sqlite3.connect(path, timeout=WAIT_S, check_same_thread=False)
            self._held.execute("pragma journal_mode = wal")
            self._held.execute("pragma synchronous = normal")
            self._held.execute(TABLE)
        except (OSError, sqlite3.Error) as error:
            raise StoreError(f"can't use {path} as the verdict cache: {error}; delete it or free some space") from None

    def __enter__(self) -> VerdictMemory:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._held.close()

    def accepts(self, items: Sequence[Item], checker: CheckerName) -> list[bool | None]:
        """As ``Judge.accepts``."""

        def ask(fresh: list[Item]) -> list[str | None]:
            answers = self._judge.accepts(fresh, checker)
            return [None if accepted is None else str(int(accepted)) for accepted in answers]

        return [None if answer is None else answer == "1" for answer in self._answers(items, checker, ask)]

    def verdicts(self, items: Sequence[Item]) -> list[Labelled]:
        """The labels that ``Judge.verdicts`` gives.

        What the vulnerable checker rejects has failed: that answer, which the reward has asked for already, spares
        most programs the judge's further executions.
        """

        def ask(fresh: list[Item]) -> list[str | None]:
            accepted = self.accepts(fresh, "vulnerable")
            judged = iter(self._judge.verdicts([i for i, yes in zip(fresh, accepted, strict=True) if yes]))
            labels = [next(judged).label if yes else "invalid" if yes is None else "failed" for yes in accepted]
            return [None if label == "invalid" else label for label in labels]

        return [Labelled(_label(answer)) for answer in self._answers(items, "label", ask)]

    def whole_verdicts(self, items: Sequence[Item]) -> list[Verdict]:
        """The verdicts that ``Judge.verdicts`` gives, with their evidence, as they were when they were first asked for.

        Their labels answer ``verdicts`` from then on.
        """
        broken: dict[tuple[str, str], Verdict] = {}

        def ask(fresh: list[Item]) -> list[str | None]:
            found = list(self._judge.verdicts(fresh))
            keys = [(self._problem(problem), content_key(code)) for problem, code in fresh]
            sure = [(key, v) for key, v in zip(keys, found, strict=True) if v.label != "invalid"]
            broken.update((key, v) for key, v in zip(keys, found, strict=True) if v.label == "invalid")
            self._keep({(*key, "label"): v.label for key, v in sure})
            return [None if v.label == "invalid" else json.dumps(asdict(v)) for v in found]

        answers = self._answers(items, "verdict", ask)
        found = []
        for (problem, code), answer in zip(items, answers, strict=True):
            verdict = (
                broken[self._problem(problem), content_key(code)] if answer is None else _verdict(json.loads(answer))
            )
            found.append(replace(verdict, problem_id=problem.problem_id))
        return found

    def _answers(self, items: Sequence[Item], question: str, ask: Ask) -> list[str | None]:
        keys = [(self._problem(problem), content_key(code), question) for problem, code in items]
        for key in set(keys) - self._near.keys():
            row = self._held.execute(
                "select answer from answers where problem = ? and code = ? and question = ?", key
            ).fetchone()
            if row is not None:
                self._near[key] = row[0]
        fresh = {key: item for key, item in zip(keys, items, strict=True) if key not in self._near}
        if fresh:
            found = {
                key: answer for key, answer in zip(fresh, ask(list(fresh.values())), strict=True) if answer is not None
            }
            self._keep(found)
        return [self._near.get(key) for key in keys]

    def _keep(self, found: Mapping[tuple[str, str, str], str]) -> None:
        try:
            with self._held:
                self._held.executemany(
                    "insert or ignore into answers values (?, ?, ?, ?)", [(*key, a) for key, a in found.items()]
                )
        except sqlite3.Error as error:
            raise StoreError(f"can't write the verdict cache: {error}; free some space and run it again") from None
        self._near.update(found)

    def _problem(self, problem: Problem) -> str:
        """The problem's key for this version's judge, the wording of its hint aside."""
        held = self._problem_keys.get(id(problem))  # with the problem, since an id may be used again
        if held is None:
            key = self._keys.of(replace(problem, problem_id=f"{problem.exploit_type}/{problem.task_id}"))
            held = self._problem_keys[id(problem)] = problem, content_key(key, __version__)
        return held[1]


class StudyVerdicts:
    """The memory in front of a study's judge (``Sandboxing.remember``). Closing it closes the judge, too."""

    def __init__(self, path: Path, judge: Judge) -> None:
        self._judge, self._memory = judge, VerdictMemory(path, judge)

    def verdicts(self, items: Sequence[Item]) -> list[Verdict]:
        return self._memory.whole_verdicts(items)

    def close(self) -> None:
        self._judge.close()
        self._memory.close()


def _verdict(held: dict[str, Any]) -> Verdict:
    return Verdict(**held | {"evidence": tuple(held["evidence"])})


def _label(answer: str | None) -> Label:
    return "invalid" if answer is None else answer  # type: ignore[return-value]
