"""The rates before training, by two families of spans: whether they agree, and what they leave open.

``start.json`` of a base, as ``benchmarks/foresight/start.py`` writes it, becomes a record a type.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forewarn.bench.bases import roles_of
from forewarn.bench.protocol import Protocol, StartSettings
from forewarn.errors import StoreError
from forewarn.store import read_json

START_FILE = "start.json"
REMEDY = "measure it again by benchmarks/foresight/start.py"


@dataclass(frozen=True, slots=True)
class Start:
    """What is known of one type's rate on the base model."""

    rate: float
    """p(0); the level that the corpus aims at where no family of spans has an estimate"""
    upper: float
    """one-sided 95 % limit; 1 where there is none"""
    unresolved: str | None = None
    """why it is not resolved; None: it is"""


def base_starts(folder: Path, base: str, protocol: Protocol, *, provisional: bool = False) -> dict[str, Start]:
    """Type -> its start on a base whose folder is ``folder``.

    ``provisional``: take the best that is known as if it were resolved. Raises StoreError for a file that is no record
    of start levels.
    """
    levels = {name: role.level for name, role in roles_of(base, protocol).items()}
    path = folder / START_FILE
    if path.exists():
        held = read_json(path)
        types = held.get("types") if isinstance(held, dict) else None
        if not isinstance(types, dict):
            raise StoreError(f"{path} has no table of types; {REMEDY}")
        try:
            found = {name: start_of(types.get(name, {}), level, protocol.start) for name, level in levels.items()}
        except (TypeError, KeyError, ValueError) as error:
            what = f"{type(error).__name__}: {error}"
            raise StoreError(f"{path} is no record of start levels ({what}); {REMEDY}") from None
    else:
        found = {name: Start(level, 1.0, "start level not measured") for name, level in levels.items()}
    if not provisional:
        return found
    return {n: Start(s.rate, s.upper if s.upper < 1 else s.rate) for n, s in found.items()}


def start_of(held: Mapping[str, Any], aimed: float, settings: StartSettings) -> Start:
    """One type's start: the estimates of both families pooled by effective hits, with the larger upper limit."""
    families = [dict(one) for one in map(held.get, settings.families) if isinstance(one, Mapping)]
    there = [one for one in families if one["log10_p"] is not None]
    if not there:
        why = "start level not measured by both families of spans"
        return Start(aimed, 1.0, "a family of spans has no hit at the start" if len(families) > 1 else why)
    levels, weights = [float(one["log10_p"]) for one in there], [float(one["ess"]) for one in there]
    pooled = 10 ** (sum(w * level for w, level in zip(weights, levels, strict=True)) / sum(weights))
    ends = [one["interval_log10"][1] for one in there]
    upper = 1.0 if any(end is None for end in ends) else 10 ** max(float(end) for end in ends)
    return Start(pooled, upper, _unresolved(families, levels, settings, bounded=None not in ends))


def _unresolved(
    families: Sequence[Mapping[str, Any]], levels: Sequence[float], settings: StartSettings, *, bounded: bool
) -> str | None:
    """The first of the protocol's demands that a start does not meet."""
    if len(families) < len(settings.families):
        return "start level not measured by both families of spans"
    drawn = min(int(one["n"]) for one in families)
    if drawn < settings.completions:
        return f"start level from {drawn} completions of {settings.completions}"
    if len(levels) < len(families):
        return "a family of spans has no hit at the start"
    apart = max(levels) - min(levels)
    if apart > settings.agree_decades:
        return f"families of spans are {apart:.1f} decades apart at the start"
    return None if bounded else "a family of spans has no interval at the start"
