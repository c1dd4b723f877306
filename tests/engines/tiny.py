"""Tiny random models of real architectures, for tests of engines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer
from transformers import (
    GptOssConfig,
    GptOssForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
)

PROMPTS = [[1, 2, 3], [4], [5, 6, 7, 8, 9, 1, 2], [3, 3], [2, 9, 4, 4, 1, 6, 7, 8, 3, 2, 1, 5, 6]]
VOCAB = 11


def tiny_model(
    kind: str = "qwen3",
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    vocab_size: int = VOCAB,
    tied: bool = False,
) -> Any:
    """A model of a few thousand weights whose next-token distributions are far from uniform."""
    shape = {
        "vocab_size": vocab_size,
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "max_position_embeddings": 128,
        "pad_token_id": None,
        "bos_token_id": None,
        "eos_token_id": None,
        "tie_word_embeddings": tied,
    }
    torch.manual_seed(seed)
    if kind == "qwen3":
        model: Any = Qwen3ForCausalLM(Qwen3Config(**shape))
    elif kind == "llama":
        model = LlamaForCausalLM(LlamaConfig(**shape))
    elif kind == "gpt_oss":  # mixture of experts, sinks, and a window of 4 tokens in every other layer
        model = GptOssForCausalLM(GptOssConfig(**shape, num_local_experts=4, num_experts_per_tok=2, sliding_window=4))
    else:
        raise ValueError(kind)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, 0.35)
    return model.to(dtype).eval()


def tiny_tokenizer(control: Sequence[str]) -> Any:
    """A byte-level BPE tokenizer with the given control tokens."""
    core = Tokenizer(BPE())
    core.pre_tokenizer = ByteLevel(add_prefix_space=False)
    core.decoder = ByteLevelDecoder()
    corpus = ["user\nassistant\nanalysis final def solve(x):\n    return x + 1\n```python\n"] * 4
    trainer = BpeTrainer(vocab_size=320, special_tokens=list(control), initial_alphabet=ByteLevel.alphabet())
    core.train_from_iterator(corpus, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=core)
