"""Widened heads: the same log-probabilities, adapters included; what can't be widened is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from forewarn.engines.transformers.engine import HFEngine
from forewarn.engines.transformers.head_size import widen, widen_adapter
from forewarn.errors import ModelError
from forewarn.organism.shipped import Organism, shipped_folder
from forewarn.records import Policy

PROMPTS = [tuple(range(5, 45)), tuple(range(100, 220, 3))]
CONTINUATIONS = [tuple(range(300, 360)), tuple(range(60, 90))]


def scores(base: Path, adapter: Path) -> list[np.ndarray]:
    engine = HFEngine.from_folder(base)
    engine.load_adapter("a", adapter)
    plain = engine.score(PROMPTS, CONTINUATIONS, policy=Policy())
    return [*plain, *engine.score(PROMPTS, CONTINUATIONS, policy=Policy(), adapter="a")]


@pytest.mark.parametrize("head_dim", [24, 32, 64])
def test_the_widened_model_is_the_same_function(tmp_path: Path, head_dim: int) -> None:
    organism = Organism(shipped_folder())
    adapter = organism.adapter("rl", organism.steps("rl")[-1])
    base = widen(organism.base, tmp_path / "base", head_dim)
    wide = widen_adapter(adapter, tmp_path / "adapter", base=organism.base, wide_base=base, head_dim=head_dim)
    for a, b in zip(scores(organism.base, adapter), scores(base, wide), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=2e-4)
    assert widen(organism.base, tmp_path / "base", head_dim) == base  # there already


def test_what_cannot_be_widened_is_refused(tmp_path: Path) -> None:
    organism = Organism(shipped_folder())
    with pytest.raises(ModelError, match="at least the model's 24"):
        widen(organism.base, tmp_path / "a", 16)
    with pytest.raises(ModelError, match=r"can't read .*config\.json"):
        widen(tmp_path, tmp_path / "a", 32)
    config = json.loads((organism.base / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"model_type": "gpt_oss"}))
    with pytest.raises(ModelError, match="'gpt_oss' model"):
        widen(tmp_path, tmp_path / "a", 32)
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=r"model\.safetensors is missing"):
        widen(tmp_path, tmp_path / "a", 32)
    with pytest.raises(ModelError, match="adapter_model"):
        widen_adapter(tmp_path, tmp_path / "b", base=organism.base, wide_base=tmp_path, head_dim=32)
