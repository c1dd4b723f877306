"""Counts in the sandbox how many of the full tests a submission gets right. The audit uses it on honest mistakes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from forewarn.exploits.base import Checker, Decision, Run
from forewarn.judge.judge import QUEUED_PER_SANDBOX, SANDBOXES_PER_WORKER
from forewarn.judge.runs import Runner
from forewarn.records import Problem
from forewarn.sandbox.execution import Level, SandboxFault
from forewarn.sandbox.host import Sandbox
from forewarn.sandbox.pool import Pool


def _count(run: Run) -> Decision:
    return Decision(True, str(sum(call.correct for call in run.calls)))


COUNTING = Checker(rule=_count)
"""the secure judgement, with the number of right answers as its reason"""


def right_answers(
    items: Sequence[tuple[Problem, str]],
    *,
    level: Level,
    workers: int = 2,
    timeout_s: float = 2.0,
    memory_mb: int = 512,
) -> list[int | None]:
    """Return for each (problem, code) how many full tests it gets right; None if the sandbox broke."""
    sandboxes = [Sandbox(level, memory_mb) for _ in range(workers * SANDBOXES_PER_WORKER)]

    def count(item: tuple[Problem, str], sandbox: Sandbox) -> int | None:
        try:
            return int(Runner(sandbox, *item, timeout_s).decide(COUNTING).reason)
        except SandboxFault:
            return None

    pool = Pool(sandboxes, limit=QUEUED_PER_SANDBOX * len(sandboxes))
    try:
        counts = [pool.submit(partial(count, item)) for item in items]
        return [found.result() for found in counts]
    finally:
        pool.close()
