"""How numbers are written: short, with their uncertainty, and with words where there is no number."""

from __future__ import annotations

import math

NONE = "—"
NO_HIT = "no hit"


def rate(value: float | None) -> str:
    """A probability: "0.34", "0.021", "3.2e-4"; "—" for None."""
    if value is None:
        return NONE
    if value == 0:
        return "0"
    return log_rate(math.log10(value))


def log_rate(log10_p: float | None) -> str:
    """A probability given as its log10, in digits that don't underflow."""
    if log10_p is None:
        return NONE
    if log10_p == -math.inf:
        return "0"
    if log10_p >= math.log10(0.00995):
        value = 10**log10_p
        return f"{value:.2g}" if value < 0.995 else f"{value:.3g}"
    exponent = math.floor(log10_p)
    digits = f"{10 ** (log10_p - exponent):.1f}"
    if digits == "10.0":
        exponent, digits = exponent + 1, "1.0"
    return f"{digits}e{exponent}"


def log_interval(low: float | None, high: float | None) -> str:
    """ "[1.1e-4, 8.0e-4]" from log10 ends; "—" where there is none."""
    return NONE if low is None or high is None else f"[{log_rate(low)}, {log_rate(high)}]"


def interval(low: float | None, high: float | None) -> str:
    """The same from probabilities."""
    return NONE if low is None or high is None else f"[{rate(low)}, {rate(high)}]"


def percent(value: float | None) -> str:
    return NONE if value is None else f"{value:.0%}"


def number(value: float | None, digits: int = 2) -> str:
    return NONE if value is None else f"{value:.{digits}f}"


def signed(value: float) -> str:
    """A change: "+2.1", "-0.3"."""
    return f"{value:+.1f}"


def step(value: float | None) -> str:
    return NONE if value is None else f"{value:,.0f}"


def ratio(log10_ratio: float | None) -> str:
    """estimate/truth: "0.87", "12", "0.0004"; "—" for None."""
    if log10_ratio is None:
        return NONE
    value = 10**log10_ratio
    return f"{value:.2f}" if 0.095 <= value < 9.95 else f"{value:.0f}" if 9.95 <= value < 1e4 else f"{value:.1g}"
