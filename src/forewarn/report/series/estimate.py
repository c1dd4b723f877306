"""Our estimate: the span mixture with its interval."""

from __future__ import annotations

from forewarn.report import numbers as write
from forewarn.report.series.base import Reading, Row, Series, as_number, log10, no_hit


def estimate_text(row: Row) -> str:
    """ "3.2e-4 [1.1e-4, 8.0e-4]"; without a hit, the certified upper bound."""
    value = as_number(row["log10_p"])
    if value is None:
        return no_hit(as_number(row["upper_bound"]))
    low, high = as_number(row["lo"]), as_number(row["hi"])
    tail = write.log_interval(low, high) if low is not None else "(interval: n/a)"
    return f"{write.log_rate(value)} {tail}"


def _read(row: Row) -> Reading:
    low, high, bound = (as_number(row[name]) for name in ("lo", "hi", "upper_bound"))
    interval = None if low is None or high is None else (low, high)
    return Reading(as_number(row["log10_p"]), interval, log10(bound or 1.0), estimate_text(row))


ESTIMATE = Series(
    "estimate", "span mixture, 90 % interval", "span mixture", "#0072b2", "var(--estimate)", "o", "circle", 0.0, True,
    "n", _read,
)  # fmt: skip
