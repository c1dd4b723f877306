"""The tables of docs/foresight.md, from what the repository keeps of the development runs.

    python benchmarks/foresight/tables.py d0-V1                     # estimates, truth and counting of one run
    python benchmarks/foresight/tables.py d0-V1 d0-V5 --forecasts   # what the forecaster of all types says of each
    python benchmarks/foresight/tables.py d0-V1 --evidence          # how likely its estimates are under other priors

Evidence is ln of the probability (density) of a run's estimates under the growth law.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from forewarn.bench.bases import TypeRole, roles_of
from forewarn.bench.methods.joint import training_of
from forewarn.bench.protocol import protocol
from forewarn.bench.record import COUNTING_FILE, ESTIMATES_FILE, TRUTH_FILE
from forewarn.bench.runs import BenchRun, find_run
from forewarn.prediction import forecast_run, law
from forewarn.prediction.belief import believe
from forewarn.records import Estimate
from forewarn.store import read_table
from forewarn.study.folder.tables import estimates_of

DATA = Path(__file__).parent / "data"
Priors = Mapping[str, float]
Cells = Mapping[str, Sequence[Estimate | None]]
PRIORS: Sequence[Priors] = (
    {},
    {"NOISE": 0.05, "WANDER": 0.0, "SLACK": 0.0},
    {"NOISE": 0.17, "SLACK": 0.0},
    {"SLACK": 1.6},
    {"SLACK": 0.4},
    {"NOISE": 0.05},
    {"WANDER": 0.0},
    {"WANDER": 0.2},
    {"ROOM": 5.0},
    {"ROOM": 50.0},
    {"KIN": 0.5, "STRANGER": 0.1},
)
"""the priors as they are, and others: names of ``prediction.law``"""


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept of a run."""

    run: BenchRun
    estimates: Mapping[tuple[int, str], Estimate]
    truth: pl.DataFrame
    counting: pl.DataFrame

    @property
    def steps(self) -> list[int]:
        return sorted({step for step, _ in self.estimates})

    @property
    def roles(self) -> Mapping[str, TypeRole]:
        return roles_of(self.run.base, protocol())

    def crossing(self, name: str) -> float:
        """The first sampled step at which a tenth of the truth's completions hit; infinite: none."""
        passed = (pl.col("exploit_type") == name) & (pl.col("hits") >= protocol().score.event_rate * pl.col("n"))
        step = self.truth.filter(passed)["step"].min()
        return math.inf if step is None else float(step)  # type: ignore[arg-type]

    def cells(self, steps: Sequence[int]) -> dict[str, list[Estimate | None]]:
        return {name: [self.estimates[step, name] for step in steps] for name in self.roles}


def read(name: str) -> Kept:
    run = find_run(name, protocol())
    where = DATA / run.base / run.variant
    held = estimates_of(read_table(where / ESTIMATES_FILE))
    return Kept(
        run,
        {(cell.step, cell.exploit_type): cell.estimate for cell in held},
        read_table(where / TRUTH_FILE),
        read_table(where / COUNTING_FILE),
    )


def number(estimate: Estimate) -> str:
    if estimate.log10_p is None:
        return "no hit"
    text = f"{10**estimate.log10_p:.1e}".replace("e-0", "e-")
    return text if estimate.resolved else f"*{text}*"


def told_step(step: float | None) -> str:
    return "never" if step is None or math.isinf(step) else f"{step:.0f}"


def estimates_table(kept: Kept, steps: Sequence[int], truth_steps: Sequence[int]) -> list[str]:
    followers = [name for name, role in kept.roles.items() if role.role == "follower"]
    rows = []
    for name in sorted(followers, key=lambda one: (kept.crossing(one), one)):
        mine = kept.truth.filter(pl.col("exploit_type") == name)
        hits = dict(zip(mine["step"], mine["hits"], strict=True))
        seen = kept.counting.filter((pl.col("exploit_type") == name) & (pl.col("hits") > 0))["step"].min()
        told = [number(kept.estimates[step, name]) for step in steps]
        told += [", ".join(str(hits.get(step, "-")) for step in truth_steps), told_step(seen)]  # type: ignore[arg-type]
        rows.append(f"| `{name}` | {' | '.join([*told, told_step(kept.crossing(name))])} |")
    return rows


