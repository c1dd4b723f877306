"""prime-rl: weights that its trainer broadcasts (``broadcasts/step_N``, pruned), and its own checkpoints (DCP)."""

from __future__ import annotations

import re

from forewarn.checkpoints.layouts.base import Layout, Spot

STABLE, METADATA = "STABLE", "trainer/.metadata"
_PATTERN = re.compile(r"step_(?P<step>\d+)")


def _stable(spot: Spot) -> str | None:
    # with NCCL as transport it is there without weights: that is seen by the files
    return None if (spot.folder / STABLE).is_file() else f"lacks {STABLE}"


def _metadata(spot: Spot) -> str | None:
    return None if (spot.folder / METADATA).is_file() else f"lacks {METADATA}"


PRIME_RL = Layout(
    title="prime-rl",
    pattern=_PATTERN,
    shown="broadcasts/step_N",
    under=re.compile(r"broadcasts|weights"),
    weights_in=("", "lora_adapters"),
    unmarked=_stable,
)
PRIME_RL_DCP = Layout(
    title="prime-rl (DCP)",
    pattern=_PATTERN,
    shown="checkpoints/step_N/trainer",
    under=re.compile(r"checkpoints"),
    holds=("trainer",),
    weights_in=(),
    unmarked=_metadata,
    shards=("trainer/*.distcp",),
    shards_in="trainer",
)
