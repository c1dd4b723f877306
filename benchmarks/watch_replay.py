"""A run of 200 steps watched from its folder: the bundled organism's own RL, replayed as a trainer would write it.

    python benchmarks/watch_replay.py HOME

Each of the twelve checkpoints is written piece by piece, the trainer keeps three, and `forewarn watch` follows; the
next is written once the last is measured, as in a training that is slower than measuring. Then as many completions of
the subject alone are drawn at each checkpoint: what counting sees. The rollouts of the run were not kept, so the first
exploit in them is what the truth makes of it: the step by which one was to be expected. Goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import math
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import polars as pl
import torch
from benchmarks.watch_study import forewarn, one_thread, write_study
from benchmarks.watch_trainer import plan, run
from examples.live.summary import counting_study, first_raised, in_columns, lead, rate, written

from forewarn.monitor.feed import ALERTS_FILE
from forewarn.monitor.sinks.jsonl import read_alerts
from forewarn.monitor.state import read_state
from forewarn.organism.donors import DONOR, EXPLORER, train_donor, train_explorers
from forewarn.organism.recipe import TYPES, RLRecipe
from forewarn.organism.shipped import shipped_folder
from forewarn.records import Policy
from forewarn.store import read_table
from forewarn.study import Machine, Sandboxing, read_results
from forewarn.study.results.forecasts import THRESHOLD, first_visible

SPANS = """[[spans]]
count = 4

[[spans]]
m = 3
count = 2
donor = "donor"

[[spans]]
m = "inf"
count = 4
donor = "donor"

[[spans]]
k = "inf"
m = "inf"
count = 4
donor = "explorer"

[[spans]]
k = 5
m = "inf"
count = 2
donor = "explorer"
"""
PROBLEMS, KEEP, EVERY_S = 10, 3, 0.3


def rollouts_per_step() -> float:
    """Of each exploit type."""
    recipe = RLRecipe()
    return recipe.problems_per_step * recipe.group / len(TYPES)


def prepare(home: Path) -> Path:
    """Donors as the demo makes them, and the study's file."""

    def tell(stage: str, done: int, total: int) -> None:
        print(f"\r{stage}: {done} of {total}   ", end="\n" if done == total else "", file=sys.stderr)

    base, donors = shipped_folder() / "base", (home / "donors").resolve()
    home.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    train_donor(base, donors / DONOR, tell)
    train_explorers(
        base, donors, home / "refinement", policy=Policy(max_total_tokens=64), seed=0,
        machine=Machine(batch_size=640), sandboxing=Sandboxing(workers=1), progress=tell,
    )  # fmt: skip
    return write_study(
        home, name="replay", types=tuple(TYPES), problems_of_each=PROBLEMS, spans=SPANS,
        donors={name: donors / name for name in (DONOR, EXPLORER)},
        more=f"[training]\nrollouts = {rollouts_per_step():g}\n",
    )  # fmt: skip


def replay(home: Path, file: Path) -> None:
    """Write the run's checkpoints while a watcher follows, each once the one before is measured."""
    last = RLRecipe().steps
    follow = forewarn("watch", file, "--run-folder", home / "run", "--every", EVERY_S, "--until", last)
    watcher = subprocess.Popen(follow, env=one_thread())
    for step in run(home / "out", plan(), keep=KEEP, pause=lambda: time.sleep(2 * EVERY_S)):
        while watcher.poll() is None and f"checkpoint-{step}" not in measured(home / "run"):
            time.sleep(0.2)
    if watcher.wait() not in (0, 4):
        sys.exit("the watcher failed: see above; the same command goes on")


def measured(run_folder: Path) -> Sequence[str]:
    state = read_state(run_folder)
    return () if state is None else state.measured


