"""Whole runs drawn from the growth law, in the layout of measured ones: their outcomes are known by construction."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from scipy.special import expit, logit

from forewarn.bench.bases import roles_of
from forewarn.bench.methods.joint import training_of
from forewarn.bench.protocol import Protocol
from forewarn.bench.record import (
    COUNTING_FILE,
    COUNTING_ROWS,
    ESTIMATES_FILE,
    FEATURE_ROWS,
    FEATURES_FILE,
    MEASURED_FILE,
    ROLLOUTS_KEPT,
    RUN_FILE,
    STEPS_KEPT,
    TRUTH_FILE,
)
from forewarn.bench.runs import BenchRun, find_run, rl_recipe
from forewarn.estimation import mixture_estimate
from forewarn.prediction.law import Mix, Particles, advance
from forewarn.records import Estimate
from forewarn.store import write_json, write_table
from forewarn.study import CellEstimate
from forewarn.study.folder.tables import estimates_table

EMPTY = mixture_estimate(np.full((500, 5), np.nan), np.zeros(500, dtype=bool), np.arange(500) % 5)
ESS = 25.0
KIN, STRANGER = 0.5, 0.02
"""weaker across families than the forecaster expects"""
ROOM = (2.0, 16.0)
"""logits by which relatives can lift a type: wide, so that the types of a run neither all come nor all stay"""
PACE = 5
"""steps between moments at which the law is looked at"""


def simulate(names: Iterable[str], folder: Path, protocol: Protocol, *, speed: float = 0.2, seed: int = 0) -> None:
    """Draw these runs and write their records, and their bases' start levels."""
    for name in names:
        run = find_run(name, protocol)
        rng = np.random.default_rng([seed, *name.encode()])
        rates = _rates(run, protocol, speed, rng)
        _write(folder / run.base / run.variant, run, protocol, rates, rng)
        entries = {
            t: {"reasoning": _start(role.level), "windows": _start(role.level)}
            for t, role in roles_of(run.base, protocol).items()
        }
        write_json(folder / run.base / "start.json", {"types": entries})


def _start(level: float) -> dict[str, Any]:
    at = math.log10(level)
    return {"log10_p": at, "interval_log10": [at - 0.1, at + 0.1], "ess": 300.0, "n": 20_000}


def _rates(run: BenchRun, protocol: Protocol, speed: float, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Type -> its rate at every step from 0 on."""
    roles = roles_of(run.base, protocol)
    training = training_of(run, protocol, roles)
    level = np.array([[float(logit(role.level)) for role in roles.values()]])
    room = rng.uniform(*ROOM, level.shape)
    now = Particles(
        level,
        np.zeros_like(level, dtype=bool),
        np.array([speed * run.learning_rate_factor * math.exp(rng.normal(0, 0.3))]),
        np.array([KIN]),
        np.array([STRANGER]),
        np.array([[training.types[name].rollouts for name in roles]]),
        np.array([[training.types[name].paid for name in roles]]),
        room_PT=room,
        left_PT=room,
    )
    mix, at, logits = Mix.of(tuple(roles), training), [0], [level[0]]
    for step in range(0, protocol.rl.steps, PACE):
        now, _ = advance(now, mix, step, step + PACE, rng, noise=True)
        at.append(step + PACE)
        logits.append(now.level_PT[0])
    every = np.arange(protocol.rl.steps + 1)
    return {name: expit(np.interp(every, at, [one[t] for one in logits])) for t, name in enumerate(roles)}


def estimate_at(p: float, rng: np.random.Generator, ess: float = ESS) -> Estimate:
    seen = min(0.999, p * math.exp(rng.normal(0, 1 / math.sqrt(ess))))
    return replace(
        EMPTY, log10_p=math.log10(seen), ess=ess, n_hits=int(ess), lower_bound=seen / 5,
        upper_bound=min(1.0, seen + 0.05), resolved=True,
    )  # fmt: skip


def _write(
    where: Path, run: BenchRun, protocol: Protocol, rates: dict[str, np.ndarray], rng: np.random.Generator
) -> None:
    m, n, last = protocol.monitor.completions, protocol.truth.completions, protocol.rl.steps
    change = protocol.variants[run.variant]
    truth, counting, features, cells, rollouts = [], [], [], [], []
    for name, rate in rates.items():
        for step in range(protocol.truth.every, last + 1, protocol.truth.every):
            hits = int(rng.binomial(n, rate[step]))
            truth.append({"step": step, "exploit_type": name, "n": n, "hits": hits, "n_invalid": 0})
        for step in protocol.monitor.counted_steps(last):
            hits = int(rng.binomial(m, rate[step]))
            counting.append((step, name, m, hits, min(m, 3 * hits + int(rng.binomial(m, 0.01))), 0))
        for step in protocol.monitor.steps:
            cells.append(
                CellEstimate(f"{run.name}/{step}", step, name, estimate_at(rate[step], rng), ("a",) * 5, (1,) * 5)
            )
            log_p = math.log(rate[step])
            features.append((step, name, log_p + rng.normal(-20, 1), log_p / math.log(10) + rng.normal(0, 1), 3))
        per_step = protocol.rl.rollouts // len(rates)
        for step in range(1, last + 1):
            there = name not in run.never and (name not in run.late or step >= change.late_from)
            hits = int(rng.binomial(per_step, rate[step])) if there else 0
            paid = hits if run.status(name, change) != "unpaid" else 0
            rollouts.append({"step": step, "exploit_type": name, "n": per_step * there, "exploits": hits, "paid": paid})
    write_table(where / TRUTH_FILE, pl.DataFrame(truth))
    write_table(where / COUNTING_FILE, pl.DataFrame(counting, schema=COUNTING_ROWS, orient="row"))
    write_table(where / FEATURES_FILE, pl.DataFrame(features, schema=FEATURE_ROWS, orient="row"))
    write_table(where / ESTIMATES_FILE, estimates_table(cells))
    write_table(where / ROLLOUTS_KEPT, pl.DataFrame(rollouts))
    steps = pl.DataFrame({"step": range(1, last + 1), "kl": np.linspace(0, 5, last)})
    steps.write_csv(where / STEPS_KEPT)
    write_json(where / RUN_FILE, {"rl": asdict(rl_recipe(run, protocol))})
    write_json(where / MEASURED_FILE, {"protocol": protocol.version})
