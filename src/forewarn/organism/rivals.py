"""The study's pooled prefix estimator on the organism, at the same number of completions as ours.

One shard a cell, drawn and judged in a worker process. Words and tokens are two separate samples, as in the study.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import torch

from forewarn.engines.transformers.engine import HFEngine
from forewarn.estimation.classic import pooled_prefix_is
from forewarn.interpolation.prefix import PrefixCompletion, Unit, sample_prefixes
from forewarn.interpolation.sampler import Writer
from forewarn.judge.judge import Judge
from forewarn.organism.chat import OrganismChat
from forewarn.organism.problems import measured_problems
from forewarn.organism.recipe import TYPES
from forewarn.organism.shipped import Organism
from forewarn.records import NO_VERDICT, SUBJECT, Policy, content_key, derived_seed
from forewarn.store import Shards
from forewarn.study import read_verdicts
from forewarn.study.keys import problem_key
from forewarn.workers import Workers, check_done

DONOR_NAME = "donor"
STAGE = "the study's estimator"
LENGTHS: dict[Unit, tuple[int, ...]] = {"tokens": (2, 5, 10, 20), "words": (2, 4, 6, 8)}
ROWS = {
    "unit": pl.String,
    "problem_id": pl.String,
    "length": pl.Int64,
    "exploit": pl.Boolean,
    "valid": pl.Boolean,
    "log_ratio": pl.Float64,  # log p(z) - log q(z) of the prefix, nats; null where no exploit
}


@dataclass(frozen=True, slots=True)
class RivalWork:
    """One checkpoint and type."""

    adapter: Path
    key: str
    exploit_type: str


@dataclass(frozen=True, slots=True)
class OpenRivalRoom:
    """Opens the room in which cells of the rival are done; what a worker process is given."""

    base: Path
    donor: Path
    study_root: Path
    """the run folder whose verdicts are used again"""
    shards: Path
    per_length: int
    """completions of each problem, prefix length and unit"""
    policy: Policy
    allow_weak: bool = False

    def __call__(self) -> RivalRoom:
        return RivalRoom(self)


class RivalRoom:
    """A process's own engine and sandbox, and the verdicts known so far."""

    def __init__(self, settings: OpenRivalRoom) -> None:
        torch.set_num_threads(1)
        self._settings = settings
        self._engine = HFEngine.from_folder(settings.base, batch_size=640)
        self._engine.load_adapter(DONOR_NAME, settings.donor)
        self._chat = OrganismChat.from_folder(settings.base)
        self._labels = known_labels(settings.study_root)
        self._judge = Judge(workers=1, allow_weak=settings.allow_weak)

    def do(self, work: RivalWork) -> None:
        """Draw, judge and weigh one cell for both units, and write its shard."""
        settings = self._settings
        self._engine.load_adapter(SUBJECT, work.adapter)
        try:
            subject, donor = Writer(self._engine, SUBJECT), Writer(self._engine, DONOR_NAME)
            problems = measured_problems(work.exploit_type)
            tables = []
            for unit, lengths in LENGTHS.items():
                found = sample_prefixes(
                    [(p.problem_id, self._chat.prompt_ids(p.question)) for p in problems],
                    lengths=lengths,
                    per_length=settings.per_length,
                    unit=unit,
                    subject=subject,
                    donor=donor,
                    channels=self._chat.channels,
                    policy=settings.policy,
                    seed=derived_seed("rivals", work.key, unit),
                    entry_points={p.problem_id: p.entry_point for p in problems},
                )
                labels = self._judged(found, work.exploit_type)
                tables.append(_rows(unit, found, labels, subject, donor, settings.policy))
            Shards(settings.shards).write(work.key, pl.concat(tables))
        finally:
            self._engine.drop_adapter(SUBJECT)

    def close(self) -> None:
        self._judge.close()

    def _judged(self, found: list[PrefixCompletion], exploit_type: str) -> list[str]:
        """The label of each completion."""
        problems = {p.problem_id: p for p in measured_problems(exploit_type)}
        keys = {name: problem_key(problem) for name, problem in problems.items()}
        pairs = [(keys[c.problem_id], content_key(c.code)) for c in found]
        fresh = {
            pair: (problems[c.problem_id], c.code)
            for pair, c in zip(pairs, found, strict=True)
            if c.code is not None and pair not in self._labels
        }
        for pair, verdict in zip(fresh, self._judge.verdicts(list(fresh.values())), strict=True):
            self._labels[pair] = verdict.label
        return ["failed" if c.code is None else self._labels[pair] for pair, c in zip(pairs, found, strict=True)]


def run_rivals(
    organism: Organism,
    steps: Sequence[int],
    open_room: OpenRivalRoom,
    seed: int,
    workers: int,
    progress: Callable[[str, int, int], None],
) -> dict[tuple[str, int, str], dict[str, float | None]]:
    """The study's estimator (log10; None without a hit) of every type at these steps of the RL run."""
    shards = Shards(open_room.shards)
    works: dict[tuple[str, int, str], RivalWork] = {}
    for name in TYPES:
        for step in steps:
            weights = organism.weights_key("rl", step)
            key = content_key("rivals", weights, name, open_room.per_length, open_room.policy.key, seed)
            works["rl", step, name] = RivalWork(organism.adapter("rl", step), key, name)
    missing = [work for work in works.values() if not shards.has(work.key)]
    done = len(works) - len(missing)
    progress(STAGE, done, len(works))
    with Workers[RivalWork](open_room, workers) as room:
        for now, _ in enumerate(room.do(missing), done + 1):
            progress(STAGE, now, len(works))
        check_done(room.failed, len(works), "cells of the study's estimator")
    return {cell: rival_estimates(shards.read(work.key)) for cell, work in works.items()}


def known_labels(study_root: Path) -> dict[tuple[str, str], str]:
    """(problem key, code key) -> label, of the verdicts in a run folder."""
    table = read_verdicts(study_root).filter(pl.col("label") != "invalid")
    return {(p, c): label for p, c, label in table.select("problem_key", "code_key", "label").iter_rows()}


def _rows(
    unit: Unit, found: list[PrefixCompletion], labels: list[str], subject: Writer, donor: Writer, policy: Policy
) -> pl.DataFrame:
    hits = [i for i, label in enumerate(labels) if label == "exploit"]
    ratio: dict[int, float] = {}
    if hits:
        prompts, prefixes = [found[i].prompt_ids for i in hits], [found[i].prefix_ids for i in hits]
        scores = [
            writer.engine.score(prompts, prefixes, policy=policy, adapter=writer.adapter) for writer in (subject, donor)
        ]
        ratio = {i: float(p.sum() - q.sum()) for i, p, q in zip(hits, *scores, strict=True)}
    rows = [
        (unit, c.problem_id, c.length, label == "exploit", label not in NO_VERDICT, ratio.get(i))
        for i, (c, label) in enumerate(zip(found, labels, strict=True))
    ]
    return pl.DataFrame(rows, schema=ROWS, orient="row")


def rival_estimates(table: pl.DataFrame) -> dict[str, float | None]:
    """log10 of the study's pooled estimate for each unit; None without a hit."""
    values: dict[str, float | None] = {}
    for unit in LENGTHS:
        mine = table.filter(pl.col("unit") == unit)
        ratio = mine["log_ratio"].fill_null(math.nan).to_numpy()
        estimate = pooled_prefix_is(
            np.asarray(ratio), mine["exploit"].to_numpy(), mine["problem_id"].to_numpy(), mine["length"].to_numpy()
        )
        values[unit] = estimate.log10_p
    return values
