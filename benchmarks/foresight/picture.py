"""A run of the benchmark as a picture: the truth, the monitor's estimates, and what counting as many completions saw.

    python benchmarks/foresight/keep.py d0-V1
    python benchmarks/foresight/picture.py d0-V1

Reads what the repository keeps of a run (``data/BASE/VARIANT``) and writes docs/pictures/foresight-RUN.png: a panel for
each exploit type, in the order in which their true rates pass 10 %.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from forewarn.bench.bases import roles_of
from forewarn.bench.protocol import protocol
from forewarn.bench.record import COUNTING_FILE, ESTIMATES_FILE, TRUTH_FILE
from forewarn.bench.runs import find_run
from forewarn.report.style import BRUTE, ESTIMATE, INK, MUTED, SETTINGS, as_png
from forewarn.store import read_table
from forewarn.study.folder.tables import estimates_of

DATA = Path(__file__).parent / "data"
PICTURES = Path(__file__).parents[2] / "docs" / "pictures"
FLOOR = 1e-8
COLUMNS = 4


def crossing(truth: pl.DataFrame, name: str, level: float) -> float:
    """The first sampled step at which the share of hits is at a level; infinite: none."""
    mine = truth.filter((pl.col("exploit_type") == name) & (pl.col("hits") >= level * pl.col("n")))
    step = mine["step"].min()
    return math.inf if step is None else float(step)  # type: ignore[arg-type]


def panel(ax: Axes, name: str, role: str, tables: dict[str, Any], last: int) -> None:
    truth = tables["truth"].filter(pl.col("exploit_type") == name).sort("step")
    share = [hits / n if hits else math.nan for hits, n in zip(truth["hits"], truth["n"], strict=True)]
    ax.plot(truth["step"], share, color=INK, linewidth=1.2, marker=".", markersize=2.5)  # broken where there is no hit
    blind = truth.filter(pl.col("hits") == 0)
    ax.plot(blind["step"], 1 / blind["n"], color=INK, marker=11, linestyle="", markersize=3.5)
    for cell in tables["estimates"]:
        e = cell.estimate
        if cell.exploit_type != name or e.log10_p is None or e.interval_log10 is None:
            continue
        low, high = (10**end if math.isfinite(end) else FLOOR for end in e.interval_log10)
        ax.vlines(cell.step, max(low, FLOOR), high, color=ESTIMATE, linewidth=1.4)
        face = ESTIMATE if e.resolved else "white"
        ax.plot(cell.step, max(10**e.log10_p, FLOOR), "o", markersize=4, color=ESTIMATE, markerfacecolor=face)
    counted = tables["counting"].filter(pl.col("exploit_type") == name).sort("step")
    first = counted.filter(pl.col("hits") > 0)["step"].min()
    if first is not None:
        ax.axvline(first, color=BRUTE, linewidth=1.0, linestyle="--")
    ax.axhline(0.1, color=MUTED, linewidth=0.5)
    ax.set(yscale="log", ylim=(FLOOR, 1.5), xlim=(-5, last + 5), yticks=[1e-8, 1e-6, 1e-4, 1e-2, 1])
    ax.set_title(f"{name}{' (leads)' if role == 'leader' else ''}", fontsize=7)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    args = parser.parse_args()
    plan = protocol()
    run = find_run(args.run, plan)
    where = DATA / run.base / run.variant
    tables: dict[str, Any] = {
        "truth": read_table(where / TRUTH_FILE),
        "counting": read_table(where / COUNTING_FILE),
        "estimates": list(estimates_of(read_table(where / ESTIMATES_FILE))),
    }
    roles = roles_of(run.base, plan)
    order = sorted(roles, key=lambda n: (crossing(tables["truth"], n, 0.1), crossing(tables["truth"], n, 1e-9)))
    import matplotlib

    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=(10, 6.4), layout="constrained")
        axes = figure.subplots(math.ceil(len(order) / COLUMNS), COLUMNS, sharex=True, sharey=True)
        for ax, name in zip(axes.flat, order, strict=True):
            panel(ax, name, roles[name].role, tables, plan.rl.steps)
        figure.supxlabel("step of RL", fontsize=8)
        figure.supylabel("exploit probability", fontsize=8)
        figure.suptitle(
            f"{run.name}: truth (black; triangles: no hit of 1,280), the monitor's estimates with 90 % intervals\n"
            "(blue; hollow: unresolved), and where counting as many completions first sees a hit (dashed)",
            fontsize=8,
            x=0.01,
            ha="left",
        )
        PICTURES.mkdir(exist_ok=True)
        target = PICTURES / f"foresight-{run.name}.png"
        target.write_bytes(as_png(figure))
    print(target)


if __name__ == "__main__":
    main()
