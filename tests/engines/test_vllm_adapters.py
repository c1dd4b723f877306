"""Which adapters the engines over vLLM take, by settings and by the names of the weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from forewarn.engines.transformers.adapter_kinds import KINDS
from forewarn.engines.vllm.requests import AdapterFolders, lora_rank, rank_to_start_for
from forewarn.errors import ModelError
from tests.engines.adapter_walk import examples, options_of, save_adapter, settings_of, start_of, write_settings
from tests.engines.tiny import tiny_model

AS_PEFT = {"r", "target_modules", "exclude_modules", "lora_alpha", "lora_dropout", "fan_in_fan_out", "use_rslora"} | {
    *("layers_to_transform", "layers_pattern", "rank_pattern", "alpha_pattern", "target_parameters", "runtime_config"),
    *("eva_config", "corda_config", "lora_ga_config", "loftq_config", "megatron_core", "qalora_group_size"),
    "ensure_weight_tying",
}


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    return save_adapter(tmp_path / "plain", "LORA", start_of("LORA"), tiny_model())


@pytest.mark.parametrize("option", options_of("LORA"))
def test_every_option_of_a_lora_is_taken_or_refused(option: str, plain: Path, tmp_path: Path) -> None:
    for i, value in enumerate(examples("LORA", option)):
        if option in AS_PEFT and option not in {"runtime_config", "target_parameters"}:
            folder = save_adapter(tmp_path / str(i), "LORA", settings_of("LORA", option, value), tiny_model())
            assert AdapterFolders().folder(folder, 1.0) == folder.resolve()
        elif option not in AS_PEFT and value not in (False, "gaussian", "eva", "orthogonal", "mica"):
            folder = write_settings(tmp_path / str(i), plain, {option: value})
            with pytest.raises(ModelError, match=f"is of type LORA with {option} = .*, which vLLM doesn't handle"):
                AdapterFolders().folder(folder, 1.0)


@pytest.mark.parametrize("kind", [*sorted(KINDS), "XLORA", None])
def test_other_types_are_refused(kind: str | None, plain: Path, tmp_path: Path) -> None:
    if kind != "LORA":
        with pytest.raises(ModelError, match=f"is of type {kind}, but vLLM accepts only LoRAs"):
            rank_to_start_for([write_settings(tmp_path / "other", plain, {"peft_type": kind})])


@pytest.mark.filterwarnings("ignore:.*save_embedding_layers.*")
@pytest.mark.parametrize(
    ("targets", "why"),
    [
        (["q_proj", "lm_head"], "changes lm_head, the output layer, which vLLM leaves out of prompt log-probs"),
        (r".*(lm_head|q_proj)", "changes lm_head, the output layer"),
        (["embed_tokens"], "changes embed_tokens, the input embedding, for which this engine doesn't enable"),
    ],
)
@pytest.mark.parametrize("readable", [True, False])
def test_layers_that_vllm_leaves_out_are_refused(targets: Any, why: str, readable: bool, tmp_path: Path) -> None:
    folder = save_adapter(tmp_path / "a", "LORA", {"r": 2, "target_modules": targets}, tiny_model())
    if not readable:
        (folder / "adapter_model.safetensors").write_bytes(b"x")
    with pytest.raises(ModelError, match=why):
        AdapterFolders().folder(folder, 1.0)


def test_patterns_go_by_the_layers_that_they_name(tmp_path: Path) -> None:
    folder = save_adapter(tmp_path / "a", "LORA", {"r": 2, "target_modules": r".*(o_proj|q_proj)"}, tiny_model())
    assert AdapterFolders().folder(folder, 1.0) == folder.resolve()
    tensors = load_file(folder / "adapter_model.safetensors")
    save_file({k.replace("o_proj", "c_proj"): v for k, v in tensors.items()}, folder / "adapter_model.safetensors")
    with pytest.raises(
        ModelError, match="changes c_proj, which is not one of the layers for which this engine enables"
    ):
        AdapterFolders().folder(folder, 1.0)
    settings = {"r": 2, "target_modules": [], "target_parameters": ["experts.down_proj", "experts.gate_up_proj"]}
    experts = save_adapter(tmp_path / "b", "LORA", settings, tiny_model("gpt_oss"))
    assert AdapterFolders().folder(experts, 1.0) == experts.resolve()


def test_weights_saved_as_bin_are_scaled_as_the_others(plain: Path, tmp_path: Path) -> None:
    binary = write_settings(tmp_path / "binary", plain, {})
    tensors = load_file(binary / "adapter_model.safetensors")
    torch.save(tensors, binary / "adapter_model.bin")
    (binary / "adapter_model.safetensors").unlink()
    folders = AdapterFolders()
    assert lora_rank(binary) == 4
    assert folders.folder(binary, 1.0) == binary.resolve()
    half = load_file(folders.folder(binary, 0.5) / "adapter_model.safetensors")
    assert half.keys() == tensors.keys()
    for name, value in half.items():
        assert torch.equal(value, tensors[name] * (0.5 if "lora_B" in name else 1))
    folders.close()
