"""vLLM's adapters against PEFT's: fused projections by pattern, ranks and alphas by layer, weights saved as .bin."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import Phi3Config, Phi3ForCausalLM

from forewarn.engines.transformers.engine import HFEngine
from forewarn.engines.vllm.engine import VLLMEngine
from forewarn.records import Policy
from tests.engines.adapter_walk import save_adapter

# vLLM's own imports warn of what torch deprecates; that is not ours to mend
pytestmark = [pytest.mark.vllm, pytest.mark.filterwarnings("default")]

ROWS = ([[1, 2, 3], [4, 5, 6, 7, 8]], [[9, 8, 7, 6, 5], [4, 3, 2]])
ADAPTERS = {
    "fused": {"target_modules": ["qkv_proj", "gate_up_proj"]},
    "pattern": {"target_modules": r".*layers\.1.*(o_proj|down_proj|qkv_proj)", "use_rslora": True},
    "all": {"target_modules": "all-linear"},
    "ranks": {
        "target_modules": ["o_proj", "down_proj", "qkv_proj"],
        "rank_pattern": {"o_proj": 2},
        "alpha_pattern": {"down_proj": 32},
    },
}


def _base() -> Phi3ForCausalLM:
    torch.manual_seed(0)
    shape = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 2}
    tokens = {"pad_token_id": 0, "bos_token_id": None, "eos_token_id": None}
    model = Phi3ForCausalLM(Phi3Config(vocab_size=64, max_position_embeddings=128, **shape, **tokens))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, 0.2)
    return model.eval()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[VLLMEngine, HFEngine, Path]]:
    folder = tmp_path_factory.mktemp("fused")
    _base().save_pretrained(str(folder / "base"))
    for name, settings in ADAPTERS.items():
        save_adapter(folder / name, "LORA", {"r": 4, **settings}, _base())
    weights = folder / "all" / "adapter_model.safetensors"
    torch.save(load_file(weights), folder / "all" / "adapter_model.bin")
    weights.unlink()
    engine = VLLMEngine.from_folder(folder / "base", max_lora_rank=8)
    yield engine, HFEngine.from_folder(folder / "base"), folder
    engine.close()


@pytest.mark.parametrize("scale", [1.0, 0.5])
@pytest.mark.parametrize("name", ADAPTERS)
def test_adapters_agree_with_the_reference_engine(
    name: str, scale: float, world: tuple[VLLMEngine, HFEngine, Path]
) -> None:
    engine, reference, folder = world
    saved = json.loads((folder / name / "adapter_config.json").read_text())
    assert saved["peft_type"] == "LORA"
    base = engine.score(*ROWS, policy=Policy())
    for one in (engine, reference):
        one.load_adapter(name, folder / name, scale=scale)
    found, expected = (one.score(*ROWS, policy=Policy(), adapter=name) for one in (engine, reference))
    for a, b, c in zip(found, expected, base, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)
        assert np.abs(a - c).max() > 1e-2
    for one in (engine, reference):
        one.drop_adapter(name)
    for a, c in zip(engine.score(*ROWS, policy=Policy()), base, strict=True):
        np.testing.assert_allclose(a, c, atol=1e-6)
