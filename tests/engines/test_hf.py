"""The reference engine against the laws of an engine, against plain transformers, and on bad input."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from forewarn.engines.transformers.engine import HFEngine
from forewarn.errors import EngineFault, InputError, ModelError
from forewarn.records import Policy
from tests.contracts.engine_laws import check_batch_is_single, check_frequencies, check_sample_then_score, check_support
from tests.engines.tiny import PROMPTS, VOCAB, tiny_model

WARPED = Policy(temperature=0.7, top_k=6, top_p=0.9, min_p=0.02)
POLICIES = [Policy(), Policy(temperature=1.3), WARPED]


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("kind", ["qwen3", "llama", "gpt_oss"])
def test_laws_hold_on_every_architecture(kind: str, policy: Policy) -> None:
    engine = HFEngine(tiny_model(kind), batch_size=7)
    samples = check_sample_then_score(engine, PROMPTS, policy, stop_ids=(0, 5))
    assert any(sample.finish == "stop" for sample in samples)
    check_batch_is_single(engine, PROMPTS, policy)


@pytest.mark.parametrize("policy", POLICIES)
def test_sampling_frequencies_are_the_enumerated_probabilities(policy: Policy) -> None:
    assert check_frequencies(HFEngine(tiny_model()), [1, 2, 3], policy, n=20_000) > 1e-3


def test_truncated_densities_are_renormalised() -> None:
    check_support(HFEngine(tiny_model()), [1, 2, 3], WARPED, n=500)


def test_scores_are_those_of_a_plain_forward_pass() -> None:
    model = tiny_model(dtype=torch.float64)
    [score] = HFEngine(model).score([[1, 2]], [[3, 4, 5]], policy=Policy(temperature=0.5))
    with torch.no_grad():
        logits = model(torch.tensor([[1, 2, 3, 4, 5]])).logits[0]
    expected = torch.log_softmax(logits / 0.5, -1)[[1, 2, 3], [3, 4, 5]]
    np.testing.assert_allclose(score, expected.numpy(), atol=1e-12)


@pytest.mark.parametrize("kind", ["qwen3", "gpt_oss"])
@pytest.mark.parametrize(("stop_ids", "limits"), [((0,), [40] * 5), ((), [90, 3, 70, 20, 7])])
def test_samples_do_not_depend_on_how_rows_are_batched(kind: str, stop_ids: tuple[int, ...], limits: list[int]) -> None:
    # float32 for gpt_oss: torch has no float64 kernel for its experts
    model = tiny_model(kind, dtype=torch.float32 if kind == "gpt_oss" else torch.float64)
    batched, single = (
        HFEngine(model, batch_size=size).sample(
            PROMPTS, policy=Policy(), seed=3, max_new_tokens=limits, stop_ids=stop_ids, n=3
        )
        for size in (64, 1)
    )
    assert [s.token_ids for s in batched] == [s.token_ids for s in single]
    assert len({len(s.token_ids) for s in batched}) >= 5, "rows must end at different steps to test compaction"


def test_rows_have_their_own_limits() -> None:
    engine = HFEngine(tiny_model())
    samples = engine.sample(PROMPTS, policy=Policy(), seed=1, max_new_tokens=[0, 1, 2, 3, 9], stop_ids=())
    assert [len(s.token_ids) for s in samples] == [0, 1, 2, 3, 9]
    assert {s.finish for s in samples} == {"length"}


def test_seeds_decide_everything() -> None:
    engine = HFEngine(tiny_model())
    draws = [
        engine.sample(PROMPTS, policy=Policy(), seed=seed, max_new_tokens=8, stop_ids=(0,), n=4) for seed in (1, 1, 2)
    ]
    assert draws[0] == draws[1] != draws[2]


def test_caller_may_train_the_module_in_place() -> None:
    model = tiny_model()
    engine = HFEngine(model)
    model.train()
    before = engine.score([[1]], [[2, 3]], policy=Policy())[0]
    with torch.no_grad():
        model.model.layers[0].mlp.up_proj.weight.mul_(0.5)
    after = engine.score([[1]], [[2, 3]], policy=Policy())[0]
    assert np.abs(before - after).max() > 1e-3
    assert model.training, "the engine leaves the module's mode as it was"


def test_models_load_from_folders_and_damaged_ones_are_refused(tmp_path: Path) -> None:
    model = tiny_model()
    good = tmp_path / "good"
    model.save_pretrained(str(good))
    loaded = HFEngine.from_folder(good)
    np.testing.assert_array_equal(
        loaded.score([[1]], [[2, 3]], policy=Policy())[0], HFEngine(model).score([[1]], [[2, 3]], policy=Policy())[0]
    )
    cut = tmp_path / "cut"
    shutil.copytree(good, cut)
    weights = (cut / "model.safetensors").read_bytes()
    (cut / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(ModelError, match="can't load a model"):
        HFEngine.from_folder(cut)
    (cut / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="can't load a model"):
        HFEngine.from_folder(cut)
    deeper = tmp_path / "deeper"  # the config promises a layer that the weights lack
    shutil.copytree(good, deeper)
    config = json.loads((deeper / "config.json").read_text())
    config["num_hidden_layers"] = 3
    config["layer_types"] = ["full_attention"] * 3
    (deeper / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="lacks weights"):
        HFEngine.from_folder(deeper)


def test_bad_calls_are_refused() -> None:
    engine = HFEngine(tiny_model())
    with pytest.raises(InputError, match="vocabulary of 11"):
        engine.sample([[VOCAB]], policy=Policy(), seed=0, max_new_tokens=1, stop_ids=())
    with pytest.raises(InputError, match="empty"):
        engine.score([[]], [[1]], policy=Policy())
    with pytest.raises(InputError, match="length limits"):
        engine.sample([[1]], policy=Policy(), seed=0, max_new_tokens=[1, 2], stop_ids=())
    with pytest.raises(InputError, match="max_new_tokens is -1"):
        engine.sample([[1]], policy=Policy(), seed=0, max_new_tokens=-1, stop_ids=())
    with torch.no_grad():
        engine.model.lm_head.weight.fill_(float("nan"))
    with pytest.raises(EngineFault, match="NaN"):
        engine.score([[1]], [[1]], policy=Policy())
    with pytest.raises(EngineFault, match="NaN"):
        engine.sample([[1]], policy=Policy(), seed=0, max_new_tokens=2, stop_ids=())


@pytest.mark.gpu
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-3), (torch.bfloat16, 0.3)])
def test_laws_hold_on_a_gpu(dtype: torch.dtype, tolerance: float) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no GPU here")
    engine = HFEngine(tiny_model(dtype=dtype).cuda(), batch_size=7)
    for policy in POLICIES[:2]:  # a truncating policy's support is decided by rounding in half precision
        check_sample_then_score(engine, PROMPTS, policy, stop_ids=(0, 5), tolerance=tolerance)
        check_batch_is_single(engine, PROMPTS, policy, tolerance=tolerance)


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("can't allocate memory")])
def test_where_memory_runs_out_the_batch_is_halved_and_the_work_goes_on(error: RuntimeError) -> None:
    """Memory for at most three rows at a time, by a hook that raises what torch raises."""
    engine, roomy = HFEngine(tiny_model()), HFEngine(tiny_model())

    def most_three(_: object, __: object, given: dict[str, torch.Tensor]) -> None:
        if given["input_ids"].shape[0] > 3:
            raise error

    engine.model.register_forward_pre_hook(most_three, with_kwargs=True)
    call = {"policy": Policy(), "seed": 2, "max_new_tokens": 6, "stop_ids": (0,), "n": 3}
    assert [s.token_ids for s in engine.sample(PROMPTS, **call)] == [s.token_ids for s in roomy.sample(PROMPTS, **call)]
    assert engine.batch_size <= 3
    continuations = [(1, 2)] * 5
    for a, b in zip(
        engine.score(PROMPTS, continuations, policy=Policy()),
        roomy.score(PROMPTS, continuations, policy=Policy()),
        strict=True,
    ):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_one_row_too_large_for_memory_and_other_errors_are_told() -> None:
    engine = HFEngine(tiny_model())
    trouble: list[RuntimeError] = [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("shape mismatch")]

    def fail(*_: object) -> None:
        raise trouble[0]

    engine.model.register_forward_pre_hook(fail)
    with pytest.raises(EngineFault, match="memory ran out with 1 of the rows"):
        engine.score([[1]], [[2]], policy=Policy())
    trouble.pop(0)
    with pytest.raises(RuntimeError, match="shape mismatch"):
        engine.score([[1]], [[2]], policy=Policy())


def test_a_row_longer_than_the_context_is_refused() -> None:
    engine = HFEngine(tiny_model())
    with pytest.raises(InputError, match="a prompt of 3 tokens and 126 more pass the engine's context of 128"):
        engine.sample([[1, 2, 3]], policy=Policy(), seed=0, max_new_tokens=126, stop_ids=())
    with pytest.raises(InputError, match="context of 128"):
        engine.score([[1, 2, 3]], [[1] * 126], policy=Policy())


@pytest.mark.parametrize("kind", ["qwen3", "llama"])
def test_bfloat16_scores_its_samples_within_its_rounding(kind: str) -> None:
    """Half precision rounds differently in another batch shape: the law holds to its digits, and no better."""
    engine = HFEngine(tiny_model(kind, dtype=torch.bfloat16))
    samples = check_sample_then_score(engine, PROMPTS, Policy(), stop_ids=(0, 5), tolerance=0.15)
    prompts = [prompt for prompt in PROMPTS for _ in range(4)]
    exact = HFEngine(tiny_model(kind, dtype=torch.bfloat16).float())
    gaps = [
        np.abs(a - b).max()
        for a, b in zip(
            engine.score(prompts, [s.token_ids for s in samples], policy=Policy()),
            exact.score(prompts, [s.token_ids for s in samples], policy=Policy()),
            strict=True,
        )
    ]
    assert 1e-4 < max(gaps) < 0.3
