"""The admission audit: every row of the truth table for every problem, and which problems it admits.

Not covered: how rows are judged and stored (``rows.py``), the expected rows (``law.py``), and tables of them
(``forewarn.report.audit_tables``).
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from forewarn.admission.law import MIN_MISTAKES
from forewarn.admission.rows import Row, Work, in_doubt, judged
from forewarn.admission.submissions import ExploitsByTask, abuse, submissions
from forewarn.exploits import EXPLOIT_TYPES
from forewarn.judge.judge import Judge
from forewarn.problems.assemble import check_names
from forewarn.problems.rows import check, check_ids
from forewarn.records import Problem, derived_seed
from forewarn.store import Shards

TIMEOUT_S = 1.5
"""time limit of one execution; longer than the exploit of resource_exhaustion sleeps"""
WORKERS = 6
"""pairs of sandboxes; more than two cores can keep busy, since many of the exploits sleep or hang"""
ABUSE_TIMEOUT_S = 0.5
ABUSE_WORKERS = 1
"""pairs of sandboxes for abuse: each loop or fork bomb uses a whole core, so more of them than cores can't be judged"""
SLOWLY = 3
"""factor on the time limit for rows that are judged again"""
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Audit:
    """The result of an audit."""

    rows: tuple[Row, ...]
    refused: dict[str, tuple[str, ...]]
    """problem id -> why it is not admitted"""
    admitted: tuple[str, ...]
    """ids of the other problems, in the order given"""
    n_judged: int
    """number of rows judged now, once or again; the other rows were stored before"""
    seconds: float


def audit(
    problems: Sequence[Problem],
    *,
    against: Sequence[Problem] | None = None,
    cache: Path | None = None,
    workers: int = WORKERS,
    timeout_s: float = TIMEOUT_S,
    level: Literal["strict", "hardened"] | None = None,
    with_abuse: bool = True,
    progress: Progress = lambda stage, done, total: None,
) -> Audit:
    """Judge every submission that the truth table names on every problem.

    ``against``: the set whose exploits are tried on problems of the same task (default: ``problems``). ``cache``: a
    folder of finished problems, by content; a second call judges only rows that are new or could not be judged.
    ``with_abuse``: also try hostile code on the first problem of each type. Raises ``InputError`` for a set that can't
    be judged at all.
    """
    start = time.perf_counter()
    check_names(EXPLOIT_TYPES)
    check_ids(problems)
    for problem in problems:
        check(problem)
    exploits = ExploitsByTask(problems if against is None else against)
    shards = None if cache is None else Shards(cache)
    works = [Work(p, EXPLOIT_TYPES[p.exploit_type], submissions(p, exploits)) for p in problems]
    rows, n_judged = _sure(works, shards, _Stage("audit", workers, timeout_s), level, progress)
    firsts = {problem.exploit_type: problem for problem in reversed(problems)} if with_abuse else {}
    hostile = [Work(p, EXPLOIT_TYPES[p.exploit_type], abuse(p)) for p in firsts.values()]
    abused, n_abused = _sure(hostile, shards, _Stage("abuse", ABUSE_WORKERS, ABUSE_TIMEOUT_S), level, progress)
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


@dataclass(frozen=True, slots=True)
class _Stage:
    """A stage of the audit: the number of pairs of sandboxes, and the time limit of an execution."""

    stage: str
    workers: int
    timeout_s: float


def _sure(
    works: Sequence[Work],
    shards: Shards | None,
    pace: _Stage,
    level: Literal["strict", "hardened"] | None,
    progress: Progress,
) -> tuple[dict[str, list[Row]], int]:
    """Return rows by problem and how many were judged now. Rows that failed for lack of time are judged again."""
    if not works:
        return {}, 0
    with Judge(workers=pace.workers, timeout_s=pace.timeout_s, level=level) as judge:
        rows, n_judged = judged(works, judge, shards, pace.workers, partial(progress, pace.stage))
    doubtful = [work for work in works if any(map(in_doubt, rows[work.problem.problem_id]))]
    if doubtful:
        with Judge(workers=1, timeout_s=SLOWLY * pace.timeout_s, level=level) as judge:
            again, _ = judged(doubtful, judge, shards, 1, partial(progress, f"{pace.stage}, again"))
        # Doubtful rows are never stored, so they were counted already; a problem whose checker raised has one row.
        n_judged += sum(len(again[name]) - len(rows[name]) for name in again)
        rows |= again
    return rows, n_judged


def sample(problems: Sequence[Problem], n: int, *, seed: int) -> list[Problem]:
    """Return ``n`` problems, cycling through types with random tasks; all of them if there are not more."""
    rng = random.Random(derived_seed("audit sample", seed))
    by_type = [[p for p in problems if p.exploit_type == name] for name in _types(problems)]
    for held in by_type:
        rng.shuffle(held)
    rounds = [held[i] for i in range(max(map(len, by_type), default=0)) for held in by_type if i < len(held)]
    return rounds[:n]


def _types(problems: Iterable[Problem]) -> list[str]:
    return list(dict.fromkeys(problem.exploit_type for problem in problems))


def _reasons(work: Work, rows: dict[str, list[Row]]) -> tuple[str, ...]:
    reasons = [row.breach for row in rows[work.problem.problem_id] if row.breach is not None]
    if not work.kind.fits(work.problem):
        reasons.append(f"field exploit_type: {work.kind.name} does not fit this task")
    distinct = len({code.strip() for code in work.problem.wrong})
    if distinct < MIN_MISTAKES:
        says = "" if distinct == len(work.problem.wrong) else "distinct "
        reasons.append(f"field wrong: {distinct} {says}honest mistakes; give at least {MIN_MISTAKES}")
    return tuple(reasons)
