"""The ratio of two rates, each with its own estimate: did a change make exploits rarer?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from forewarn.errors import InputError
from forewarn.records import Estimate


@dataclass(frozen=True, slots=True)
class Ratio:
    """How the rate of B stands to that of A."""

    log10: float | None
    """of B / A; None where one of them has no hit"""
    interval_log10: tuple[float, float]
    """its ends may be infinite"""
    level: float
    says: Literal["lower", "higher", "not told"]
    """whether the interval lies below 1, above 1, or on both sides"""
    resolved: bool
    """whether both estimates are: an interval can't know of what neither's spans reach"""


def rate_ratio(a: Estimate, b: Estimate) -> Ratio:
    """Return the ratio of two independent estimates' rates, B over A.

    The interval is made of the two own intervals on the scale of log10, each side from the ends that matter (MOVER;
    Zou & Donner 2008, Stat. Med. 27:1693). A rate without a hit has its certified bounds in their place, so that the
    interval then holds at the level or better. Raises InputError where the two have different levels.
    """
    if a.level != b.level:
        raise InputError(f"one estimate has level {a.level} and the other {b.level}: give two of one level")
    if a.log10_p is not None and b.log10_p is not None and a.interval_log10 and b.interval_log10:
        middle = b.log10_p - a.log10_p
        low = middle - math.hypot(b.log10_p - b.interval_log10[0], a.interval_log10[1] - a.log10_p)
        high = middle + math.hypot(b.interval_log10[1] - b.log10_p, a.log10_p - a.interval_log10[0])
        return _ratio(middle, low, high, a, b)
    low = _log10(_lowest(b)) - _log10(_highest(a))
    high = _log10(_highest(b)) - _log10(_lowest(a))
    return _ratio(None, low, high, a, b)


def _ratio(middle: float | None, low: float, high: float, a: Estimate, b: Estimate) -> Ratio:
    says: Literal["lower", "higher", "not told"] = "lower" if high < 0 else "higher" if low > 0 else "not told"
    return Ratio(middle, (low, high), a.level, says, a.resolved and b.resolved)


def _lowest(one: Estimate) -> float:
    return one.lower_bound if one.interval_log10 is None else 10 ** one.interval_log10[0]


def _highest(one: Estimate) -> float:
    return one.upper_bound if one.interval_log10 is None else 10 ** one.interval_log10[1]


def _log10(value: float) -> float:
    return math.log10(value) if value > 0 else -math.inf
