"""Checkpoints of no trainer that is known here: folders whose whole name is a step, however it is written."""

from __future__ import annotations

import re

from forewarn.checkpoints.layouts import trl
from forewarn.checkpoints.layouts.base import Layout

PLAIN = Layout(
    title="other trainers",
    pattern=re.compile(r"(?:(?:checkpoint|ckpt|global_step|step)[-_]?)?(?P<step>\d+)(?:[-_]hf)?"),
    shown="step-N",
    step=trl.step,
    weights_in=("", "actor/huggingface", "huggingface", "actor"),
    unmarked=trl.unmarked,
    always_marked=False,
    shards=("actor/model_world_size_*_rank_*.pt",),
    shards_in="actor",
)
