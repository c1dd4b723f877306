"""Every causal-LM architecture of transformers: sampled as it is scored, and scored as the model itself does; or
refused in one sentence."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from transformers.utils import logging

from forewarn.engines.check.laws import batched_against_single, sample_then_score
from forewarn.engines.transformers.engine import HFEngine
from forewarn.errors import ModelError
from forewarn.records import Policy
from tests.engines.architectures import ARCHITECTURES, tiny_of
from tests.engines.tiny import PROMPTS

RIGHT = (
    "bloom",
    "gemma2",
    "gemma3_text",
    "gpt2",
    "gpt_oss",
    "llama4_text",
    "mpt",
    "opt",
    "phimoe",
    "qwen3_moe",
    "xglm",
)
LATENT = ("deepseek_v2", "deepseek_v3", "minicpm3")
REFUSED = {
    "recurrent": ("xlstm", "rwkv", "mamba", "mamba2", "recurrent_gemma"),
    "partly recurrent": ("falcon_h1", "qwen3_next", "jamba", "lfm3"),
    "looking ahead": ("bert", "rembert", "roformer"),
    "with positions or a cache of their own": ("bart", "whisper", "roberta", "xlm", "openai-gpt"),
}
AT_LEAST = 85
"""architectures that are run and right, with the oldest transformers that we allow"""


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Old architectures log a page each."""
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    yield
    logging.set_verbosity(before)


def worst_of(model: Any) -> float:
    """Largest difference (nats a token) between sampled, scored together, scored alone, and a plain forward pass."""
    engine = HFEngine(model)
    drawn = sample_then_score(engine, PROMPTS, policy=Policy(), stop_ids=(), n=2, max_new_tokens=20, seed=1)
    alone = batched_against_single(engine, drawn.prompts, drawn.continuations, policy=Policy())
    worst = max(drawn.differences.worst_token, alone.worst_token)
    for prompt, row, scores in zip(drawn.prompts, drawn.continuations, drawn.scores, strict=True):
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([[*prompt, *row]])).logits[0, len(prompt) - 1 : -1]
        plain = torch.log_softmax(logits.float(), -1).gather(1, torch.tensor(row)[:, None]).squeeze(1)
        worst = max(worst, float(np.abs(plain.numpy() - scores).max()))
    return worst


@pytest.mark.parametrize("kind", [*RIGHT, *LATENT])
def test_models_of_attention_are_sampled_as_they_are_scored(kind: str) -> None:
    assert worst_of(tiny_of(kind)) < 1e-3


@pytest.mark.parametrize("kind", [kind for kinds in REFUSED.values() for kind in kinds])
def test_models_that_need_more_than_keys_and_values_are_refused(kind: str) -> None:
    with pytest.raises(ModelError) as refused:
        HFEngine(tiny_of(kind))
    assert "vLLM" in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # old architectures warn of what transformers deprecates
def test_each_architecture_is_right_or_refused() -> None:
    wrong, right, refused, unbuilt = {}, [], [], []
    for kind in ARCHITECTURES:
        try:
            model = tiny_of(kind)
        except RuntimeError:
            unbuilt.append(kind)
            continue
        try:
            worst = worst_of(model)
        except ModelError:
            refused.append(kind)
            continue
        if worst < 1e-3:
            right.append(kind)
        else:
            wrong[kind] = worst
    print(f"{len(right)} right, {len(refused)} refused, {len(unbuilt)} too large to build here: {', '.join(unbuilt)}")
    assert not wrong
    assert len(right) >= AT_LEAST
    assert {"llama", "mistral", "qwen3", "gemma", "phi3", *RIGHT} <= set(right)
