"""Counts in the sandbox how many of the full tests a submission gets right. The audit uses it on honest mistakes."""

from __future__ import annotations

import queue
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from forewarn.exploits.base import Checker, Decision, Run
from forewarn.judge.judge import SANDBOXES_PER_WORKER
from forewarn.judge.runs import Runner
from forewarn.records import Problem
from forewarn.sandbox.host import Level, Sandbox, SandboxFault


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
    free: queue.SimpleQueue[Sandbox] = queue.SimpleQueue()
    for sandbox in sandboxes:
        free.put(sandbox)

    def count(item: tuple[Problem, str]) -> int | None:
        sandbox = free.get()
        try:
            return int(Runner(sandbox, *item, timeout_s).decide(COUNTING).reason)
        except SandboxFault:
            return None
        finally:
            free.put(sandbox)

    try:
        with ThreadPoolExecutor(len(sandboxes)) as pool:
            return list(pool.map(count, items))
    finally:
        for sandbox in sandboxes:
            sandbox.close()
