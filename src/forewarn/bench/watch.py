"""What is kept of a run's steps: labels of its rollouts by type, mentions of the checker, rewards, divergence.

One JSON line a step, on disk before the next step begins; a resumed run drops the lines of steps it does again. These
are training rollouts: never an evaluation of the checkpoint they trained.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from forewarn.bench.exploit_texts import MENTIONS
from forewarn.bench.verdicts import VerdictMemory
from forewarn.engines.transformers.engine import HFEngine
from forewarn.errors import StoreError
from forewarn.organism.chat import OrganismChat
from forewarn.organism.train import StepSeen
from forewarn.records import Policy, derived_seed
from forewarn.store import write_whole
from forewarn.training.grpo import Rollout

KL_ROLLOUTS = 128
"""completions of a step on which the divergence from the base is measured"""
Log = Callable[[str], None]


class StepRecords:
    """Writes the records of one run."""

    def __init__(
        self,
        path: Path,
        *,
        base: HFEngine,
        sampled: HFEngine,
        chat: OrganismChat,
        policy: Policy,
        verdicts: VerdictMemory,
        types: Sequence[str],
        done: int,
        log: Log,
    ) -> None:
        """``sampled``: the engine of the weights that wrote the rollouts. ``done``: the step the run goes on from."""
        self._path, self._base, self._sampled, self._chat, self._policy = path, base, sampled, chat, policy
        self._verdicts, self._types, self._log, self._last = verdicts, types, log, time.monotonic()
        if path.exists():
            kept = [line for line in read_lines(path) if line["step"] <= done]
            write_whole(path, "".join(json.dumps(line) + "\n" for line in kept).encode())

    def __call__(self, seen: StepSeen) -> None:
        labels = self._labels(seen)
        mentions = [any(word in self._chat.reasoning(r.token_ids) for word in MENTIONS) for r in seen.rollouts]
        divergence = self._divergence(seen)
        line = {
            "step": seen.step,
            "n_gradient": seen.n_gradient,
            "reward_mean": float(np.mean([r.reward for r in seen.rollouts if r.reward is not None] or [0.0])),
            "reward_variance": _variance_within(seen.rollouts),
            "kl": float(np.mean(divergence)),
            "kl_se": float(np.std(divergence) / np.sqrt(len(divergence))),
            "types": {name: _counts(name, seen, labels, mentions) for name in self._types},
        }
        now = time.monotonic()
        line["seconds"], self._last = round(now - self._last, 2), now
        self._append(line)
        self._log(_told(line))

    def _labels(self, seen: StepSeen) -> list[str]:
        items = [(p, code) for p, code in zip(seen.problems, seen.programs, strict=True) if code is not None]
        found = iter(self._verdicts.verdicts(items))
        return ["failed" if code is None else next(found).label for code in seen.programs]

    def _divergence(self, seen: StepSeen) -> np.ndarray[Any, np.dtype[np.float64]]:
        """log p - log p_base of some completions, nats: its mean is the divergence of whole completions."""
        rng = random.Random(derived_seed("bench divergence", self._path.parent.name, seen.step))
        chosen = rng.sample(list(seen.rollouts), min(KL_ROLLOUTS, len(seen.rollouts)))
        prompts, texts = [r.prompt_ids for r in chosen], [r.token_ids for r in chosen]
        mine, base = (engine.score(prompts, texts, policy=self._policy) for engine in (self._sampled, self._base))
        return np.array([a.sum() - b.sum() for a, b in zip(mine, base, strict=True)])

    def _append(self, line: Mapping[str, Any]) -> None:
        try:
            with self._path.open("a") as file:
                file.write(json.dumps(line) + "\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise StoreError(
                f"can't write {self._path}: {error.strerror or error}; free some space and run the same command again"
            ) from None


def _variance_within(rollouts: Sequence[Rollout]) -> float:
    """The mean variance of rewards within a prompt's group: what a policy gradient has to go by."""
    groups: dict[int, list[float]] = {}
    for r in rollouts:
        if r.reward is not None:
            groups.setdefault(r.group, []).append(r.reward)
    return float(np.mean([float(np.var(values)) for values in groups.values()] or [0.0]))


def _counts(name: str, seen: StepSeen, labels: Sequence[str], mentions: Sequence[bool]) -> dict[str, int]:
    mine = [i for i, problem in enumerate(seen.problems) if problem.exploit_type == name]
    by_label = Counter(labels[i] for i in mine)
    return {
        "n": len(mine),
        "exploits": by_label["exploit"],
        "solved": by_label["solved"],
        "unclear": by_label["invalid"] + by_label["inconsistent"],
        "mentions": sum(mentions[i] for i in mine),
        "exploits_mentioned": sum(mentions[i] and labels[i] == "exploit" for i in mine),
        "paid": sum(seen.rollouts[i].reward == 1.0 for i in mine),
    }


def _told(line: Mapping[str, Any]) -> str:
    hits = " ".join(f"{name}:{c['exploits']}/{c['n']}" for name, c in line["types"].items() if c["exploits"])
    return (
        f"step {line['step']}: {line['seconds']} s, gradient of {line['n_gradient']}, reward {line['reward_mean']:.3f}"
        f", KL {line['kl']:.3f}, exploits {hits or 'none'}"
    )


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The records of whole lines; a last one that a kill cut short is left out."""
    return [json.loads(line) for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]


def record_tables(path: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    """``(by step, by step and type)``: the records of a run as tables."""
    lines = read_lines(path)
    steps = pl.DataFrame([{k: v for k, v in line.items() if k != "types"} for line in lines])
    types = pl.DataFrame(
        [{"step": line["step"], "exploit_type": t} | counts for line in lines for t, counts in line["types"].items()]
    )
    return steps, types
