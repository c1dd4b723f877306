"""What a series of a report is: how it looks, and what it says of a cell."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from forewarn.report import numbers as write

Row = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Reading:
    """What a series says of one cell. All log10."""

    value: float | None
    """None: no hit"""
    interval: tuple[float, float] | None = None
    """the lower end may be -inf; None where the series has none"""
    bound: float | None = None
    """an upper bound, for a cell without a hit; None where the series has none"""
    says: str = ""
    """the same in words"""


@dataclass(frozen=True, slots=True)
class Series:
    """An estimator, or the truth, as a report shows it."""

    key: str
    label: str
    """in legends"""
    short: str
    """in tables"""
    colour: str
    """on white"""
    page_colour: str
    """on the page: a colour of its style sheet, which has another on dark"""
    marker: str
    """matplotlib's letter"""
    shape: str
    """Vega's name"""
    shift: float
    """of the mark along log10(step), so that neighbours don't cover each other"""
    has_intervals: bool
    measured: str
    """the column of ``cells`` that is null where the series was not drawn"""
    read: Callable[[Row], Reading]
    """what it says of a cell for which it was drawn"""


def as_number(value: object) -> float | None:
    """A frame's value as a float; None for null."""
    return float(value) if isinstance(value, int | float) else None


def log10(probability: float) -> float:
    return math.log10(probability) if probability > 0 else -math.inf


def no_hit(bound: float | None) -> str:
    return f"{write.NO_HIT}, < {write.rate(bound)}"


def counted_rate(hits: object, n: object, low: object, high: object) -> str:
    """A rate from counts with its interval; without a hit, the interval's upper end; "—" where nothing was drawn."""
    if not isinstance(hits, int) or not isinstance(n, int) or not n:
        return write.NONE
    if hits == 0:
        return no_hit(as_number(high))
    return f"{write.rate(hits / n)} {write.interval(as_number(low), as_number(high))}"


def counted(name: str) -> Callable[[Row], Reading]:
    """The reading of a series that counted: the columns NAME_hits, NAME_n, NAME_lo and NAME_hi."""

    def read(row: Row) -> Reading:
        hits, n, low, high = (as_number(row[f"{name}_{what}"]) for what in ("hits", "n", "lo", "hi"))
        ends = None if low is None or high is None else (log10(low), log10(high))
        says = counted_rate(*(row[f"{name}_{what}"] for what in ("hits", "n", "lo", "hi")))
        return Reading(math.log10(hits / n) if hits and n else None, ends, ends and ends[1], says)

    return read
