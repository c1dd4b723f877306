"""Checks that an engine's adapters leave the base and each other unchanged, however often they are loaded.

Not here: whether an adapter's own scores are right, which needs a second engine (``engine_against_engine``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from forewarn.engines.base import Engine, Ids
from forewarn.engines.check.laws import Differences, Floats, differences
from forewarn.records import Policy

HALF = 0.5
"""the scale of the adapter's second copy"""
NOTHING = 1e-6
"""nats: an adapter whose largest change of a token is below this can't be told from its base"""

USUAL_TOKENS = 32
"""tokens per completion; a few tokens show whether weights changed"""


@dataclass(frozen=True, slots=True)
class AdapterLaw:
    """Differences between scores of the same tokens: some should be zero, and some should not."""

    base: Differences
    """the base before any adapter was loaded, against the base after others were loaded and dropped"""
    kept: Differences
    """the adapter before others were loaded, against the adapter after they were dropped"""
    again: Differences
    """the adapter against the same folder loaded a second time"""
    effect: Differences
    """the adapter against the base"""
    half_base: Differences
    """the adapter at scale 0.5 against the base"""
    half_whole: Differences
    """the adapter at scale 0.5 against scale 1"""

    @property
    def equal(self) -> dict[str, Differences]:
        """The differences that must be zero, by their descriptions."""
        return {
            "the base before and after an adapter was loaded": self.base,
            "an adapter before and after others were loaded": self.kept,
            "an adapter loaded twice": self.again,
        }

    @property
    def scale_holds(self) -> bool:
        """Whether the adapter at half its scale differs from both base and whole adapter, unless these are equal."""
        if self.effect.worst_token < NOTHING:
            return True
        return min(self.half_base.worst_token, self.half_whole.worst_token) > 0


def adapter_law(
    engine: Engine,
    prompts: Sequence[Ids],
    folder: Path,
    *,
    name: str,
    stop_ids: Sequence[int] = (),
    max_new_tokens: int = USUAL_TOKENS,
    seed: int = 0,
) -> AdapterLaw:
    """Score the base's own completions while the adapter in ``folder`` is loaded and dropped.

    The adapter is left loaded as ``name``. Call this before any adapter is loaded, since a base that an adapter has
    already changed would not be seen to change.
    """
    drawn = engine.sample(prompts, policy=Policy(), seed=seed, max_new_tokens=max_new_tokens, stop_ids=stop_ids)
    continuations = [sample.token_ids for sample in drawn]

    def scores(adapter: str | None) -> list[Floats]:
        found = engine.score(prompts, continuations, policy=Policy(), adapter=adapter)
        return [np.array(row) for row in found]

    before = scores(None)
    engine.load_adapter(name, folder)
    first = scores(name)
    second_name, half_name = f"{name}-again", f"{name}-half"
    engine.load_adapter(second_name, folder)
    second = scores(second_name)
    engine.load_adapter(half_name, folder, scale=HALF)
    half = scores(half_name)
    engine.drop_adapter(second_name)
    engine.drop_adapter(half_name)
    kept, after = scores(name), scores(None)
    return AdapterLaw(
        base=differences(after, before),
        kept=differences(kept, first),
        again=differences(second, first),
        effect=differences(first, before),
        half_base=differences(half, before),
        half_whole=differences(half, first),
    )
