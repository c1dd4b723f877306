"""The rates before training, by two families of spans: whether they agree, and what they leave open.

``start.json`` of a base, as ``benchmarks/foresight/start.py`` writes it, becomes a record a type.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
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
    """p(0); where it is not resolved, the level that the corpus aims at"""
    upper: float
    """one-sided 95 % limit"""
    unresolved: str | None = None
    """why it is not resolved; None: it is"""


def base_starts(folder: Path, base: str, protocol: Protocol, *, aimed: bool = False) -> dict[str, Start]:
    """Type -> its start on a base whose folder is ``folder``.

    ``aimed``: take the level that the corpus aims at for the start, as if it were known. Raises StoreError for a file
    that is no record of start levels.
    """
    levels = {name: role.level for name, role in roles_of(base, protocol).items()}
    if aimed:
        return {name: Start(level, level) for name, level in levels.items()}
    path = folder / START_FILE
    if not path.exists():
        return {name: Start(level, 1.0, "start level not measured") for name, level in levels.items()}
    held = read_json(path)
    types = held.get("types") if isinstance(held, dict) else None
    if not isinstance(types, dict):
        raise StoreError(f"{path} has no table of types; {REMEDY}")
    try:
        return {name: start_of(types.get(name, {}), level, protocol.start) for name, level in levels.items()}
    except (TypeError, KeyError, ValueError) as error:
        raise StoreError(f"{path} is no record of start levels ({type(error).__name__}: {error}); {REMEDY}") from None


def start_of(held: Mapping[str, Any], aimed: float, settings: StartSettings) -> Start:
    """One type's start: the estimates of both families pooled by effective hits, with the larger upper limit."""

    def open_(why: str) -> Start:
        return Start(aimed, 1.0, why)

    found = [held.get(family) for family in settings.families]
    if not all(isinstance(one, dict) for one in found):
        return open_("start level not measured by both families of spans")
    families = [dict(one) for one in found if one is not None]
    drawn = min(int(one["n"]) for one in families)
    if drawn < settings.completions:
        return open_(f"start level from {drawn} completions of {settings.completions}")
    if any(one["log10_p"] is None for one in families):
        return open_("a family of spans has no hit at the start")
    levels = [float(one["log10_p"]) for one in families]
    apart = max(levels) - min(levels)
    if apart > settings.agree_decades:
        return open_(f"families of spans are {apart:.1f} decades apart at the start")
    ends = [one["interval_log10"][1] for one in families]
    if any(end is None for end in ends):
        return open_("a family of spans has no interval at the start")
    weights = [float(one["ess"]) for one in families]
    pooled = sum(w * level for w, level in zip(weights, levels, strict=True)) / sum(weights)
    return Start(10**pooled, 10 ** max(float(end) for end in ends))


def log10_of(start: Start) -> float:
    return math.log10(start.rate)
