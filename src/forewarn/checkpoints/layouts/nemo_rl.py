"""NeMo-RL: ``step_N/policy/weights``, written as ``tmp_step_N`` and renamed when it is whole."""

from __future__ import annotations

import re

from forewarn.checkpoints.layouts.base import Layout

_CONVERTERS = "examples/converters"

NEMO_RL = Layout(
    title="NeMo-RL",
    pattern=re.compile(r"step_(?P<step>\d+)"),
    shown="step_N/policy/weights",
    holds=("policy/weights",),
    weights_in=(
        "policy/weights/model/consolidated",
        "policy/weights/model",
        "policy/weights",
    ),
    shards=("policy/weights/*.distcp", "policy/weights/model/*.distcp", "policy/weights/iter_*/*.distcp"),
    shards_in="policy/weights",
    convert=(
        *("python", f"{_CONVERTERS}/convert_dcp_to_hf.py", "--config", "{checkpoint}/config.yaml"),
        *("--dcp-ckpt-path", "{source}", "--hf-ckpt-path", "{target}"),
    ),
)
