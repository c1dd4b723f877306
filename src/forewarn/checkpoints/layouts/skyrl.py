"""SkyRL: ``global_step_N/policy``, a model below its export path and shards below its checkpoint path."""

from __future__ import annotations

import re

from forewarn.checkpoints.layouts.base import Layout, Spot, passed
from forewarn.checkpoints.layouts.openrlhf import tokenizer_lacking

LATEST = "latest_ckpt_global_step.txt"
_SHARDS = ("policy/model_world_size_*_rank_*.pt", "policy/*.distcp")


def _unmarked(spot: Spot) -> str | None:
    """Exports have no marker; their tokenizer is written after the weights."""
    if any(next(spot.folder.glob(shards), None) for shards in _SHARDS) or (spot.folder.parent / LATEST).exists():
        return passed(spot, LATEST)
    return tokenizer_lacking(spot.folder / "policy")


SKYRL = Layout(
    title="SkyRL",
    pattern=re.compile(r"global_step_(?P<step>\d+)"),
    shown="global_step_N/policy",
    holds=("policy",),
    weights_in=("policy", "policy/huggingface"),
    unmarked=_unmarked,
    shards=_SHARDS,
    shards_in="policy",
)
