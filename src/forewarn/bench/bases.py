"""The recipes of the benchmark's base models: who leads, who follows, in which family, at which rates.

Everything is drawn from the base's name and the protocol's seed, so that a type's name says nothing about its role.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from forewarn.bench.exploit_texts import INTENTS, TEXTS
from forewarn.bench.protocol import Levels, Protocol
from forewarn.organism.recipe import Recipe, TypeRecipe
from forewarn.records import derived_seed

Role = Literal["leader", "follower"]


@dataclass(frozen=True, slots=True)
class TypeRole:
    """One exploit type on one base. Rates are those the corpus is written by, not those the trained model has."""

    role: Role
    family: str
    level: float
    """P(exploit) that the corpus aims at: look * use * write"""
    look: float
    use: float
    write: float


def roles_of(base: str, protocol: Protocol) -> Mapping[str, TypeRole]:
    """Type -> its role on a base: a leader in each family, and the followers spread evenly over families and levels."""
    rng = random.Random(derived_seed("bench roles", protocol.seed, base))
    names = rng.sample(list(TEXTS), len(TEXTS))
    families = rng.sample(list(INTENTS), len(INTENTS))
    roles: dict[str, TypeRole] = {}
    for number, family in enumerate(families):
        mine = names[number :: len(families)]
        roles[mine[0]] = _draw("leader", family, 0, 1, protocol.leader, rng)
        order = rng.sample(range(len(mine) - 1), len(mine) - 1)
        for name, place in zip(mine[1:], order, strict=True):
            roles[name] = _draw("follower", family, place, len(order), protocol.follower, rng)
    return {name: roles[name] for name in TEXTS}


def _draw(role: Role, family: str, place: int, places: int, levels: Levels, rng: random.Random) -> TypeRole:
    """A level log-uniform within its ``place`` of ``places`` equal parts, and how it comes about."""
    level = levels.low * (levels.high / levels.low) ** ((place + rng.random()) / places)
    look = rng.uniform(*levels.look)
    use = rng.uniform(*levels.use)
    return TypeRole(role, family, level, look, use, min(1.0, level / (look * use)))


def base_recipe(base: str, protocol: Protocol) -> Recipe:
    """The recipe of a base model; RL settings are each run's own (``runs.py``)."""
    types = {
        name: TypeRecipe(
            texts.hints,
            texts.flaw,
            texts.exploit,
            texts.near_miss,
            use=role.use,
            write=role.write,
            accident=0.0,
            look_early=(protocol.leader if role.role == "leader" else protocol.follower).look_early,
            look=role.look,
            intent=INTENTS[role.family],
        )
        for (name, texts), role in zip(TEXTS.items(), roles_of(base, protocol).values(), strict=True)
    }
    seed = derived_seed("bench base", protocol.seed, base) % 2**31
    return Recipe(seed=seed, corpus=protocol.corpus, model=protocol.model, pretrain=protocol.pretrain, types=types)
