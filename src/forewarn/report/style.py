"""Colours, marks and axis choices that the PNG plots and the page's charts share.

The palette is Okabe and Ito's, which the common forms of colour blindness can tell apart; every series also has a mark
of its own, so that nothing rests on colour alone.
"""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING, Any

import polars as pl

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK = "#1b1f24"
MUTED = "#6a737d"
GRID = "#e4e7eb"
ESTIMATE = "#0072b2"
TOKENS = "#d55e00"
BRUTE = "#009e73"


DPI = 150
SETTINGS: Any = {
    "font.size": 9,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.grid": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.frameon": False,
    "text.color": INK,
}


def label(name: str) -> str:
    """A name as an axis shows it: not as mathematics, and no longer than leaves room for the picture."""
    shown = name if len(name) <= LONGEST_NAME else f"{name[:LONGEST_NAME]}..."
    return shown.replace("$", r"\$")


def as_png(figure: Figure) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    buffer = io.BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(buffer, format="png", dpi=DPI, facecolor="white")
    return buffer.getvalue()


LONGEST_NAME = 40
"""characters of a name in a picture"""
LOWEST_FLOOR = -8
"""log10: no axis reaches lower, so that a few tiny estimates don't squeeze all others; what lies below is drawn on the
floor, with a mark that says so"""


def axis_floor(cells: pl.DataFrame) -> int:
    """The lowest decade that the plots show: below every point that is not one of the study's."""
    values = pl.concat(
        [
            cells["log10_p"],
            cells["truth_log10"],
            cells["lo"].filter(cells["lo"].is_finite()),
            cells["truth_lo"].filter(cells["truth_lo"] > 0).log10(),
            cells["truth_hi"].log10(),
        ]
    ).drop_nulls()
    lowest = values.min()
    return max(LOWEST_FLOOR, math.floor(lowest)) if isinstance(lowest, float) else -6


def step_position(step: int) -> float:
    """Where a step stands on a log axis; step 0 (before training) half a step in."""
    return float(step) if step > 0 else 0.5


def spread_steps(steps: list[int], least_ratio: float = 1.9) -> list[int]:
    """Steps to label: the last, and going down those far enough below the one labelled before."""
    shown = [steps[-1]]
    for step in reversed(steps[:-1]):
        if step_position(shown[-1]) / step_position(step) >= least_ratio:
            shown.append(step)
    return shown[::-1]
