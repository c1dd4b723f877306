"""The rows of problems: judged in the sandbox, several problems at once, or read from an earlier audit.

Not covered: which submissions are tried (``submissions.py``), the expected rows (``law.py``).
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import polars as pl

from forewarn import judge as judge_room
from forewarn import sandbox as sandbox_room
from forewarn.admission import law
from forewarn.admission.honest import right_answers
from forewarn.admission.law import breach
from forewarn.admission.submissions import Kind, Submission
from forewarn.errors import InputError
from forewarn.exploits import base
from forewarn.exploits.base import ExploitType
from forewarn.judge.judge import Judge
from forewarn.judge.labels import RAISED
from forewarn.problems.rows import to_row
from forewarn.records import Problem, Verdict, content_key
from forewarn.store import Shards

RETRIES = 2
"""how often a row that could not be judged is tried again"""


@dataclass(frozen=True, slots=True)
class Row:
    """One submission to one problem, as judged."""

    problem_id: str
    task_id: str
    exploit_type: str
    kind: Kind
    submission: str
    vulnerable: bool | None
    patched: bool | None
    secure: bool | None
    label: str
    reason: str
    right: int | None
    """full tests that an honest mistake passes; None for other kinds"""
    breach: str | None
    """how the row differs from the truth table; None: it does not"""


SCHEMA = {
    **dict.fromkeys(("problem_id", "task_id", "exploit_type", "kind", "submission"), pl.String()),
    **dict.fromkeys(("vulnerable", "patched", "secure"), pl.Boolean()),
    "label": pl.String(),
    "reason": pl.String(),
    "right": pl.Int64(),
    "breach": pl.String(),
}


@dataclass(frozen=True, slots=True)
class Work:
    """A problem and the submissions that it is tried with."""

    problem: Problem
    kind: ExploitType
    submissions: list[Submission]

    def key(self, judge: Judge) -> str:
        """The key of everything that the rows depend on: the problem, its submissions, the checkers, the judge."""
        row = {name: value for name, value in to_row(self.problem).items() if name not in ("question", "extra")}
        tried = [asdict(submission) for submission in self.submissions]
        settings = [judge.level, judge.timeout_s, sorted(SCHEMA)]
        return content_key("audit", row, tried, _code_of(self.kind), settings)


def in_doubt(row: Row) -> bool:
    """Return whether a row is unexpected and a busy machine may be the reason."""
    return row.breach is not None and (row.label == "invalid" or "past the deadline" in row.reason)


def judged(
    works: Sequence[Work], judge: Judge, shards: Shards | None, workers: int, progress: Callable[[int, int], None]
) -> tuple[dict[str, list[Row]], int]:
    """Return rows by problem, and the number of verdicts that were reached now."""
    rows: dict[str, list[Row]] = {}
    fresh: list[tuple[Work, str]] = []
    for work in works:
        key = work.key(judge) if shards is not None else ""
        if shards is not None and shards.has(key):
            rows[work.problem.problem_id] = [Row(**row) for row in shards.read(key).to_dicts()]
        else:
            fresh.append((work, key))
    right = _right_counts([work for work, _ in fresh], judge, workers)
    done, total, n_judged = len(rows), len(works), 0
    progress(done, total)
    # a single stream over all problems keeps every sandbox busy; the few submissions of one problem do not
    verdicts = judge.stream(_items([work for work, _ in fresh]), audit=True)
    for work, key in fresh:
        found = _rows(work, judge, list(islice(verdicts, len(work.submissions))), right)
        if shards is not None and not any(map(in_doubt, found)):
            shards.write(key, pl.DataFrame([asdict(row) for row in found], schema=SCHEMA))
        rows[work.problem.problem_id] = found
        n_judged += len(found)
        done += 1
        progress(done, total)
    return rows, n_judged


def _items(works: Iterable[Work]) -> Iterator[tuple[Problem, str]]:
    return ((work.problem, submission.code) for work in works for submission in work.submissions)


def _rows(work: Work, judge: Judge, verdicts: list[Verdict], right: dict[tuple[str, str], int | None]) -> list[Row]:
    """Return the rows of one problem; a single row without answers if one of forewarn's checkers raised."""
    problem = work.problem
    for _ in range(RETRIES):
        if any(verdict.label == "invalid" for verdict in verdicts):
            verdicts = judge.verdicts(list(_items([work])), audit=True)  # the others are remembered
    raised = f": a checker of {work.kind.name} {RAISED} "
    for verdict in verdicts:
        if verdict.label == "invalid" and raised in verdict.reason:
            says = f"field exploit_type{verdict.reason[verdict.reason.index(raised) :]}"
            return [_row(work, work.submissions[0], verdict, None, says)]
    found = []
    for submission, verdict in zip(work.submissions, verdicts, strict=True):
        count = right[_task_key(problem), submission.code] if submission.kind == "honest mistake" else None
        says_or_none = breach(work.kind, submission, verdict, count, len(problem.tests))
        found.append(_row(work, submission, verdict, count, says_or_none))
    return found


def _row(work: Work, submission: Submission, verdict: Verdict, right: int | None, says: str | None) -> Row:
    return Row(
        problem_id=work.problem.problem_id,
        task_id=work.problem.task_id,
        exploit_type=work.kind.name,
        kind=submission.kind,
        submission=submission.name,
        vulnerable=verdict.vulnerable,
        patched=verdict.patched,
        secure=verdict.secure,
        label=verdict.label,
        reason=verdict.reason,
        right=right,
        breach=says,
    )


def _right_counts(works: Sequence[Work], judge: Judge, workers: int) -> dict[tuple[str, str], int | None]:
    """Map (task, code) of the honest mistakes to the number of full tests passed, counted once each."""
    items = {
        (_task_key(work.problem), submission.code): (work.problem, submission.code)
        for work in works
        for submission in work.submissions
        if submission.kind == "honest mistake"
    }
    if judge.level == "weak":
        raise InputError("the audit runs untrusted code: it needs the sandbox level strict or hardened")
    counts = right_answers(list(items.values()), level=judge.level, workers=workers, timeout_s=judge.timeout_s)
    return dict(zip(items, counts, strict=True))


def _task_key(problem: Problem) -> str:
    row = to_row(problem)
    return content_key(row["entry_point"], row["tests"], row["float_tolerance"])


def _code_of(kind: ExploitType) -> str:
    """Return a hash of the deciding source: the type's own file, ``exploits/base.py``, the judge and the law."""
    own = inspect.getsourcefile(kind.exploit)
    files = [Path(own)] if own else []
    files += [Path(base.__file__), Path(law.__file__)]
    for room in (judge_room, sandbox_room):
        files += sorted(Path(str(room.__file__)).parent.rglob("*.py"))
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()
