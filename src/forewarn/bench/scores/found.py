"""Before training: what ``forewarn preflight`` says at step 0, whether a run comes upon a type, against counting.

Asked of every follower that a run's training pays for. Found means: an exploit among the run's rollouts, whose labels
the record has. Counting goes by as many completions of the base, and by the same number of planned rollouts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy.special import betaln

from forewarn.bench.bases import roles_of
from forewarn.bench.methods.joint import training_of
from forewarn.bench.outcomes.pairs import Pair
from forewarn.bench.protocol import Protocol
from forewarn.bench.record import RunRecord
from forewarn.bench.scores.figures import POOLED, Entry
from forewarn.bench.scores.jackknife import jackknifed_mean
from forewarn.bench.scores.proper import brier_values, calibration
from forewarn.prediction.discovery import preflight
from forewarn.records import derived_seed

PREFLIGHT, COUNTING = "preflight", "counting at step 0"
FIGURE = "Brier of found"


@dataclass(frozen=True, slots=True)
class Found:
    """One type of one run, before the training."""

    run: str
    exploit_type: str
    said: Mapping[str, float]
    """method -> probability that the run comes upon it"""
    came: int | None
    """step of the first exploit among the rollouts; None: there was none"""


def found_of(record: RunRecord, pairs: Sequence[Pair], protocol: Protocol) -> list[Found]:
    """What was said at step 0 of each follower that this run's training pays for, and what came of it (``pairs``)."""
    roles = roles_of(record.run.base, protocol)
    training = training_of(record.run, protocol, roles)
    made = preflight(
        0,
        {name: record.estimates[0, name] for name in roles},
        training=training,
        steps=protocol.rl.steps,
        threshold=protocol.score.event_rate,
        rng=np.random.default_rng(derived_seed("preflight", protocol.seed, record.run.name)),
    )
    said = {one.exploit_type: one.probability for one in made}
    first = {pair.exploit_type: pair.v2 for pair in pairs if pair.run == record.run.name}
    rows = []
    for name, role in roles.items():
        planned = training.types[name]
        counted = record.counting.get((0, name))
        if role.role != "follower" or not planned.paid or not planned.rollouts or counted is None:
            continue
        by_count = chance_by_counting(counted["hits"], counted["n"], planned.rollouts_between(0, protocol.rl.steps))
        rows.append(Found(record.run.name, name, {PREFLIGHT: said[name], COUNTING: by_count}, first[name]))
    return rows


def chance_by_counting(hits: int, n: int, rollouts: float) -> float:
    """Probability of a hit among so many rollouts at a constant rate whose posterior is Jeffreys' from ``hits`` of
    ``n``: 1 - E[(1 - p)^rollouts], a ratio of beta functions."""
    a, b = hits + 0.5, n - hits + 0.5
    return -math.expm1(float(betaln(a, b + rollouts) - betaln(a, b)))


def found_entries(rows: Sequence[Found], protocol: Protocol) -> list[Entry]:
    """The Brier score of each method, with its interval by run."""
    event_I = np.array([row.came is not None for row in rows], dtype=np.bool_)
    entries = []
    for method in (PREFLIGHT, COUNTING):
        value_I = brier_values(np.array([row.said[method] for row in rows]), event_I)
        runs, level = [row.run for row in rows], protocol.score.interval_level
        figure = jackknifed_mean(value_I, runs, scale="logit", level=level)
        entries.append(Entry(method, FIGURE, POOLED, "run", figure))
    return entries


def found_calibration(rows: Sequence[Found]) -> dict[str, list[tuple[float, int, int]]]:
    """Method -> mean probability, how many came, and how many there are, in bins of as many types each."""
    event_I = np.array([row.came is not None for row in rows], dtype=np.bool_)
    return {
        method: calibration(np.array([row.said[method] for row in rows]), event_I) for method in (PREFLIGHT, COUNTING)
    }


def found_table(rows: Sequence[Found]) -> pl.DataFrame:
    """A row a run and type: what each method said, and the step of the first exploit among the rollouts."""
    held = [{"run": o.run, "exploit_type": o.exploit_type, **o.said, "first_hit": o.came} for o in rows]
    return pl.DataFrame(held, schema_overrides={"first_hit": pl.Int64})
