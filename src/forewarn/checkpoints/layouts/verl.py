"""verl: ``global_step_N/actor``, with FSDP or Megatron behind it."""

from __future__ import annotations

import re

from forewarn.checkpoints.layouts.base import Layout, Spot, passed

LATEST = "latest_checkpointed_iteration.txt"
CONTENTS = "ckpt_contents.json"
"""Megatron's manifest, written last and at once"""
_PATTERN = re.compile(r"global_step_(?P<step>\d+)")


def _merger(backend: str) -> tuple[str, ...]:
    merge = ("python", "-m", "verl.model_merger", "merge", "--backend", backend)
    return (*merge, "--local_dir", "{source}", "--target_dir", "{target}")


def _by_manifest(spot: Spot) -> str | None:
    return None if (spot.folder / "actor" / CONTENTS).is_file() else f"lacks actor/{CONTENTS}"


def _by_latest(spot: Spot) -> str | None:
    return passed(spot, LATEST)


VERL_MEGATRON = Layout(
    title="verl (Megatron)",
    pattern=_PATTERN,
    shown="global_step_N/actor",
    # made at the start of a save; the manifest comes at its end
    holds=("actor/model/dist_ckpt", "actor/model/huggingface", "actor/dist_ckpt", f"actor/{CONTENTS}"),
    weights_in=("actor/model/huggingface", "actor/huggingface"),
    unmarked=_by_manifest,
    shards=("actor/model/dist_ckpt/*.distcp", "actor/dist_ckpt/*.distcp"),
    shards_in="actor",
    convert=_merger("megatron"),
)
VERL_FSDP = Layout(
    title="verl (FSDP)",
    pattern=_PATTERN,
    shown="global_step_N/actor",
    holds=("actor",),
    # with a LoRA, huggingface/ holds the wrapped model, which can't be loaded
    weights_in=("actor/lora_adapter", "actor/huggingface", "actor"),
    unmarked=_by_latest,
    shards=("actor/model_world_size_*_rank_*.pt",),
    shards_in="actor",
    convert=_merger("fsdp"),
)
