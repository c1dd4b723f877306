"""Positions that change with the longest row: rows stay on one side, whatever stands beside them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, Phi3Config, Phi3ForCausalLM
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from forewarn.checkpoints.row_limit import FIXED, SWITCHING, row_limit
from forewarn.engines.check.drawing import draw_rows, longest_completion
from forewarn.engines.check.laws import batched_against_single
from forewarn.engines.transformers.engine import HFEngine
from forewarn.errors import InputError, ModelError
from forewarn.records import Policy
from forewarn.training.sft import check_lengths
from tests.engines.architectures import tiny_of

FIRST, CONTEXT = 48, 96
"""positions of the first training, and those that a model stretches to"""
FACTORS: dict[str, dict[str, Any]] = {
    "default": {},
    "linear": {"factor": 2.0},
    "dynamic": {"factor": 4.0},
    "yarn": {"factor": 2.0, "original_max_position_embeddings": FIRST},
    "longrope": {
        "short_factor": [1.0] * 4,
        "long_factor": [1.5, 2.0, 4.0, 8.0],
        "factor": 2.0,
        "original_max_position_embeddings": FIRST,
    },
    "llama3": {
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": FIRST,
    },
    "proportional": {"factor": 2.0},
}
SHAPE = {
    "vocab_size": 40,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "pad_token_id": None,
    "bos_token_id": None,
    "eos_token_id": None,
}


def rope_model(kind: str, made: Any = (LlamaConfig, LlamaForCausalLM)) -> Any:
    config, cls = made
    parameters = {"rope_type": kind, "rope_theta": 10_000.0, **FACTORS[kind]}
    torch.manual_seed(0)
    more = {"original_max_position_embeddings": FIRST} if config is Phi3Config else {}
    model = cls(config(**SHAPE, max_position_embeddings=CONTEXT, rope_parameters=parameters, **more))
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.normal_(0, 0.35)
    return model.double().eval()


def test_every_rope_type_of_transformers_is_known_for_what_it_does() -> None:
    """A type that a newer transformers adds fails here until somebody has looked at it."""
    assert set(ROPE_INIT_FUNCTIONS) | {"default"} == FIXED | SWITCHING
    for kind, function in ROPE_INIT_FUNCTIONS.items():
        config = LlamaConfig(
            **SHAPE,
            max_position_embeddings=CONTEXT,
            rope_parameters={"rope_type": kind, "rope_theta": 10_000.0, **FACTORS[kind]},
        )
        short, long = (function(config, torch.device("cpu"), seq_len=n)[0] for n in (FIRST - 1, 4 * CONTEXT))
        assert torch.equal(short, long) == (kind in FIXED), kind


@pytest.mark.parametrize("kind", sorted(FIXED | SWITCHING))
def test_rows_as_long_as_allowed_are_sampled_as_they_are_scored(kind: str) -> None:
    engine = HFEngine(rope_model(kind))
    assert engine.max_len == (FIRST if kind == "longrope" else CONTEXT)
    prompts = [[1, 2, 3], [4], [5, 6, 7, 8, 9, 1, 2], [3, 3]]
    longest = engine.max_len - 7
    drawn = draw_rows(engine, prompts, stop_ids=(0,), completions=3, longest=longest, seed=2)
    lengths = {len(row) for row in drawn.continuations}
    assert max(lengths) == longest
    assert min(lengths) <= longest // 8
    assert drawn.differences.worst_token < 1e-9
    alone = batched_against_single(engine, drawn.prompts, drawn.continuations, policy=Policy())
    assert alone.worst_token < 1e-9


@pytest.mark.parametrize("made", [(LlamaConfig, LlamaForCausalLM), (Phi3Config, Phi3ForCausalLM)])
def test_rows_that_could_pass_the_switch_are_refused(made: Any) -> None:
    engine = HFEngine(rope_model("longrope", made))
    said = rf"pass the {FIRST} tokens beyond which its positions \(longrope\) change .* lower max_total_tokens"
    with pytest.raises(InputError, match=said):
        engine.sample([[1] * 40], policy=Policy(), seed=0, max_new_tokens=9, stop_ids=())
    short, long = [5, 6, 7] * 3, [9, 8, 7] * 20
    with pytest.raises(InputError, match=said):
        engine.score([[3, 4], [3, 4]], [short, long], policy=Policy())
    alone = engine.score([[3, 4]], [short], policy=Policy())[0]
    beside = engine.score([[3, 4], [3, 4]], [short, long[:40]], policy=Policy())[0]
    np.testing.assert_allclose(alone, beside, atol=1e-12)
    with pytest.raises(InputError, match=rf"but the model has {FIRST} tokens beyond which"):
        check_lengths([([1] * 40, [2] * 9)], row_limit(engine.model.config))


@pytest.mark.parametrize("kind", sorted(SWITCHING))
def test_a_model_used_beyond_the_switch_elsewhere_comes_back(kind: str) -> None:
    """Its own frequencies are state: a caller's long forward pass must not reach our rows."""
    model = rope_model(kind)
    engine = HFEngine(model)
    row = [1, 5, 9] * (engine.max_len // 3)  # type: ignore[operator]
    before = engine.score([row[:3]], [row[3:]], policy=Policy())[0]
    with torch.no_grad():
        model(input_ids=torch.tensor([[1, 2] * CONTEXT]))
    after = engine.score([row[:3]], [row[3:]], policy=Policy())[0]
    np.testing.assert_array_equal(before, after)


def test_rows_that_are_over_do_not_move_the_positions_of_the_others() -> None:
    """A finished row waits in its batch for the others: its position must not run on past the switch."""
    engine = HFEngine(rope_model("longrope"))
    prompts = [[1] * (FIRST - 2), *([2 + i] for i in range(12))]  # one of 13 is over: too few to be dropped
    limits = [2, *[FIRST - 1] * 12]
    samples = engine.sample(prompts, policy=Policy(), seed=4, max_new_tokens=limits, stop_ids=())
    scores = engine.score(prompts, [sample.token_ids for sample in samples], policy=Policy())
    for sample, score in zip(samples, scores, strict=True):
        np.testing.assert_allclose(sample.log_probs, score, atol=1e-9)


def test_factors_of_long_rows_count_under_any_name() -> None:
    """Phimoe scales by length whatever its type is."""
    parameters = {
        "rope_type": "longrope",
        "rope_theta": 10_000.0,
        "short_factor": [1.0] * 4,
        "long_factor": [2.0] * 4,
        "short_mscale": 1.0,
        "long_mscale": 1.5,
        "original_max_position_embeddings": FIRST,
    }
    model = tiny_of("phimoe", rope_parameters=parameters)
    assert HFEngine(model).max_len == FIRST
    model.config.rope_parameters["rope_type"] = "yarn"
    assert row_limit(model.config).tokens == FIRST


def test_a_rope_type_of_tomorrow_is_refused() -> None:
    config = LlamaConfig(**SHAPE)
    config.rope_parameters = {"rope_type": "breathing", "rope_theta": 1.0}
    with pytest.raises(ModelError, match="positions are of the type 'breathing', which may change with a row's length"):
        row_limit(config)


def test_settings_by_kind_of_layer_are_all_looked_at() -> None:
    config = LlamaConfig(**SHAPE, max_position_embeddings=CONTEXT)
    config.rope_parameters = {
        "full_attention": {"rope_type": "longrope", **FACTORS["longrope"]},
        "sliding_attention": {"rope_type": "default", "rope_theta": 10_000.0},
    }
    assert row_limit(config).tokens == FIRST


def test_a_check_goes_as_far_as_the_rows_do() -> None:
    engine = HFEngine(rope_model("longrope"))
    assert longest_completion(engine, [[1] * 9, [1]], None) == FIRST - 1 - 9
    assert longest_completion(engine, [[1] * 9], 500) == 500  # asked for: refused by the engine, not cut
    with pytest.raises(InputError, match="a question takes 60 tokens and the engine's longest row is 48"):
        longest_completion(engine, [[1] * 60], None)