def expected_first(truth: pl.DataFrame) -> int | None:
    """The step by which the training's rollouts were to hold an exploit of a type, by the truth of its checkpoints.

    Between checkpoints log rates are taken to run straight on log steps, before the first to be its own; without a hit
    the rate is taken for 0.
    """
    held = truth.filter(pl.col("hits") > 0).sort("step")
    if held.height == 0:
        return None
    rates = (held["hits"] / held["n"]).to_numpy()
    every = np.arange(1, int(truth["step"].to_numpy().max()) + 1)
    log_rate = np.interp(np.log(every), np.log(held["step"].to_numpy()), np.log(rates))
    expected = np.cumsum(rollouts_per_step() * np.exp(log_rate))
    reached = np.flatnonzero(expected >= 1)
    return int(every[reached[0]]) if len(reached) else None


def passed(truth: pl.DataFrame) -> int | None:
    """The first checkpoint at which the true rate is above the threshold."""
    above = truth.sort("step").filter(pl.col("hits") / pl.col("n") >= THRESHOLD)
    return int(above["step"][0]) if above.height else None


def tables(home: Path) -> str:
    truth = read_table(shipped_folder() / "truth.parquet").filter(pl.col("run") == "rl")
    estimates = sorted(read_results(home / "run").estimates, key=lambda cell: cell.step)
    counted = sorted(read_results(home / "counting").estimates, key=lambda cell: cell.step)
    raised = first_raised(read_alerts(home / "run" / ALERTS_FILE))
    shown = [step for i, step in enumerate(sorted({cell.step for cell in estimates})) if i % 2 == 0]
    rates = [["rate", *(f"step {step}" for step in shown)]]
    firsts = [["first", "alarm", "by counting", "expected in rollouts", f"true rate over {THRESHOLD:.0%}",
               "lead on counting", "lead on rollouts", "lead on the rate"]]  # fmt: skip
    for name in TYPES:
        own = truth.filter(pl.col("exploit_type") == name)
        held = {cell.step: rate(cell.estimate) for cell in estimates if cell.exploit_type == name}
        rates.append([name, *(held[step] for step in shown)])
        alarm = raised.get(name)
        said = None if alarm is None else alarm.step
        visible = first_visible([cell for cell in counted if cell.exploit_type == name])
        rollouts, over = expected_first(own), passed(own)
        firsts.append(
            [name, written(said), written(visible), written(rollouts), written(over), lead(visible, said),
             lead(rollouts, said), lead(over, said)]
        )  # fmt: skip
    n = estimates[0].estimate.n
    inside = sum(_inside(cell.estimate.interval_log10, truth, cell.exploit_type, cell.step) for cell in estimates)
    told = sum(cell.estimate.interval_log10 is not None for cell in estimates)
    return "\n\n".join(
        (
            in_columns(rates),
            in_columns(firsts),
            f"Of {n} completions of each type at each checkpoint; ? unresolved, < no hit (upper bound). Counting: {n} "
            "completions of the subject alone. Leads in steps, positive: the alarm came before. Expected in rollouts: "
            f"one exploit by this step, by the truth and {rollouts_per_step():g} rollouts a step and type; the "
            f"rollouts themselves were not kept. {inside} of {told} intervals meet that of the brute-force truth.",
        )
    )


def _inside(interval: tuple[float, float] | None, truth: pl.DataFrame, kind: str, step: int) -> bool:
    if interval is None:
        return False
    [row] = truth.filter((pl.col("exploit_type") == kind) & (pl.col("step") == step)).to_dicts()
    low = math.log10(row["lo"]) if row["lo"] > 0 else -math.inf
    return interval[0] <= math.log10(row["hi"]) and interval[1] >= low


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("home", type=Path)
    options = parser.parse_args()
    home, start = options.home, time.monotonic()
    file = prepare(home)
    replay(home, file)
    counting = counting_study(file, home / "run")
    subprocess.run(forewarn("run", counting, "--run-folder", home / "counting"), check=True, env=one_thread())
    print(f"\n{tables(home)}\n\n{(time.monotonic() - start) / 60:.1f} min. Report: {home / 'run' / 'report'}")


if __name__ == "__main__":
    main()