def said(kept: Kept, checkpoints: Sequence[int], repeats: int) -> dict[str, tuple[list[float], list[float]]]:
    """The forecaster's probabilities from so many checkpoints, and their spread by the filter's own chance."""
    plan = protocol()
    training = training_of(kept.run, plan, kept.roles)
    drawn: dict[str, list[list[float]]] = {name: [] for name in kept.roles}
    for count in checkpoints:
        steps = kept.steps[:count]
        made = [
            forecast_run(
                kept.run.name, steps, kept.cells(steps), horizon_step=plan.rl.steps,
                threshold=plan.score.event_rate, training=training, rng=np.random.default_rng(i),
            )
            for i in range(repeats)
        ]  # fmt: skip
        for name, rows in drawn.items():
            rows.append([one[name].probability or 0.0 for one in made])
    return {
        name: ([float(np.mean(row)) for row in rows], [float(np.std(row, ddof=1)) for row in rows])
        for name, rows in drawn.items()
    }


def forecasts_table(runs: Sequence[Kept], checkpoints: Sequence[int], repeats: int) -> list[str]:
    answers = [said(kept, checkpoints, repeats) for kept in runs]
    rows = []
    for name, role in runs[0].roles.items():
        if role.role == "leader":
            continue
        told = []
        for kept, answer in zip(runs, answers, strict=True):
            unpaid = kept.run.status(name, protocol().variants[kept.run.variant]) == "unpaid"
            means = ", ".join(f"{mean:.2f}" for mean in answer[name][0])
            told += [means, told_step(kept.crossing(name)) + "*" * unpaid]
        rows.append(f"| `{name}` | {' | '.join(told)} |")
    spreads = np.array([spread for answer in answers for _, row in answer.values() for spread in row])
    median, most = np.quantile(spreads, [0.5, 1.0])
    rows.append(
        f"standard deviation of one forecast, by the filter's chance: {median:.2f} in the median, up to {most:.2f}"
    )
    return rows


@contextmanager
def priors_of(chosen: Priors) -> Iterator[None]:
    """The law with these priors, names of ``prediction.law``, in place of its own."""
    before = {name: getattr(law, name) for name in chosen}
    try:
        for name, value in chosen.items():
            setattr(law, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(law, name, value)


def evidence(kept: Kept, steps: Sequence[int], cells: Cells, chosen: Priors, repeats: int) -> tuple[float, float]:
    """Mean ln evidence of a run's cells at these steps with these priors, and its standard error by the filter's
    chance."""
    training = training_of(kept.run, protocol(), kept.roles)
    with priors_of(chosen):
        found = [
            believe(steps, cells, training=training, rng=np.random.default_rng(i)).log_evidence for i in range(repeats)
        ]
    return float(np.mean(found)), float(np.std(found, ddof=1)) / math.sqrt(repeats)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--steps", type=int, nargs="+", default=[0, 40, 80, 100, 120, 140])
    parser.add_argument("--truth-steps", type=int, nargs="+", default=[80, 100, 120, 140])
    parser.add_argument("--forecasts", action="store_true")
    parser.add_argument("--checkpoints", type=int, nargs="+", default=[3, 5, 7, 8])
    parser.add_argument("--evidence", action="store_true")
    parser.add_argument("--repeats", type=int, default=10, help="of the filter, whose chance is told beside")
    args = parser.parse_args()
    runs = [read(name) for name in args.runs]
    if args.forecasts:
        print("\n".join(forecasts_table(runs, args.checkpoints, args.repeats)))
        return
    for kept in runs:
        if args.evidence:
            for priors in PRIORS:
                told = ", ".join(f"{name} {value}" for name, value in priors.items()) or "as they are"
                mean, error = evidence(kept, kept.steps, kept.cells(kept.steps), priors, args.repeats)
                print(f"{kept.run.name}, {told}: {mean:.0f} (s.e. {error:.0f})", flush=True)
        else:
            print("\n".join(estimates_table(kept, args.steps, args.truth_steps)))


if __name__ == "__main__":
    main()
