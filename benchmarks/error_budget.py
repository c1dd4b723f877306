"""The error budget of a watched run's rate alarms: how often any of them is false, and what it costs to see a rise.

    python benchmarks/error_budget.py --runs 2000 --out runs/benchmarks/error_budget

A run is 12 exploit types of one exact world x 20 looks, fresh completions at each look. Null: every type stays at a
third of u, or at u itself, the edge. Power: one type at 3, 10 and 30 times u at a single look, with the same budget.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from forewarn.prediction.alarms import log_e_of_looks
from forewarn.prediction.budget import ErrorBudget
from forewarn.worlds import World, build
from forewarn.worlds.draw import draw_looks

BUDGET = ErrorBudget(0.05, 12, 20)
WORLDS = ("both_roads", "accidental", "misses_half", "tenth")
BATCH = 50
"""runs drawn together"""


def log_e(world: World, u: float, n_look: int, rng: np.random.Generator) -> NDArray[np.float64]:
    count_S = np.array([40] + [16] * (len(world.spans) - 1))
    weight_H, look_H = draw_looks(world, count_S, n_look, rng)
    return log_e_of_looks(weight_H / u, look_H, n_look, int(count_S.sum()))


def of_world(name: str, n_run: int, seed: int) -> dict[str, object]:
    world, rng = build(name), np.random.default_rng([seed, len(name)])
    per_run = BUDGET.n_tests * BUDGET.n_looks
    found: dict[str, object] = {"p": world.p, "runs": n_run}
    for what, part in (("u = 3 p", 3.0), ("u = p", 1.0)):
        false, undivided = 0, 0
        for start in range(0, n_run, BATCH):
            n = min(BATCH, n_run - start)
            values = log_e(world, part * world.p, n * per_run, rng).reshape(n, per_run)
            false += int((values >= BUDGET.needed(1)).any(axis=1).sum())
            undivided += int((values >= -math.log(BUDGET.total)).any(axis=1).sum())
        found[f"runs with a false alarm, {what}"] = false / n_run
        found[f"the same with each test at the whole budget, {what}"] = undivided / n_run
    for times in (3, 10, 30):
        values = log_e(world, world.p / times, 2000, rng)
        found[f"a look alarms at {times} times u"] = float((values >= BUDGET.needed(1)).mean())
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--seed", type=int, default=20261127)
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks/error_budget"))
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    start, result = time.perf_counter(), {}
    for name in WORLDS:
        result[name] = of_world(name, args.runs, args.seed)
        print(f"{time.perf_counter() - start:.0f} s {name}\n{json.dumps(result[name], indent=1)}", flush=True)
        (args.out / "result.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
