"""The admission audit: every row of the truth table for every problem, judged in the sandbox, kept by content.

Not covered: what a row has to say (``law.py``), which submissions there are (``submissions.py``), summaries
(``tables.py``).
"""

from __future__ import annotations

import hashlib
import inspect
import random
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import polars as pl

from forewarn import judge as judge_room
from forewarn.admission import law
from forewarn.admission.honest import right_answers
from forewarn.admission.law import MIN_MISTAKES, breach
from forewarn.admission.submissions import ExploitsByTask, Kind, Submission, abuse, submissions
from forewarn.errors import ForewarnError, InputError
from forewarn.exploits import EXPLOIT_TYPES, base
from forewarn.exploits.base import ExploitType
from forewarn.judge.judge import SANDBOXES_PER_WORKER, Judge
from forewarn.judge.worker import attempt
from forewarn.problems.assemble import check_names
from forewarn.problems.rows import check, check_ids, to_row
from forewarn.records import Problem, Verdict, content_key, derived_seed
from forewarn.store import Shards

TIMEOUT_S = 1.5
"""of one execution; longer than the exploit of resource_exhaustion sleeps"""
WORKERS = 6
"""more than two cores keep busy: many of the exploits sleep or hang"""
ABUSE_TIMEOUT_S = 0.5
ABUSE_WORKERS = 1
"""loops and fork bombs burn a core each: more of them at once than there are cores can't be judged"""
RETRIES = 2
"""how often a row that could not be judged is asked again"""
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Row:
    """One submission to one problem."""

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
    """what the truth table has against it"""


SCHEMA = {
    **dict.fromkeys(("problem_id", "task_id", "exploit_type", "kind", "submission"), pl.String()),
    **dict.fromkeys(("vulnerable", "patched", "secure"), pl.Boolean()),
    "label": pl.String(),
    "reason": pl.String(),
    "right": pl.Int64(),
    "breach": pl.String(),
}


@dataclass(frozen=True, slots=True)
class Audit:
    """What the audit found."""

    rows: tuple[Row, ...]
    refused: dict[str, tuple[str, ...]]
    """problem id -> why it is not admitted"""
    admitted: tuple[str, ...]
    """ids of the others, in the order given"""
    n_judged: int
    """verdicts reached now; the others were kept from before"""
    seconds: float


def audit(
    problems: Sequence[Problem],
    *,
    against: Sequence[Problem] | None = None,
    cache: Path | None = None,
    workers: int = WORKERS,
    timeout_s: float = TIMEOUT_S,
    level: Literal["strict", "hardened"] | None = None,
    progress: Progress = lambda stage, done, total: None,
) -> Audit:
    """Judge every submission that the truth table names on every problem.

    ``against``: the set whose exploits are tried on problems of the same task (default: ``problems``). ``cache``: a
    folder of finished problems, by content; a second call judges only what is new or could not be judged. Abuse is
    tried on the first problem of each type. Raises ``InputError`` for a set that can't be judged at all.
    """
    start = time.perf_counter()
    check_names(EXPLOIT_TYPES)
    check_ids(problems)
    for problem in problems:
        check(problem)
    exploits = ExploitsByTask(problems if against is None else against)
    shards = None if cache is None else Shards(cache)
    works = [_Work(p, EXPLOIT_TYPES[p.exploit_type], submissions(p, exploits)) for p in problems]
    with Judge(workers=workers, timeout_s=timeout_s, level=level) as judge:
        rows, n_judged = _judged(works, judge, shards, workers, partial(progress, "audit"))
    firsts = {problem.exploit_type: problem for problem in reversed(problems)}
    hostile = [_Work(p, EXPLOIT_TYPES[p.exploit_type], abuse(p)) for p in firsts.values()]
    with Judge(workers=ABUSE_WORKERS, timeout_s=ABUSE_TIMEOUT_S, level=level) as judge:
        abused, n_abused = _judged(hostile, judge, shards, ABUSE_WORKERS, partial(progress, "abuse"))
    rows = {problem_id: found + abused.get(problem_id, []) for problem_id, found in rows.items()}
    n_judged += n_abused
    refused = {work.problem.problem_id: reasons for work in works if (reasons := _reasons(work, rows))}
    return Audit(
        rows=tuple(row for work in works for row in rows[work.problem.problem_id]),
        refused=refused,
        admitted=tuple(p.problem_id for p in problems if p.problem_id not in refused),
        n_judged=n_judged,
        seconds=time.perf_counter() - start,
    )


