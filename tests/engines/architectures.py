"""Tiny models of every causal-LM architecture that transformers has, as far as their configurations can be shrunk."""

from __future__ import annotations

from typing import Any

import torch
from transformers import CONFIG_MAPPING, AutoModelForCausalLM
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

ARCHITECTURES = sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)
VOCAB, CONTEXT = 64, 128
MOST_WEIGHTS = 10_000_000
_WIDTHS = (
    dict.fromkeys(("hidden_size", "n_embd", "d_model", "embedding_size", "attention_hidden_size", "lru_width"), 32)
    | dict.fromkeys(("word_embed_proj_dim",), 32)
    | dict.fromkeys(("intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size", "d_ff", "decoder_ffn_dim"), 48)
    | dict.fromkeys(("num_hidden_layers", "n_layer", "num_layers", "n_layers", "decoder_layers", "num_blocks"), 2)
    | dict.fromkeys(("num_attention_heads", "n_head", "num_heads", "n_heads", "decoder_attention_heads"), 4)
    | dict.fromkeys(("head_dim", "d_kv", "qk_rope_head_dim", "qk_nope_head_dim", "rotary_dim"), 8)
    | dict.fromkeys(
        ("max_position_embeddings", "n_positions", "n_ctx", "max_target_positions", "context_length"), CONTEXT
    )
    | dict.fromkeys(("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts"), 4)
    | dict.fromkeys(("num_experts_per_tok", "moe_k", "moe_topk"), 2)
    | dict.fromkeys(("moe_intermediate_size", "shared_expert_intermediate_size", "q_lora_rank", "kv_lora_rank"), 16)
    | dict.fromkeys(("n_group", "topk_group", "n_shared_experts", "first_k_dense_replace"), 1)
    | dict.fromkeys(("state_size", "mamba_d_state", "mamba_d_head", "mamba_head_dim", "dim_head"), 8)
    | dict.fromkeys(("sliding_window", "window_size", "attention_chunk_size"), 8)
    | {"vocab_size": VOCAB, "num_key_value_heads": 2, "v_head_dim": 8, "pad_token_id": None, "mamba_n_heads": 8}
    | {"bos_token_id": None, "eos_token_id": None, "mamba_n_groups": 1, "mamba_num_heads": 8, "mamba_d_ssm": 64}
)
_CHANGES: tuple[dict[str, Any], ...] = (
    {},
    {"num_key_value_heads": 4},  # latent attention and shared key heads
    {"pad_token_id": 1},
    {"pad_token_id": 1, "bos_token_id": 2, "eos_token_id": 3},
    {"head_dim": ..., "num_key_value_heads": 4},
    {"sliding_window": ...},
    {"head_dim": ..., "v_head_dim": ..., "num_heads": ..., "mamba_n_heads": ...},
    {"head_dim": 16, "num_heads": 4, "n_groups": 1, "expand": 2},
    {"is_decoder": True, "pad_token_id": 1},
    {"num_experts_per_tok": 1, "num_key_value_heads": 4},
)
"""what some architectures want otherwise; ... leaves a setting at its default"""
_BY_LAYER = {
    "hidden_size_per_layer_input": 8,
    "vocab_size_per_layer_input": VOCAB,
    "num_hidden_layers": 4,
    "layer_types": ["sliding_attention", "full_attention"] * 2,
    "num_kv_shared_layers": 2,
}
_OWN: dict[str, dict[str, Any]] = {
    "gemma4_text": _BY_LAYER | {"global_head_dim": 8},
    "gemma4_unified_text": _BY_LAYER | {"global_head_dim": 8},
    "gemma3n_text": _BY_LAYER | {"laurel_rank": 4, "activation_sparsity_pattern": [0.0] * 4},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]]},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"]},
    "zamba2": {"num_hidden_layers": 4, "layer_types": ["mamba", "mamba", "hybrid", "mamba"]},
    "reformer": {
        "is_decoder": True,
        "attn_layers": ["local", "lsh"],
        "axial_pos_embds": False,
        "feed_forward_size": 32,
        "attention_head_size": 8,
        "num_buckets": 2,
    },
}
"""settings of architectures whose defaults contradict a small size"""


def tiny_of(kind: str, **settings: Any) -> Any:
    """A model of the architecture with large random weights, one that runs if any shrinking of ours gives one.

    Raises RuntimeError where none can be built.
    """
    made = CONFIG_MAPPING[kind]
    try:
        has = vars(made()).keys() | set(getattr(made, "attribute_map", {}))
    except Exception as error:  # noqa: BLE001
        raise RuntimeError(f"{kind} has no default configuration: {error}") from None
    built, last = None, None
    for change in _CHANGES:
        wanted = {name: value for name, value in {**_WIDTHS, **change}.items() if name in has and value is not ...}
        try:
            model = _random(made(**{**wanted, **_OWN.get(kind, {}), **settings}))
            built = built or model
            with torch.no_grad():
                model(input_ids=torch.tensor([[5, 6, 7]]))
            return model
        except Exception as error:  # noqa: BLE001  every architecture refuses what it can't take in its own way
            last = error
    if built is None:
        raise RuntimeError(f"{kind}: {last}")
    return built


def _random(config: Any) -> Any:
    with torch.device("meta"):
        empty = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    if sum(weight.numel() for weight in empty.parameters()) > MOST_WEIGHTS:
        raise ValueError("too many weights")
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.normal_(0, 0.25)
    return model.eval()
