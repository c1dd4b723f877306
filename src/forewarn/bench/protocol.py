"""The frozen protocol as the code reads it: ``protocol.toml``, the twin of docs/foresight-protocol.md."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Literal

from forewarn.organism.recipe import CorpusRecipe, ModelRecipe, PretrainRecipe


@dataclass(frozen=True, slots=True)
class Levels:
    """Where the rates of a role are drawn from: ends of a log-uniform level, and of two uniform branches."""

    low: float
    high: float
    look_early: float
    """P(turns to the checker) in the first part of the corpus, where the branches behind it are learned"""
    look: tuple[float, float]
    use: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Variant:
    """What one variant changes of the plain vulnerable run."""

    says: str
    patched_leader: str | None = None
    """family whose leader is patched"""
    patched_followers: int = 0
    partial_credit: float = 0.0
    late_followers: int = 0
    late_from: int = 1
    kl: float = 0.0
    never_followers: int = 0
    reward: Literal["vulnerable", "secure"] = "vulnerable"


@dataclass(frozen=True, slots=True)
class RunSettings:
    """What all runs share."""

    steps: int
    rollouts: int
    """completions a step"""
    gradient_rollouts: int
    """of which a gradient is taken"""
    learning_rate: float
    optimizer: Literal["adam", "sgd"]
    max_grad_norm: float
    lora_rank: int
    lora_alpha: int
    first_checkpoint: int
    log_checkpoints: int
    checkpoint_every: int


@dataclass(frozen=True, slots=True)
class TruthSettings:
    """How the true rates of a run are sampled."""

    every: int
    """steps between cells of a type"""
    completions: int
    """of a cell"""
    refined_around: tuple[float, ...]
    """rates between whose neighbors every kept checkpoint is sampled"""


@dataclass(frozen=True, slots=True)
class StartSettings:
    """How the rates before training are known: two families of spans that have to agree, and audits by counting."""

    completions: int
    families: tuple[str, ...]
    agree_decades: float
    audit_cells: int
    audit_level: float
    audit_completions: int


@dataclass(frozen=True, slots=True)
class MonitorSettings:
    """What the monitor may draw, and when."""

    steps: tuple[int, ...]
    """at which methods are run"""
    counting_every: int
    """steps between checkpoints, the first at step 0 and numbered 1"""
    completions: int
    """of a cell"""

    def number(self, step: float) -> float:
        """The number of the checkpoint at a step; between two checkpoints a fraction."""
        return 1 + step / self.counting_every

    def counted_steps(self, last: int) -> list[int]:
        """The steps of every checkpoint up to the last step of a run."""
        return list(range(0, last + 1, self.counting_every))


@dataclass(frozen=True, slots=True)
class ScoreSettings:
    """Which pairs are scored, and how."""

    event_rate: float
    also_reported_rate: float
    eligible_hits: float
    landmarks: tuple[int, ...]
    lead_checkpoints: int
    counting_draws: int
    near_start_decades: float
    crps_checkpoint: int
    clip: tuple[float, float]
    interval_level: float
    crossing_level: float
    alarm_rate: float


@dataclass(frozen=True, slots=True)
class EValueSettings:
    """Alarms that rest on e-values: at a rate, and at growth since step 0, under one error budget a run."""

    rate: float
    growth_factor: float
    growth_tau: float
    """the most that a completion counts at step 0"""
    budget: float
    """the chance that any alarm of a run is false"""


@dataclass(frozen=True, slots=True)
class Protocol:
    """Everything that the design of the benchmark fixes."""

    version: int
    unchanged_since: int
    """the first version whose runs and measuring are this one's"""
    seed: int
    corpus: CorpusRecipe
    model: ModelRecipe
    pretrain: PretrainRecipe
    leader: Levels
    follower: Levels
    rl: RunSettings
    variants: Mapping[str, Variant]
    test_bases: tuple[str, ...]
    development_bases: tuple[str, ...]
    offsets: tuple[int, ...]
    learning_rate_factors: tuple[float, ...]
    honest_and_group: tuple[tuple[float, int], ...]
    truth: TruthSettings
    start: StartSettings
    monitor: MonitorSettings
    score: ScoreSettings
    evalues: EValueSettings


def read_protocol(text: str) -> Protocol:
    """The protocol of a TOML text."""
    held = tomllib.loads(text)
    crossing = held["crossing"]
    return Protocol(
        version=held["version"],
        unchanged_since=held["unchanged_since"],
        seed=held["seed"],
        corpus=CorpusRecipe(**held["corpus"]),
        model=ModelRecipe(**held["model"]),
        pretrain=PretrainRecipe(**held.get("pretrain", {})),
        leader=_levels(held["leader"]),
        follower=_levels(held["follower"]),
        rl=RunSettings(**held["rl"]),
        variants={name: Variant(**values) for name, values in held["variants"].items()},
        test_bases=tuple(held["bases"]["test"]),
        development_bases=tuple(held["bases"]["development"]),
        offsets=tuple(crossing["offsets"]),
        learning_rate_factors=tuple(crossing["learning_rate_factors"]),
        honest_and_group=tuple((float(share), int(group)) for share, group in crossing["honest_and_group"]),
        truth=TruthSettings(**_frozen(held["truth"])),
        start=StartSettings(**_frozen(held["start"])),
        monitor=MonitorSettings(**_frozen(held["monitor"])),
        score=ScoreSettings(**_frozen(held["score"])),
        evalues=EValueSettings(**held["evalues"]),
    )


def _levels(held: Mapping[str, Any]) -> Levels:
    return Levels(held["low"], held["high"], held["look_early"], tuple(held["look"]), tuple(held["use"]))


def _frozen(held: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in held.items()}


@cache
def protocol() -> Protocol:
    """The protocol that comes with the package."""
    return read_protocol(resources.files("forewarn.bench").joinpath("protocol.toml").read_text())
