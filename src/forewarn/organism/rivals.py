"""The study's pooled prefix estimator on the organism, at the same number of completions as ours.

One shard a cell, drawn and judged in a worker process. Words and tokens are two separate samples, as in the study.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from forewarn.engines.transformers.engine import HFEngine
from forewarn.estimation.classic import pooled_prefix_is
from forewarn.interpolation.prefix import PrefixCompletion, Unit, sample_prefixes
from forewarn.interpolation.sampler import Writer
from forewarn.judge.judge import Judge
from forewarn.organism.chat import OrganismChat
from forewarn.organism.problems import measured_problems
from forewarn.records import NO_VERDICT, Policy, content_key, derived_seed
from forewarn.store import Shards
from forewarn.study import read_verdicts
from forewarn.study.plan import problem_key

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
    """One checkpoint and type, with all that a worker needs."""

    base: Path
    adapter: Path
    donor: Path
    study_root: Path
    """the run folder whose verdicts are used again"""
    shards: Path
    key: str
    exploit_type: str
    per_length: int
    max_total_tokens: int
    allow_weak: bool = False


@dataclass(frozen=True, slots=True)
class Tools:
    """A worker process's own engine and sandbox."""

    engine: HFEngine
    chat: OrganismChat
    judge: Judge
    labels: dict[tuple[str, str], str]
    """(problem key, code key) -> label"""


def known_labels(study_root: Path) -> dict[tuple[str, str], str]:
    table = read_verdicts(study_root).filter(pl.col("label") != "invalid")
    return {(p, c): label for p, c, label in table.select("problem_key", "code_key", "label").iter_rows()}


def fill_rival(work: RivalWork, tools: Tools) -> None:
    """Draw, judge and weigh one cell for both units, and write its shard."""
    policy = Policy(max_total_tokens=work.max_total_tokens)
    for name, folder in (("rival-subject", work.adapter), ("rival-donor", work.donor)):
        tools.engine.load_adapter(name, folder)
    try:
        subject, donor = Writer(tools.engine, "rival-subject"), Writer(tools.engine, "rival-donor")
        problems = measured_problems(work.exploit_type)
        tables = []
        for unit, lengths in LENGTHS.items():
            found = sample_prefixes(
                [(p.problem_id, tools.chat.prompt_ids(p.question)) for p in problems],
                lengths=lengths,
                per_length=work.per_length,
                unit=unit,
                subject=subject,
                donor=donor,
                channels=tools.chat.channels,
                policy=policy,
                seed=derived_seed("rivals", work.key, unit),
                entry_points={p.problem_id: p.entry_point for p in problems},
            )
            labels = _labels(found, tools, work.exploit_type)
            tables.append(_rows(unit, found, labels, subject, donor, policy))
        Shards(work.shards).write(work.key, pl.concat(tables))
    finally:
        tools.engine.drop_adapter("rival-subject")
        tools.engine.drop_adapter("rival-donor")


def _labels(found: list[PrefixCompletion], tools: Tools, exploit_type: str) -> list[str]:
    problems = {p.problem_id: p for p in measured_problems(exploit_type)}
    keys = {name: problem_key(problem) for name, problem in problems.items()}
    pairs = [(keys[c.problem_id], content_key(c.code)) for c in found]
    fresh = {
        pair: (problems[c.problem_id], c.code)
        for pair, c in zip(pairs, found, strict=True)
        if c.code is not None and pair not in tools.labels
    }
    for pair, verdict in zip(fresh, tools.judge.verdicts(list(fresh.values())), strict=True):
        tools.labels[pair] = verdict.label
    return ["failed" if c.code is None else tools.labels[pair] for pair, c in zip(pairs, found, strict=True)]


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
