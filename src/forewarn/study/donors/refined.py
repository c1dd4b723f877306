"""A refined donor as it was left: what it was fitted to, and what was asked for, in a file beside its weights.

Not here: making one (``refine.py``), the settings of its training, which every donor has (``folder.py``).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from forewarn.errors import InputError
from forewarn.store import read_json, write_json
from forewarn.study.config.schema import RefinementTable
from forewarn.study.donors.reinforce import SeedResult
from forewarn.study.donors.rounds import RoundResult

REFINEMENT_FILE = "forewarn_refinement.json"
"""in a refined donor's folder: what it was fitted to"""


@dataclass(frozen=True, slots=True)
class RefinedDonor:
    """A refined donor as it was left."""

    name: str
    folder: Path
    found: Mapping[str, int]
    """exploits that it was fitted to, by type; types of which there was none have 0"""
    n_examples: int
    losses: tuple[float, ...]
    """of each step, nats a target token; empty where the donor was there already"""
    seeds: tuple[SeedResult, ...] = ()
    """of the RL that found the exploits"""
    rounds: tuple[RoundResult, ...] = ()
    """what each round's batch brought; none where no batch was drawn"""


def asked_of(table: RefinementTable, rollouts: Path | None) -> dict[str, Any]:
    """What a donor is fitted to, as far as it isn't settings of its training."""
    own = table.model_dump(mode="json", include={"examples", "max_share"})
    # a donor that was made before there were these has neither
    own |= {key: value for key, value in (("start", table.start),) if value is not None}
    own |= {key: value for key, value in (("rounds", table.rounds),) if value > 1}
    if table.rl is not None:
        return own | {"rollouts": None} | table.model_dump(mode="json", include={"rl", "checkpoint", "problems"})
    if rollouts is None:
        batch = {"from_", "spans", "completions", "checkpoint", "problems"}
        return own | {"rollouts": None} | table.model_dump(mode="json", by_alias=True, include=batch)
    try:
        return own | {"rollouts": hashlib.sha256(rollouts.read_bytes()).hexdigest()}
    except OSError as error:
        raise InputError(f"can't read {rollouts}: {error.strerror or error}; give a file of rollouts") from None


def write_made(folder: Path, refined: RefinedDonor, asked: Mapping[str, Any]) -> None:
    """Keep in the donor's folder what it was fitted to, and what was asked for."""
    lists = {key: [asdict(one) for one in getattr(refined, key)] for key in ("seeds", "rounds")}
    write_json(folder / REFINEMENT_FILE, {"asked": dict(asked), "found": dict(refined.found), **lists})


def made_before(where: str, folder: Path, asked: Mapping[str, Any]) -> RefinedDonor:
    """What the donor in ``folder`` was fitted to. Raises InputError where that is not what is asked for now."""
    path = folder / REFINEMENT_FILE
    held: Any = read_json(path) if path.is_file() else None
    if not (isinstance(held, dict) and isinstance(held.get("asked"), dict) and isinstance(held.get("found"), dict)):
        raise InputError(f"{where}: {folder} holds a donor that was trained and not refined: give a new path")
    before = held["asked"]
    keys = [key for key in asked | before if before.get(key) != asked.get(key)]
    differing = [f"{key} {before.get(key)!r} (now {asked.get(key)!r})" for key in keys]
    if differing:
        raise InputError(
            f"{where}: the one in {folder} was refined with {', '.join(differing)}: "
            "give a new path to refine another, or put the settings back"
        )
    seeds = tuple(SeedResult(**one) for one in held.get("seeds", ()))
    rounds = tuple(RoundResult(**one) for one in held.get("rounds", ()))
    return RefinedDonor("", folder, dict(held["found"]), 0, (), seeds, rounds)
