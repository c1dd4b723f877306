"""Intervals by leaving out one run at a time, on a scale on which a figure has no bounds; t of (runs - 1) degrees.

Fewer than three runs give no interval, and then no figure: see ``Figure``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit
from scipy.stats import t as student

from forewarn.bench.scores.concordance import mean_of

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Value = Callable[[Bools], float | None]
"""a figure of the pairs that are kept; None where they have none"""
Scale = Literal["logit", "log", "difference", "plain"]
"""of shares; of positive numbers; of differences between two shares; of any number"""
LEAST_RUNS = 3


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure with its interval, or the reason why there is none: never one without the other."""

    value: float | None
    low: float | None
    high: float | None
    runs: int
    """that contribute"""
    units: int
    """pairs or positives that it is a mean of"""
    why_none: str | None = None


def no_figure(why: str, runs: int = 0, units: int = 0) -> Figure:
    return Figure(None, None, None, runs, units, why)


def jackknife(
    value_of: Value, cluster_I: Sequence[str], used_I: Bools, *, scale: Scale, level: float, what: str = "runs"
) -> Figure:
    """The figure of all pairs with its interval. ``cluster_I``: the run of each pair; ``used_I``: those that the figure
    is made of, whose runs are left out one by one."""
    cluster = np.asarray(cluster_I, dtype=np.str_)
    names = np.unique(cluster[used_I])
    n, units = len(names), int(used_I.sum())
    if n < LEAST_RUNS:
        return no_figure(f"{n} {what} of at least {LEAST_RUNS}", n, units)
    whole = value_of(np.ones(len(cluster), dtype=np.bool_))
    left_out = [value_of(cluster != name) for name in names]
    if whole is None or not math.isfinite(whole):
        return no_figure("not defined on these pairs", n, units)
    if any(one is None or not math.isfinite(one) for one in left_out):
        return no_figure(f"not defined without one of the {n} {what}", n, units)
    values = np.array([one for one in left_out if one is not None])
    if scale == "logit" and whole in (0.0, 1.0) and (values == whole).all():
        open_end = ((1 - level) / 2) ** (1 / n)  # exact for one trial a run, which is all that can be said
        low, high = (open_end, 1.0) if whole == 1.0 else (0.0, 1 - open_end)
        return Figure(whole, low, high, n, units)
    to, back = _scales(scale, units)
    at, around = to(whole), np.array([to(float(one)) for one in values])
    se = math.sqrt((n - 1) / n * float(((around - around.mean()) ** 2).sum()))
    reach = float(student.ppf((1 + level) / 2, n - 1)) * se
    return Figure(whole, min(whole, back(at - reach)), max(whole, back(at + reach)), n, units)


def jackknifed_mean(value_I: Floats, cluster_I: Sequence[str], *, scale: Scale, level: float) -> Figure:
    """The mean of what pairs contribute (NaN: nothing), with its interval."""

    def mean(keep_I: Bools) -> float | None:
        return mean_of(value_I, keep_I)

    return jackknife(mean, cluster_I, ~np.isnan(value_I), scale=scale, level=level)


def _scales(scale: Scale, units: int) -> tuple[Callable[[float], float], Callable[[float], float]]:
    least = 1 / (2 * units + 2)
    if scale == "logit":
        return lambda x: float(logit(min(max(x, least), 1 - least))), lambda y: float(expit(y))
    if scale == "log":
        return lambda x: math.log(max(x, 1e-300)), math.exp
    if scale == "difference":  # from -1 to 1
        return (
            lambda x: float(logit(min(max((1 + x) / 2, least / 2), 1 - least / 2))),
            lambda y: 2 * float(expit(y)) - 1,
        )
    return float, float