def sample(problems: Sequence[Problem], n: int, *, seed: int) -> list[Problem]:
    """``n`` problems, types in turn and tasks at random; all of them where there are no more."""
    rng = random.Random(derived_seed("audit sample", seed))
    by_type = [[p for p in problems if p.exploit_type == name] for name in _types(problems)]
    for held in by_type:
        rng.shuffle(held)
    rounds = [held[i] for i in range(max(map(len, by_type), default=0)) for held in by_type if i < len(held)]
    return rounds[:n]


@dataclass(frozen=True, slots=True)
class _Work:
    problem: Problem
    kind: ExploitType
    submissions: list[Submission]

    def key(self, judge: Judge) -> str:
        """Of all that the rows follow from: the problem, what is tried on it, the checkers, the judge."""
        row = {name: value for name, value in to_row(self.problem).items() if name not in ("question", "extra")}
        tried = [asdict(submission) for submission in self.submissions]
        settings = [judge.level, judge.timeout_s, sorted(SCHEMA)]
        return content_key("audit", row, tried, _code_of(self.kind), settings)


def _types(problems: Iterable[Problem]) -> list[str]:
    return list(dict.fromkeys(problem.exploit_type for problem in problems))


def _judged(
    works: Sequence[_Work], judge: Judge, shards: Shards | None, workers: int, progress: Callable[[int, int], None]
) -> tuple[dict[str, list[Row]], int]:
    """Rows by problem, and how many verdicts were reached for them."""
    rows: dict[str, list[Row]] = {}
    fresh: list[tuple[_Work, str]] = []
    for work in works:
        key = work.key(judge) if shards is not None else ""
        if shards is not None and shards.has(key):
            rows[work.problem.problem_id] = [Row(**row) for row in shards.read(key).to_dicts()]
        else:
            fresh.append((work, key))
    right = _right_counts([work for work, _ in fresh], judge, workers)
    done, total, n_judged = len(rows), len(works), 0
    progress(done, total)
    # A problem's own rows keep a few sandboxes busy; several problems at once keep them all.
    with ThreadPoolExecutor(workers * SANDBOXES_PER_WORKER) as pool:
        for (work, key), found in zip(fresh, pool.map(lambda item: _rows(item[0], judge, right), fresh), strict=True):
            rows[work.problem.problem_id] = found
            n_judged += len(found)
            if shards is not None and found and not any(row.label == "invalid" for row in found):
                shards.write(key, pl.DataFrame([asdict(row) for row in found], schema=SCHEMA))
            done += 1
            progress(done, total)
    return rows, n_judged


def _rows(work: _Work, judge: Judge, right: dict[tuple[str, str], int | None]) -> list[Row]:
    """The rows of one problem; one row without answers where a checker of ours raised."""
    problem = work.problem
    items = [(problem, submission.code) for submission in work.submissions]
    ask = partial(judge.verdicts, items, audit=True)
    verdicts, error = attempt(ask)
    for _ in range(RETRIES):
        if error is None and any(verdict.label == "invalid" for verdict in verdicts):
            verdicts, error = attempt(ask)  # the others are remembered
    if error is not None:
        if isinstance(error, ForewarnError) or not isinstance(error, Exception):
            raise error
        says = f"field exploit_type: a checker of {work.kind.name} raised {type(error).__name__}: {error}"
        nothing = Verdict(problem.problem_id, "", "invalid", None, None, None, judge.level, says)
        return [_row(work, work.submissions[0], nothing, None, says)]
    found = []
    for submission, verdict in zip(work.submissions, verdicts, strict=True):
        count = right[_task_key(problem), submission.code] if submission.kind == "honest mistake" else None
        says_or_none = breach(work.kind, submission, verdict, count, len(problem.tests))
        found.append(_row(work, submission, verdict, count, says_or_none))
    return found


def _row(work: _Work, submission: Submission, verdict: Verdict, right: int | None, says: str | None) -> Row:
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


def _reasons(work: _Work, rows: dict[str, list[Row]]) -> tuple[str, ...]:
    reasons = [row.breach for row in rows[work.problem.problem_id] if row.breach is not None]
    if not work.kind.fits(work.problem):
        reasons.append(f"field exploit_type: {work.kind.name} does not fit this task")
    if len(work.problem.wrong) < MIN_MISTAKES:
        reasons.append(f"field wrong: {len(work.problem.wrong)} honest mistakes; give at least {MIN_MISTAKES}")
    return tuple(reasons)


def _right_counts(works: Sequence[_Work], judge: Judge, workers: int) -> dict[tuple[str, str], int | None]:
    """(task, code) of the honest mistakes -> how many full tests each passes, counted once."""
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
    """A hash of the source that decides: the type's own file, what types are made of, the judge, and the law."""
    own = inspect.getsourcefile(kind.exploit)
    files = [Path(own)] if own else []
    files += [Path(base.__file__), Path(law.__file__), *sorted(Path(str(judge_room.__file__)).parent.glob("*.py"))]
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()
