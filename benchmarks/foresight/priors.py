"""The priors of the forecaster of all types, learned on development runs alone.

    python benchmarks/foresight/priors.py d0-V1 d0-V3 d0-V5 d0-V7

Each setting of the priors (names of ``prediction.law``) is worth the ln of the probability of whole runs under the
growth law: the monitor's estimates up to its last checkpoint, then the truth's counts to the end of the run. One name
after the other is moved along its ladder while the sum over runs rises by more than chance of the filter explains.
Prints every setting that was tried, and at the end the forecasts' Brier score before and after.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence

import numpy as np
from tables import Kept, Priors, evidence, priors_of, read, said

from forewarn.bench.protocol import protocol
from forewarn.estimation import mixture_estimate
from forewarn.prediction import law
from forewarn.records import Estimate

LADDERS: Mapping[str, Sequence[float]] = {
    "SPEED": (0.05, 0.08, 0.12, 0.17, 0.22, 0.3, 0.4),
    "SPEED_SD": (0.4, 0.6, 0.8, 1.0, 1.3),
    "KIN": (0.35, 0.45, 0.55, 0.65, 0.75, 0.85),
    "STRANGER": (0.02, 0.1, 0.2, 0.3, 0.45, 0.6),
    "ROOM": (4.0, 5.5, 7.0, 8.5, 10.0, 14.0),
    "ROOM_SD": (0.75, 1.5, 2.5, 4.0),
    "NOISE": (0.02, 0.04, 0.06, 0.08, 0.11, 0.15),
    "WANDER": (0.0, 0.03, 0.06, 0.1, 0.15, 0.2),
    "SLACK": (0.1, 0.2, 0.4, 0.8, 1.6, 3.2),
}
CLEAR = 2.0
"""nats by which a sum of evidence has to rise"""


def counted(hits: int, n: int) -> Estimate:
    """Brute force as an estimate."""
    return mixture_estimate(np.zeros((n, 1)), np.arange(n) < hits, np.zeros(n, dtype=int))


def whole_run(kept: Kept, every: int) -> tuple[list[int], dict[str, list[Estimate | None]]]:
    """Estimates to the monitor's last checkpoint, and the truth's counts from there on."""
    truth = {(row["step"], row["exploit_type"]): (row["hits"], row["n"]) for row in kept.truth.iter_rows(named=True)}
    later = list(range(kept.steps[-1] + every, protocol().rl.steps + 1, every))
    cells = kept.cells(kept.steps)
    for name, mine in cells.items():
        mine += [counted(*truth[step, name]) if (step, name) in truth else None for step in later]
    return kept.steps + later, cells


def total(runs: Sequence[Kept], chosen: Priors, repeats: int, every: int) -> tuple[float, float, list[float]]:
    found = [evidence(kept, *whole_run(kept, every), chosen, repeats) for kept in runs]
    means = [mean for mean, _ in found]
    return sum(means), math.sqrt(sum(error**2 for _, error in found)), means


def brier(runs: Sequence[Kept], chosen: Priors, checkpoints: Sequence[int], repeats: int) -> list[float]:
    """Mean squared error of "a follower passes the event's rate by the last step", at each number of checkpoints."""
    errors = []
    for kept in runs:
        with priors_of(chosen):
            answer = said(kept, checkpoints, repeats)
        for name, role in kept.roles.items():
            if role.role == "follower":
                errors.append((np.array(answer[name][0]) - math.isfinite(kept.crossing(name))) ** 2)
    return [float(value) for value in np.mean(errors, axis=0)]


def neighbors(name: str, value: float) -> list[float]:
    """The next lower and the next higher value of its ladder."""
    ladder = LADDERS[name]
    lower, higher = [v for v in ladder if v < value - 1e-9], [v for v in ladder if v > value + 1e-9]
    return lower[-1:] + higher[:1]


def climb(runs: Sequence[Kept], repeats: int, every: int, rounds: int) -> dict[str, float]:
    """Move one name after the other while that helps clearly."""
    now = {name: float(getattr(law, name)) for name in LADDERS}
    best, error, by_run = total(runs, now, repeats, every)
    print(f"as they are: {best:.1f} (s.e. {error:.1f}); by run {', '.join(f'{one:.0f}' for one in by_run)}", flush=True)
    for _ in range(rounds):
        moved = False
        for name in LADDERS:
            tried: set[float] = {now[name]}
            while waiting := [v for v in neighbors(name, now[name]) if v not in tried]:
                found, error, by_run = total(runs, {**now, name: waiting[0]}, repeats, every)
                tried.add(waiting[0])
                told = f"{name} {waiting[0]}: {found:.1f} (s.e. {error:.1f})"
                if found > best + max(CLEAR, 2 * error):
                    now[name], best, moved = waiting[0], found, True
                    told += f" taken; by run {', '.join(f'{one:.0f}' for one in by_run)}"
                print(told, flush=True)
        if not moved:
            break
    return now


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", help="development runs")
    parser.add_argument("--every", type=int, default=20, help="steps between the truth's counts that are taken")
    parser.add_argument("--repeats", type=int, default=3, help="of the filter, whose chance is told beside")
    parser.add_argument("--rounds", type=int, default=3, help="most times that every name is moved")
    parser.add_argument("--checkpoints", type=int, nargs="+", default=[2, 4, 6, 8], help="for the Brier scores")
    args = parser.parse_args()
    runs = [read(name) for name in args.runs]
    if any(kept.run.use != "development" for kept in runs):
        parser.error("priors are learned on development runs alone")
    found = climb(runs, args.repeats, args.every, args.rounds)
    for told, chosen in (("as they are", {}), ("learned", found)):
        scores = ", ".join(f"{one:.3f}" for one in brier(runs, chosen, args.checkpoints, args.repeats))
        print(f"{told}: Brier score after {', '.join(map(str, args.checkpoints))} checkpoints: {scores}")
    for name, value in found.items():
        print(f"{name} = {value}")


if __name__ == "__main__":
    main()
