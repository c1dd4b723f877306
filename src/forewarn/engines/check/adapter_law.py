"""The law of an engine's adapters, measured: they leave the base and each other alone, however often they are loaded.

Not here: whether an adapter's own scores are right, which takes a second engine (``engine_against_engine``).
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
"""the scale at which the adapter is loaded beside itself"""
NOTHING = 1e-6
"""nats: an adapter whose largest change of a token is below this can't be told from its base"""

USUAL_TOKENS = 32
"""of a completion: whether weights moved shows in a few"""


@dataclass(frozen=True, slots=True)
class AdapterLaw:
    """Differences of scores of the same tokens that should be none, and of some that should not."""

    base: Differences
    """of the base, before any adapter was loaded, and with the adapter loaded and others come and gone"""
    kept: Differences
    """of the adapter, before others were loaded beside it and after they were dropped"""
    again: Differences
    """of the adapter, and of the same folder loaded a second time"""
    effect: Differences
    """of the adapter and the base"""
    half_base: Differences
    """of the adapter at scale 0.5 and the base"""
    half_whole: Differences
    """of the adapter at scale 0.5 and at 1"""

    @property
    def equal(self) -> dict[str, Differences]:
        """What must not differ, each with the words for it."""
        return {
            "the base before and after an adapter was loaded": self.base,
            "an adapter before and after others were loaded": self.kept,
            "an adapter loaded twice": self.again,
        }

    @property
    def scale_holds(self) -> bool:
        """An adapter at half its scale is neither the base nor the whole, unless these two are the same."""
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
    """Score the base's own completions while the adapter in ``folder`` comes and goes; it stays loaded as ``name``.

    No adapter may be loaded before: a base that one has moved already would not be seen to move.
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
