"""Adapters of every PEFT type, each option switched on alone: example values, and the folders that PEFT makes of them.

An option that PEFT gains and that has no example here fails the walk by name.
"""

from __future__ import annotations

import dataclasses
import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from peft import LoraRuntimeConfig, PeftConfig, get_peft_model
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

from tests.engines.tiny import tiny_model

TYPES = {str(kind.value): config for kind, config in PEFT_TYPE_TO_CONFIG_MAPPING.items()}
ABOUT = {field.name for field in dataclasses.fields(PeftConfig)}
LAYERS = ["q_proj", "v_proj", "down_proj"]

START: dict[str, dict[str, Any]] = {
    "ADALORA": {"total_step": 10, "init_r": 4, "target_r": 2},
    "ADAPTION_PROMPT": {"adapter_len": 4, "adapter_layers": 1, "target_modules": "self_attn"},
    "BOFT": {"boft_block_size": 4},
    "C3A": {"block_size": 8},
    "FOURIERFT": {"n_frequency": 20},
    "IA3": {"feedforward_modules": ["down_proj"]},
    "LN_TUNING": {"target_modules": ["input_layernorm", "norm"]},
    "OFT": {"r": 0, "oft_block_size": 4},
    "ROAD": {"group_size": 8},
    "TRAINABLE_TOKENS": {"token_indices": [3, 4], "target_modules": ["embed_tokens"]},
    "WAVEFT": {"n_frequency": 20},
}
"""what a type needs in order to fit the tiny model"""

REFUSED_STARTS = ("pissa_niter_4", "loftq", "corda", "lora_ga")
"""of a LoRA's weights: they draw at random, or need data that isn't saved"""
VALUES: dict[str, list[Any]] = {
    "act_fn": ["tanh"],
    "alora_invocation_tokens": [[1, 2]],
    "alpha": [32],
    "alpha_pattern": [{"v_proj": 32}],
    "apply_GS": [True],
    "arrow_config": [{"top_k": 2}],
    "beta1": [0.5],
    "beta2": [0.5],
    "bias": ["all"],
    "block_share": [True],
    "block_size": [4],
    "block_size_pattern": [{"q_proj": 4}],
    "boft_block_num": [2],
    "boft_block_size": [2],
    "boft_dropout": [0.3],
    "boft_n_butterfly_factor": [2],
    "coft": [True],
    "config_A_B": ["vector", "constant"],
    "config_C": ["vector", "none"],
    "config_D_E": ["vector", "none"],
    "corda_config": [{"corda_method": "kpm"}],
    "d_initial": [0.3],
    "decompose_both": [True],
    "decompose_factor": [2],
    "delora_lambda": [3],
    "deltaT": [2],
    "depth": [1],
    "ensure_weight_tying": [True],
    "eps": [0.05],
    "eva_config": [{"rho": 1.5}],
    "exclude_modules": [["v_proj"], r".*layers\.0.*"],
    "fan_in_fan_out": [True],
    "feedforward_modules": [["q_proj"]],
    "gralora_dropout": [0.3],
    "gralora_k": [1],
    "group_size": [4],
    "hira_dropout": [0.3],
    "hybrid_r": [2],
    "init_ia3_weights": [False],
    "init_lora_weights": [False, "gaussian", "eva", "olora", "pissa", "orthogonal", "mica", *REFUSED_STARTS],
    "init_r": [6],
    "init_theta_d_bound": [0.1],
    "init_weights": [False],
    "kasa_config": [{}],
    "lambda_pattern": [{"q_proj": 4}],
    "layer_replication": [[[0, 2], [0, 2]]],
    "layers_pattern": ["layers"],
    "layers_to_transform": [[1], 0],
    "loftq_config": [{"loftq_bits": 4}],
    "lora_alpha": [32],
    "lora_bias": [True],
    "lora_dropout": [0.3],
    "lora_ga_config": [{"direction": "ArBr"}],
    "megatron_config": [{"hidden_size": 16}],
    "megatron_core": ["another.core"],
    "mini_r": [2],
    "miss_dropout": [0.3],
    "module_dropout": [0.3],
    "modules_to_save": [["lm_head"], ["embed_tokens", "input_layernorm"]],
    "monteclora_config": [{"num_samples": 4}],
    "n_frequency": [10],
    "n_frequency_pattern": [{"q_proj": 5}],
    "num_cayley_neumann_terms": [2],
    "oft_block_size": [8],
    "orth_reg_weight": [0.1],
    "proj_seed": [3],
    "projection_prng_key": [9],
    "proportional_parameters": [True],
    "qalora_group_size": [8],
    "r": [2],
    "randlora_alpha": [100],
    "randlora_dropout": [0.3],
    "random_loc_seed": [5],
    "rank_dropout": [0.3],
    "rank_dropout_scale": [True],
    "rank_pattern": [{"q_proj": 2}],
    "runtime_config": [LoraRuntimeConfig(ephemeral_gpu_offload=True)],
    "save_indices": [True],
    "save_projection": [False],
    "scaling": [3.0],
    "sparse": [True],
    "target_modules": ["all-linear", r".*layers\.1.*(q_proj|up_proj)", ["q_proj"]],
    "target_parameters": [["experts.gate_up_proj"], ["experts.down_proj"]],
    "target_r": [1],
    "tfinal": [2],
    "theta_d_length": [32],
    "tinit": [1],
    "token_indices": [[1]],
    "total_step": [20],
    "trainable_token_indices": [[3, 4]],
    "unilora_dropout": [0.3],
    "use_bdlora": [{"nblocks": 2}],
    "use_cayley_neumann": [False],
    "use_dora": [True],
    "use_effective_conv2d": [True],
    "use_idwt": [False],
    "use_qalora": [True],
    "use_rslora": [True],
    "variant": ["road_2", "road_4"],
    "velora_config": [{"num_groups": 4}],
    "vera_dropout": [0.3],
    "very_sparse": [True],
    "wavelet_family": ["db2"],
}
"""option -> values that are not its default, for the types that are taken"""

