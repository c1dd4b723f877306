"""What a sink is: somewhere that alerts are posted to. It may be slow, offline or broken: ``feed.py`` allows for it."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from forewarn.errors import MissingExtraError
from forewarn.records import Alert
from forewarn.text import printable


class SinkFault(Exception):  # noqa: N818  as ``EngineFault``: a sink broke, and nothing else did
    """A sink could not take an alert; the next one may go through. Its text is one sentence without a secret in it."""


class Sink(Protocol):
    """Takes alerts, one at a time, in one thread of its own."""

    def post(self, alert: Alert) -> None:
        """Take one alert. Raises SinkFault where that fails; anything else that it raises ends the sink."""
        ...

    def close(self) -> None:
        """End it; what was posted is safe afterwards."""
        ...


@dataclass(frozen=True, slots=True)
class SinkKind:
    """One kind of sink: what it needs to be told, and how it is opened."""

    title: str
    """its name in sentences"""
    open: Callable[[str], Sink]
    """Opens it at the place that the user gave; called in the sink's own thread. Raises SinkFault."""
    place: str = ""
    """what the place is, for help ("FILE"); empty: it has none"""
    default: str | None = None
    """the place where the user gives none; None: the user has to"""
    check: Callable[[str], object] = str
    """raises InputError for a place that can't be meant; called before anything is posted"""
    needs: tuple[tuple[str, str], ...] = ()
    """(importable package, extra of ours that brings it)"""

    def check_installed(self) -> None:
        """Raise MissingExtraError where a package that it needs is missing. Nothing is imported."""
        for package, extra in self.needs:
            if importlib.util.find_spec(package) is None:
                raise MissingExtraError(package, extra)


def scalars(alert: Alert) -> dict[str, float]:
    """The numbers of an alert that can be drawn over steps, by name; what is missing or infinite is left out."""
    low, high = alert.interval_log10 or (None, None)
    named = {
        "probability": alert.probability,
        "e_value": alert.e_value,
        "log10_rate": alert.log10_p,
        "log10_rate_low": low,
        "log10_rate_high": high,
    }
    start = f"forewarn/{alert.run}/{alert.exploit_type}"
    return {f"{start}/{name}": value for name, value in named.items() if value is not None and math.isfinite(value)}


def title_of(alert: Alert) -> str:
    """A headline: what kind of word it is, of which type and run."""
    said = "alert" if alert.raised else "current answer"
    return printable(f"forewarn: {said} for {alert.exploit_type} in {alert.run} at step {alert.step:,}")


def lines_of(alert: Alert) -> list[str]:
    """The whole of an alert in lines of plain text, its headline left out; names in them may be of any text."""
    lines = [
        alert.message,
        *alert.evidence,
        *(f"Not looked at: {one}" for one in alert.not_looked_at),
        *([f"Transcripts: {alert.command}"] if alert.command else []),
    ]
    return list(map(printable, lines))
