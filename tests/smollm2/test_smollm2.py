"""SmolLM2-135M-Instruct: its own template, its real tokenizer, and the laws of an engine. ``make test-smollm2``."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model

from forewarn.checkpoints.load import load_model, load_tokenizer, peft_calls
from forewarn.engines.check.check import CheckSizes, check_engine, make_prompts
from forewarn.engines.transformers.engine import HFEngine
from forewarn.errors import ModelError
from forewarn.formats import Channels, bind, check_template, detect_format
from forewarn.records import Policy

pytestmark = pytest.mark.smollm2

MODEL = Path(__file__).parents[2] / ".smollm2" / "model"
SYSTEM = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
CLOSER = "</think>"


@pytest.fixture(scope="module")
def channels() -> Channels:
    if not (MODEL / "tokenizer.json").exists():
        pytest.skip("SmolLM2 is not here: make test-smollm2")
    return bind("chatml-think", load_tokenizer(MODEL), system=SYSTEM)


def test_prompts_are_the_templates_own_up_to_the_reasoning(channels: Channels) -> None:
    tokenizer = channels.tokenizer
    question = "Write f.\n\n    def f(x):\n        return x  # é, 数\n"
    own = tokenizer.apply_chat_template(
        [{"role": "user", "content": question}], tokenize=True, add_generation_prompt=True, return_dict=False
    )
    prompt = channels.prompt_ids(question)
    assert list(prompt[: len(own)]) == own
    assert tokenizer.decode(prompt[len(own) :]) == "<think>\n"
    assert check_template(channels).state == "agrees"
    assert detect_format(tokenizer, system=SYSTEM).name == "chatml-think"
    with pytest.raises(ModelError, match=r"named SmolLM.* give that as the study's format\.system"):
        detect_format(tokenizer)
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": "<think>\n</think>\ncode"}]
    trained = tokenizer.apply_chat_template(messages, tokenize=False)
    bare, answer = channels.no_reasoning_ids(question, "code")
    assert tokenizer.decode([*bare, *answer]) + "\n" == trained


@settings(max_examples=500, deadline=None)
@given(data=st.data())
def test_the_closer_is_found_however_it_is_cut(channels: Channels, data: st.DataObject) -> None:
    tokenizer = channels.tokenizer
    row: list[int] = []
    for _ in range(data.draw(st.integers(1, 5))):
        if data.draw(st.booleans()):
            row += data.draw(st.lists(st.integers(17, len(tokenizer) - 1), max_size=4))
        else:
            text = data.draw(st.sampled_from([CLOSER, "so" + CLOSER + "\ndef", "</thinking>", " <think", ">>> x"]))
            cut = data.draw(st.integers(0, len(text)))
            for part in (text[:cut], text[cut:]):
                row += tokenizer.encode(part, add_special_tokens=False)
    whole = next((i for i in range(len(row) + 1) if CLOSER in tokenizer.decode(row[:i])), None)
    assert channels.closed_at(row) == whole
    if whole is not None:
        assert row[whole - 1] in channels.closing_ids
        assert all(channels.closed_at(row[:i]) is None for i in range(whole))


def test_the_laws_hold_with_a_lora(channels: Channels, tmp_path: Path) -> None:
    torch.manual_seed(0)
    with peft_calls():
        lora = get_peft_model(load_model(MODEL), LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"))
        for name, parameter in lora.named_parameters():
            if "lora_B" in name:
                parameter.data.normal_(0, 0.02)
        lora.save_pretrained(str(tmp_path))
    engine = HFEngine.from_folder(MODEL, batch_size=32)
    engine.load_adapter("lora", tmp_path)
    prompts = make_prompts(channels.tokenizer, "chatml-think", SYSTEM)
    sizes = CheckSizes(completions=2, max_new_tokens=32, singles=4, draws=200)
    receipts = [check_engine(engine, prompts, sizes=sizes, adapter=adapter) for adapter in (None, "lora")]
    for receipt in receipts:
        assert receipt.trusted, receipt.faults
        assert receipt.agreement.worst_token < 1e-4
    moved = [engine.score(prompts.ids[:1], [[1, 2, 3, 4]], policy=Policy(), adapter=a)[0] for a in (None, "lora")]
    assert abs(moved[0] - moved[1]).max() > 0.01
