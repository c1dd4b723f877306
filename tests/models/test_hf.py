"""The reference engine against the laws of an engine, against plain transformers, and on bad input."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file

from forewarn.errors import EngineFault, InputError, ModelError
from forewarn.models.hf import HFEngine
from forewarn.models.loading import peft_calls
from forewarn.records import Policy
from tests.contracts.engine_laws import check_batch_is_single, check_frequencies, check_sample_then_score, check_support
from tests.models.tiny import VOCAB, tiny_model

PROMPTS = [[1, 2, 3], [4], [5, 6, 7, 8, 9, 1, 2], [3, 3], [2, 9, 4, 4, 1, 6, 7, 8, 3, 2, 1, 5, 6]]
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


def _save_adapter(folder: Path, seed: int) -> None:
    config = LoraConfig(r=2, lora_alpha=8, target_modules=["q_proj", "v_proj", "up_proj"], use_rslora=True)
    with peft_calls():
        model = get_peft_model(tiny_model(), config)
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.3)
    model.save_pretrained(str(folder))


def test_adapters_switch_exactly(tmp_path: Path) -> None:
    _save_adapter(tmp_path / "a", 1)
    _save_adapter(tmp_path / "b", 2)
    engine = HFEngine(tiny_model())
    weights = {name: value.clone() for name, value in engine.model.state_dict().items()}
    pair = ([[1, 2, 3]], [[4, 5, 6, 7]])

    def score(adapter: str | None) -> np.ndarray:
        return engine.score(*pair, policy=Policy(), adapter=adapter)[0]

    base = score(None)
    engine.load_adapter("a", tmp_path / "a")
    engine.load_adapter("b", tmp_path / "b")
    engine.load_adapter("half", tmp_path / "a", scale=0.5)
    for name in ("a", "b", "a"):
        with peft_calls():
            wrapped = PeftModel.from_pretrained(tiny_model(), str(tmp_path / name)).eval()
        np.testing.assert_allclose(score(name), HFEngine(wrapped).score(*pair, policy=Policy())[0], atol=1e-4)
    assert np.abs(score("a") - base).max() > 0.01
    assert np.abs(score("a") - score("half")).max() > 0.01
    np.testing.assert_array_equal(score(None), base)
    for name, value in engine.model.state_dict().items():
        assert torch.equal(value, weights[name]), f"{name} was not restored exactly"
    engine.drop_adapter("a")
    with pytest.raises(ModelError, match="no adapter named 'a'"):
        score("a")
    with pytest.raises(ModelError, match="loaded already"):
        engine.load_adapter("b", tmp_path / "b")


def _edit_adapter(source: Path, target: Path, edit: Callable[[dict[str, torch.Tensor]], object]) -> Path:
    """A copy of an adapter whose tensors ``edit`` has changed in place."""
    shutil.copytree(source, target)
    tensors = load_file(target / "adapter_model.safetensors")
    edit(tensors)
    save_file(tensors, target / "adapter_model.safetensors", metadata={"format": "pt"})
    return target


def test_adapters_whose_weights_do_not_fit_are_refused(tmp_path: Path) -> None:
    _save_adapter(tmp_path / "a", 1)
    engine = HFEngine(tiny_model())
    weights = {name: value.clone() for name, value in engine.model.state_dict().items()}
    names = list(weights)

    def rename(tensors: dict[str, torch.Tensor]) -> None:
        for key in list(tensors):
            tensors[key.replace(".model.layers.", ".transformer.layers.")] = tensors.pop(key)

    def lack(tensors: dict[str, torch.Tensor]) -> None:
        for key in [key for key in tensors if ".layers.1." in key]:
            del tensors[key]

    def add(tensors: dict[str, torch.Tensor]) -> None:
        tensors |= {k.replace(".layers.1.", ".layers.7."): v.clone() for k, v in tensors.items() if ".layers.1." in k}

    for edit, message in (
        (rename, r"no weights for model\.layers\.0\S+ \(and 5 .*\) and extra weights for transformer\.layers\.0"),
        (lack, r"has no weights for model\.layers\.1\.\S+ \(and 2 layers more\); give the base it was trained on"),
        (add, r"has extra weights for model\.layers\.7\.\S+ \(and 2 layers more\); give the base it was trained on"),
    ):
        folder = _edit_adapter(tmp_path / "a", tmp_path / edit.__name__, edit)
        with pytest.raises(ModelError, match=message):
            engine.load_adapter("x", folder)
    (tmp_path / "add" / "adapter_config.json").write_text("[1]")
    with pytest.raises(ModelError, match="holds no readable adapter_config"):
        engine.load_adapter("x", tmp_path / "add")
    assert list(engine.model.state_dict()) == names, "the model is left without layers of the refused adapters"
    assert all(torch.equal(value, weights[name]) for name, value in engine.model.state_dict().items())
    engine.load_adapter("x", tmp_path / "a")


@pytest.mark.filterwarnings("ignore:.*tie_word_embeddings.*", "ignore:.*save_embedding_layers.*")
@pytest.mark.parametrize("layer", ["lm_head", "embed_tokens"])
def test_adapters_of_a_tied_weight_are_refused(layer: str, tmp_path: Path) -> None:
    for tied in (True, False):
        with peft_calls():
            adapted = get_peft_model(tiny_model(tied=tied), LoraConfig(r=2, target_modules=[layer]))
            adapted.save_pretrained(str(tmp_path / str(tied)))
    engine = HFEngine(tiny_model(tied=True))
    names = list(engine.model.state_dict())
    with pytest.raises(ModelError, match=f"changes .*{layer}, whose weight this model shares between"):
        engine.load_adapter("a", tmp_path / "True")
    assert list(engine.model.state_dict()) == names
    HFEngine(tiny_model()).load_adapter("a", tmp_path / "False")


@pytest.mark.filterwarnings("ignore:.*save_embedding_layers.*")
def test_adapters_that_bring_other_embeddings_are_refused(tmp_path: Path) -> None:
    with peft_calls():
        embedding = get_peft_model(tiny_model(seed=1), LoraConfig(r=2, target_modules=["embed_tokens"]))
        embedding.save_pretrained(str(tmp_path / "of-another"))
    _save_adapter(tmp_path / "a", 1)
    name = "base_model.model.model.embed_tokens.weight"
    _edit_adapter(tmp_path / "a", tmp_path / "resized", lambda t: t.update({name: torch.zeros(VOCAB, 16)}))
    engine = HFEngine(tiny_model())
    before = engine.score([[1]], [[2, 3]], policy=Policy())[0]
    for folder in ("of-another", "resized"):
        with pytest.raises(ModelError, match="also holds whole weights that are not this model's"):
            engine.load_adapter("a", tmp_path / folder)
        np.testing.assert_array_equal(engine.score([[1]], [[2, 3]], policy=Policy())[0], before)


def test_new_base_weights_reach_the_adapters(tmp_path: Path) -> None:
    _save_adapter(tmp_path / "a", 1)
    engine = HFEngine(tiny_model(seed=0))
    engine.load_adapter("a", tmp_path / "a")
    other = tiny_model(seed=9)
    engine.set_weights(other.state_dict())
    fresh = HFEngine(other)
    fresh.load_adapter("a", tmp_path / "a")
    for adapter in (None, "a"):
        np.testing.assert_array_equal(
            engine.score([[1]], [[2, 3]], policy=Policy(), adapter=adapter)[0],
            fresh.score([[1]], [[2, 3]], policy=Policy(), adapter=adapter)[0],
        )


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
