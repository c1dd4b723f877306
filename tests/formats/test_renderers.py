"""The chat formats against the families' own renderers. ``make test-formats`` fetches those and runs this."""

from __future__ import annotations

import os
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from forewarn.formats import FORMATS, bind, check_template, detect_format
from tests.engines.tiny import tiny_tokenizer
from tests.formats.fetch import PATTERN, VOCABULARY

pytestmark = pytest.mark.formats

QUESTION = "Write f.\n\n    def f(x):\n        return x  # é, 数, 'quoted'\n"
REASONING = "We need f.\nReturn x, simply."
ANSWER = "```python\ndef f(x):\n    return x\n```"
HARMONY_SPECIAL = (
    *("<|startoftext|>", "<|endoftext|>", "<|reserved_200000|>", "<|reserved_200001|>", "<|return|>"),
    *("<|constrain|>", "<|reserved_200004|>", "<|channel|>", "<|start|>", "<|end|>", "<|message|>"),
    *("<|reserved_200009|>", "<|reserved_200010|>", "<|reserved_200011|>", "<|call|>"),
)
"""in the order of their ids, from 199998 on"""


@pytest.fixture(scope="module")
def folder() -> Path:
    path = Path(os.environ.get("FOREWARN_FORMATS", ".formats")).resolve()
    if not (path / VOCABULARY).exists():
        pytest.skip("the official renderers are not here: make test-formats")
    return path


@cache
def harmony_tokenizer(folder: Path) -> Any:
    """o200k_base as a transformers tokenizer, with Harmony's special tokens at their ids."""
    from transformers import PreTrainedTokenizerFast
    from transformers.convert_slow_tokenizer import TikTokenConverter

    sys.path.insert(0, str(folder / "site"))
    pattern = (folder / PATTERN).read_text()
    core = TikTokenConverter(vocab_file=str(folder / VOCABULARY), pattern=pattern, extra_special_tokens=[]).converted()
    core.add_special_tokens(list(HARMONY_SPECIAL))
    return PreTrainedTokenizerFast(tokenizer_object=core)


@pytest.fixture(scope="module")
def official(folder: Path) -> Any:
    """openai-harmony's encoding of GPT-OSS."""
    os.environ["TIKTOKEN_ENCODINGS_BASE"] = str(folder)
    sys.path.insert(0, str(folder / "site"))
    import openai_harmony

    return openai_harmony.load_harmony_encoding(openai_harmony.HarmonyEncodingName.HARMONY_GPT_OSS)


def test_harmony_ids_are_the_official_ones(folder: Path, official: Any) -> None:
    from openai_harmony import Conversation, Message, Role, SystemContent

    told = Message.from_role_and_content(Role.SYSTEM, SystemContent.new())
    asked = Message.from_role_and_content(Role.USER, QUESTION)
    header = official.render_conversation_for_completion(Conversation.from_messages([told, asked]), Role.ASSISTANT)
    text = official.decode(official.render(told))
    system = text.removeprefix("<|start|>system<|message|>").removesuffix("<|end|>")
    channels = bind("harmony", harmony_tokenizer(folder), system=system)
    prompt = channels.prompt_ids(QUESTION)
    assert list(prompt[: len(header)]) == header
    assert channels.tokenizer.decode(prompt[len(header) :]) == "<|channel|>analysis<|message|>"
    thought = Message.from_role_and_content(Role.ASSISTANT, REASONING).with_channel("analysis")
    said = Message.from_role_and_content(Role.ASSISTANT, ANSWER).with_channel("final")
    ours, target = channels.reasoning_ids(QUESTION, REASONING, ANSWER)
    before = header[: -len(official.encode("<|start|>assistant", allowed_special="all"))]
    turns = [*before, *official.render(thought), *official.render(said)]
    assert [*ours, *target[:-1]] == turns[:-1]  # a message ends with <|end|>, the turn with <|return|>
    assert target[-1] == official.encode("<|return|>", allowed_special="all")[0]
    assert set(channels.end_ids) == set(official.stop_tokens_for_assistant_actions())


def test_the_official_harmony_parser_finds_the_same_channels(folder: Path, official: Any) -> None:
    from openai_harmony import Role

    channels = bind("harmony", harmony_tokenizer(folder))
    _, target = channels.reasoning_ids(QUESTION, REASONING, ANSWER)
    opening = official.encode("<|channel|>analysis<|message|>", allowed_special="all")
    messages = official.parse_messages_from_completion_tokens([*opening, *target], role=Role.ASSISTANT)
    assert [message.channel for message in messages] == ["analysis", "final"]
    split = channels.split(target)
    assert split.case == "whole"
    assert messages[0].content[0].text == REASONING
    assert messages[1].content[0].text == channels.answer_text(target, split.n_reasoning) == ANSWER
    twice = [*channels.tokenizer.encode("<|end|><|start|>assistant<|channel|>analysis<|message|>"), *target]
    messages = official.parse_messages_from_completion_tokens([*opening, *twice], role=Role.ASSISTANT)
    assert [message.channel for message in messages] == ["analysis", "analysis", "final"]
    assert channels.split(twice).case == "nested"
    assert channels.answer_text(twice, channels.split(twice).n_reasoning) == ANSWER


TEMPLATES = {
    "qwen3": ("qwen3", {}),
    "deepseek_r1_distill": ("deepseek-r1", {"bos_token": "<｜begin▁of▁sentence｜>"}),
    "deepseekv3": ("deepseek-r1", {"bos_token": "<｜begin▁of▁sentence｜>"}),
    "gemma3": ("gemma-think", {"bos_token": "<bos>"}),
    "gemma4": ("gemma4", {"bos_token": "<bos>"}),
    "gemma4_v5": ("gemma4", {"bos_token": "<bos>"}),
}
"""template -> the format it writes, and what it asks of the tokenizer"""


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("system", [None, "Be brief."])
def test_formats_write_what_the_families_templates_write(folder: Path, name: str, system: str | None) -> None:
    wanted, tokens = TEMPLATES[name]
    tokenizer = tiny_tokenizer(FORMATS[wanted].control)
    tokenizer.chat_template = (folder / f"{name}.jinja").read_text()
    for key, value in tokens.items():
        setattr(tokenizer, key, value)
    found = detect_format(tokenizer, system=system)
    assert found.name == wanted
    channels = bind(found, tokenizer, system=system)
    check = check_template(channels)
    assert (check.state, check.exact) == ("agrees", wanted == "deepseek-r1"), check.sentence
    # the training form with an answer alone, where the family has one
    if name == "qwen3":
        messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": ANSWER}]
        told = [{"role": "system", "content": system}] if system else []
        own = tokenizer.apply_chat_template([*told, *messages], tokenize=True, return_dict=False)
        prompt, answer = channels.no_reasoning_ids("Hi", ANSWER)
        assert [*prompt, *answer] == own[: len(prompt) + len(answer)]
        assert tokenizer.decode(own[len(prompt) + len(answer) :]) == "\n"


def test_gpt_oss_template_writes_a_system_message_of_its_own(folder: Path) -> None:
    tokenizer = tiny_tokenizer(FORMATS["harmony"].control)
    tokenizer.chat_template = (folder / "gptoss.jinja").read_text()
    check = check_template(bind("harmony", tokenizer))
    assert check.state == "differs"
    assert "give that as the study's format.system" in check.sentence
    assert check.own is not None
    system = check.own.removeprefix("<|start|>system<|message|>").split("<|end|>")[0]
    assert check_template(bind("harmony", tokenizer, system=system)).state == "agrees"