OF_TYPE: dict[tuple[str, str], list[Any]] = {
    ("C3A", "init_weights"): [False, "gaussian", "kaiming_uniform"],
    ("FOURIERFT", "init_weights"): [True],
    ("FOURIERFT", "random_loc_seed"): [5, None],
    ("HIRA", "init_weights"): [False, "gaussian"],
    ("IA3", "target_modules"): [r".*layers\.1.*(q_proj|up_proj)", ["q_proj", "down_proj"]],
    ("LN_TUNING", "exclude_modules"): [["norm"]],
    ("LN_TUNING", "modules_to_save"): [["lm_head"]],
    ("LN_TUNING", "target_modules"): [["input_layernorm"], "model.norm"],
    ("LOKR", "init_weights"): [False, "lycoris"],
    ("MISS", "init_weights"): [False, "bat", "mini"],
    ("OFT", "r"): [4],
    ("TRAINABLE_TOKENS", "target_modules"): [["lm_head"]],
}
"""the same where a type's values are others"""

WITH: dict[str, dict[str, Any]] = {
    "boft_block_num": {"boft_block_size": 0},
    "coft": {"eps": 0.1},
    "eps": {"coft": True},
    "layers_pattern": {"layers_to_transform": [1], "target_modules": ["q_proj"]},
    "layers_to_transform": {"target_modules": ["q_proj", "up_proj"]},
    "num_cayley_neumann_terms": {"use_cayley_neumann": True},
    "target_parameters": {"target_modules": []},
    "very_sparse": {"sparse": True},
}
"""options without which an option has no effect, or no room"""
WITH_IN_TYPE: dict[tuple[str, str], dict[str, Any]] = {
    ("ADALORA", "rank_pattern"): {"tinit": 1, "tfinal": 2},
    ("IA3", "target_modules"): {"feedforward_modules": []},
    ("OFT", "r"): {"oft_block_size": 0},
}


def options_of(kind: str) -> list[str]:
    return [field.name for field in dataclasses.fields(TYPES[kind]) if field.name not in ABOUT]


def examples(kind: str, option: str) -> list[Any]:
    found = OF_TYPE.get((kind, option), VALUES.get(option, []))
    assert found, f"PEFT's type {kind} has an option {option} that the walk has no example of: add one, and see"
    return found


def model_of(option: str | None) -> Any:
    """The base for an option: one with experts where an option is about their weights."""
    return tiny_model("gpt_oss" if option == "target_parameters" else "qwen3")


def start_of(kind: str) -> dict[str, Any]:
    """Settings of a plain adapter of a type, on the tiny model."""
    options = options_of(kind)
    plain: dict[str, Any] = {"target_modules": LAYERS} if "target_modules" in options else {}
    return plain | ({"r": 4} if "r" in options else {}) | START.get(kind, {})


def settings_of(kind: str, option: str, value: Any) -> dict[str, Any]:
    also = WITH_IN_TYPE.get((kind, option), {k: v for k, v in WITH.get(option, {}).items() if k in options_of(kind)})
    return start_of(kind) | also | {option: value}


@contextmanager
def quiet() -> Iterator[None]:
    """PEFT warns of what these adapters are meant to do."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def save_adapter(folder: Path, kind: str, settings: dict[str, Any], base: Any, seed: int = 1) -> Path:
    """An adapter as PEFT makes and saves it, its weights moved at random as training would."""
    with quiet():
        trained = kind == "ADALORA" and settings.get("rank_pattern") is not None
        torch.manual_seed(seed)
        model = get_peft_model(base, TYPES[kind](**(settings | ({"rank_pattern": None} if trained else {}))))
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.requires_grad and parameter.is_floating_point():
                    parameter.add_(torch.randn_like(parameter) * 0.1)
        if trained:
            _allocate(model)
        model.save_pretrained(str(folder))
    return folder


def _allocate(model: Any) -> None:
    """AdaLoRA's own steps, after which its pattern of ranks is what they have left."""
    ids = torch.tensor([[1, 2, 3, 4, 5, 6]])
    for step in range(model.peft_config["default"].total_step):
        model.zero_grad()
        model(input_ids=ids, labels=ids).loss.backward()
        model.base_model.update_and_allocate(step)


def write_settings(folder: Path, plain: Path, changes: dict[str, Any]) -> Path:
    """A copy of an adapter whose saved settings are others."""
    folder.mkdir(parents=True)
    for file in plain.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    saved = json.loads((plain / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps(saved | changes))
    return folder
