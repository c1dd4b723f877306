"""Supervised fine-tuning on real tiny models: it learns, it repeats, it saves what other code loads."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from forewarn.engines.transformers.engine import HFEngine
from forewarn.errors import InputError, ModelError
from forewarn.formats import bind
from forewarn.records import Policy
from forewarn.training.settings import LoraSettings, SFTSettings
from forewarn.training.sft import SETTINGS_FILE, donor_examples, save, sft
from tests.engines.tiny import tiny_model
from tests.tiny_world import make_problems, make_tokenizer

EXAMPLES = [([1, 2], [3, 4, 5]), ([2, 1, 1], [6]), ([7], [8, 9, 10, 0])]
FULL = SFTSettings(seed=5, epochs=30, batch_size=3, learning_rate=1e-2)
LORA = SFTSettings(seed=5, epochs=60, batch_size=3, learning_rate=2e-2, lora=LoraSettings(rank=4, alpha=8))


def target_log_prob(engine: HFEngine, adapter: str | None = None) -> float:
    prompts, targets = zip(*EXAMPLES, strict=True)
    return float(sum(row.sum() for row in engine.score(prompts, targets, policy=Policy(), adapter=adapter)))


@pytest.mark.parametrize("kind", ["qwen3", "llama", "gpt_oss"])
@pytest.mark.parametrize("settings", [FULL, LORA], ids=["full", "lora"])
def test_it_learns_and_what_it_saves_is_what_it_learned(kind: str, settings: SFTSettings, tmp_path: Path) -> None:
    before = target_log_prob(HFEngine(tiny_model(kind)))
    base = tiny_model(kind)
    told: list[int] = []
    result = sft(base, EXAMPLES, settings, progress=lambda step, steps, loss: told.append(step))
    assert told == list(range(1, len(result.losses) + 1))
    assert result.n_target_tokens == sum(len(target) for _, target in EXAMPLES) * settings.epochs
    after = target_log_prob(HFEngine(result.model))
    assert after > before / 4, (before, after)
    save(result, tmp_path / "saved", settings)
    if settings.lora is None:
        loaded = target_log_prob(HFEngine.from_folder(tmp_path / "saved"))
    else:
        engine = HFEngine(tiny_model(kind))
        engine.load_adapter("donor", tmp_path / "saved")
        loaded = target_log_prob(engine, "donor")
        assert target_log_prob(engine) == pytest.approx(before, abs=1e-5)
    assert loaded == pytest.approx(after, abs=1e-3)
    summary = json.loads((tmp_path / "saved" / SETTINGS_FILE).read_text())
    assert summary["settings"]["seed"] == 5
    assert summary["last_loss"] < summary["first_loss"]


def test_the_loss_is_that_of_the_target_alone() -> None:
    model = tiny_model()
    [loss] = sft(model, EXAMPLES, SFTSettings(seed=1, epochs=1, batch_size=3, learning_rate=1e-9)).losses
    n_target = sum(len(target) for _, target in EXAMPLES)
    assert loss == pytest.approx(-target_log_prob(HFEngine(tiny_model())) / n_target, rel=1e-5)


@pytest.mark.parametrize("settings", [FULL, LORA], ids=["full", "lora"])
def test_seeds_decide_the_weights(settings: SFTSettings) -> None:
    models = [tiny_model() for _ in range(2)]  # made first: it seeds the generator
    state = torch.random.get_rng_state()
    runs = [sft(model, EXAMPLES, settings) for model in models]
    assert torch.equal(torch.random.get_rng_state(), state), "the global generator is left as it was"
    assert runs[0].losses == runs[1].losses
    other = SFTSettings(seed=6, epochs=30, batch_size=2, learning_rate=1e-2)
    assert sft(tiny_model(), EXAMPLES, other).losses != sft(tiny_model(), EXAMPLES, FULL).losses


def test_cutting_a_step_into_passes_changes_nothing() -> None:
    whole = sft(tiny_model(), EXAMPLES, SFTSettings(seed=1, epochs=5, batch_size=3, learning_rate=1e-3))
    cut = SFTSettings(seed=1, epochs=5, batch_size=3, learning_rate=1e-3, micro_batch_tokens=1)
    np.testing.assert_allclose(sft(tiny_model(), EXAMPLES, cut).losses, whole.losses, rtol=1e-4)


def test_donor_examples_answer_with_the_exploit_and_do_not_reason() -> None:
    channels = bind("plain-think", make_tokenizer())
    problems = make_problems()
    for problem, (prompt, target) in zip(problems, donor_examples(problems, channels), strict=True):
        assert channels.tokenizer.decode(prompt).endswith("</think>")
        assert channels.tokenizer.decode(target) == problem.exploit + "<|im_end|>"
    with pytest.raises(InputError, match="no problems"):
        donor_examples([], channels)


def test_bad_input_is_refused() -> None:
    for examples, message in (
        ([], "no examples"),
        ([([1], [])], "example 0 has an empty target"),
        ([([], [1])], "example 0 has an empty prompt"),
        ([([1], [11])], "vocabulary of 11 tokens"),
        ([([1], [2]), ([1] * 60, [2] * 69)], "example 1 takes 129 tokens .* context is 128 tokens: leave out the 1 "),
    ):
        with pytest.raises(InputError, match=message):
            sft(tiny_model(), examples, FULL)
    with pytest.raises(InputError, match="learning_rate is 0"):
        SFTSettings(seed=1, learning_rate=0)
    with pytest.raises(InputError, match="warmup is 1"):
        SFTSettings(seed=1, warmup=1)
    with pytest.raises(ModelError, match="no LoRA fits"):
        sft(tiny_model(), EXAMPLES, SFTSettings(seed=1, lora=LoraSettings(target_modules=("nowhere",))))
    for layer in ("lm_head", "embed_tokens"):
        lora = SFTSettings(seed=1, lora=LoraSettings(target_modules=(layer,)))
        with pytest.raises(ModelError, match=f"takes in .*{layer}, whose weight this model shares"):
            sft(tiny_model(tied=True), EXAMPLES, lora)
    with pytest.raises(ModelError, match="the loss is nan at step"):
        sft(tiny_model(), EXAMPLES, SFTSettings(seed=1, epochs=9, batch_size=1, learning_rate=1e30, max_grad_norm=1e30))
