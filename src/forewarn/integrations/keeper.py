"""What a guarded training shows, kept in a run folder: each rollout that was judged, and a line of counts a call."""

from __future__ import annotations

import json
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from forewarn.records import Problem
from forewarn.store import write_whole
from forewarn.training.reward import NO_PROGRAM, RolloutLog, RolloutRow

ROLLOUTS_FILE, COUNTS_FILE = "rollouts.jsonl", "rollout_counts.jsonl"
NOT_JUDGED = ("invalid", NO_PROGRAM)
"""labels of accepted completions of which nothing is known"""


class Keeper:
    """Writes what a training sees into a run folder; each process of a distributed training has files of its own."""

    def __init__(self, root: Path | None) -> None:
        self._root = root
        rank = os.environ.get("RANK", "0")
        self._suffix = "" if rank == "0" else f"-{rank}"
        self._log: RolloutLog | None = None
        self._first: dict[str, int] = {}
        self.calls = 0

    def keep(
        self,
        known_step: int | None,
        owners: Sequence[Problem],
        labels: Sequence[str | None],
        given: Sequence[float | None],
        ids: Sequence[Sequence[int]],
    ) -> None:
        if self._root is None:
            return
        step = known_step or 0
        if self._log is None:
            self._root.mkdir(parents=True, exist_ok=True)
            # a resumed training writes its last steps again; a trainer that tells no step may do anything
            done = sys.maxsize if known_step is None else known_step
            self._log = RolloutLog(self._root / ROLLOUTS_FILE.replace(".", f"{self._suffix}.", 1), done_steps=done)
            self._go_on(done)
        self._log(
            [
                RolloutRow(step, o.problem_id, o.exploit_type, label, value, tuple(map(int, tokens)))
                for o, label, value, tokens in zip(owners, labels, given, ids, strict=True)
                if label is not None
            ]
        )
        self._log.close()  # nobody tells the guard when the training ends
        hits = Counter(o.exploit_type for o, label in zip(owners, labels, strict=True) if label == "exploit")
        for name in hits:
            self._first.setdefault(name, step)
        line = {
            "step": step,
            "unix_s": time.time(),
            "rollouts": dict(Counter(o.exploit_type for o in owners)),
            "exploits": dict(hits),
            "not_judged": sum(label in NOT_JUDGED for label in labels),
            "rejected": labels.count("failed"),
            "first_exploit_step": dict(self._first),
        }
        with open(self._counts(self._root), "a") as file:
            file.write(json.dumps(line) + "\n")

    def _counts(self, root: Path) -> Path:
        return root / COUNTS_FILE.replace(".", f"{self._suffix}.", 1)

    def _go_on(self, done: int) -> None:
        """Take up the counts of the steps before ``done``, and drop those of steps that are done again."""
        assert self._root is not None
        path = self._counts(self._root)
        if not path.exists():
            return
        lines = [line for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]  # a kill cuts one
        kept = [line for line in lines if json.loads(line)["step"] < done]
        if kept:
            self._first = json.loads(kept[-1])["first_exploit_step"]
        write_whole(path, "".join(kept).encode())
