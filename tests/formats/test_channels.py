"""Every chat format on a real tokenizer: rendering, the channel parser, code extraction, refusals."""

from __future__ import annotations

from dataclasses import replace

import pytest

from forewarn.errors import InputError, ModelError
from forewarn.formats import FORMATS, Channels, bind, check_template, detect_format
from tests.engines.tiny import tiny_tokenizer

QUESTION = "Return x + 1.\ndef solve(x):"
ANSWER = "def solve(x):\n    return x + 1\n"


@pytest.fixture(params=sorted(FORMATS))
def channels(request: pytest.FixtureRequest) -> Channels:
    return bind(request.param, tiny_tokenizer(FORMATS[request.param].control))


def test_prompts_read_as_the_format_says(channels: Channels) -> None:
    form = channels.format
    prompt = channels.tokenizer.decode(channels.prompt_ids(QUESTION))
    asked = form.turn.replace("{question}", QUESTION).replace("{system}", "")
    assert prompt == form.start + form.no_system + asked + form.open_reasoning
    bare, target = channels.no_reasoning_ids(QUESTION, ANSWER)
    assert channels.tokenizer.decode(bare).endswith(form.no_reasoning)
    assert channels.tokenizer.decode(target) == form.answer_lead + ANSWER + form.end_of_turn[0]
    with_system = bind(form.name, channels.tokenizer, system="Be brief.")
    told = channels.tokenizer.decode(with_system.prompt_ids("{system} {question}"))
    assert told.count("Be brief.") == 1
    assert "{system} {question}" in told


def test_the_training_form_splits_where_it_was_joined(channels: Channels) -> None:
    _, target = channels.reasoning_ids(QUESTION, "add one", ANSWER)
    split = channels.split(target)
    assert split.case == "whole"
    assert target[split.n_reasoning - len(channels.closer_ids) : split.n_reasoning] == channels.closer_ids
    text = channels.tokenizer.decode(target[: split.n_reasoning])
    assert text == "add one" + channels.format.closer
    assert channels.answer_text(target, split.n_reasoning) == channels.format.answer_lead + ANSWER
    assert channels.code(target, split.n_reasoning) == ANSWER.strip()


def test_every_damaged_completion_is_a_named_case(channels: Channels) -> None:
    reasoning = channels.tokenizer.encode("add one", add_special_tokens=False)
    closer, end = channels.closer_ids, channels.end_ids[0]
    answer = channels.tokenizer.encode(ANSWER, add_special_tokens=False)
    opener = channels.tokenizer.encode(channels.format.opener, add_special_tokens=False)
    cut = [*reasoning, *closer[:-1]]
    for ids, case, opened in (
        ([*reasoning], "cut_reasoning", False),
        (cut, "cut_reasoning", False),
        ([], "cut_reasoning", False),
        ([*reasoning, end], "missing", False),
        ([*reasoning, *closer], "cut_answer", True),
        ([*reasoning, *closer, *answer], "cut_answer", True),
        ([*closer, *answer, end], "whole", True),
        ([*closer, *answer, *closer, end], "repeated", True),
        ([*closer, *answer, *opener, end], "repeated", True),
        ([*reasoning, *opener, *reasoning, *closer, *answer, end], "nested", True),
        ([*opener, *closer, *answer], "nested", True),
        ([*opener, *reasoning], "cut_reasoning", False),
        ([*opener, *closer, *opener], "repeated", True),
    ):
        split = channels.split(ids)
        assert split.case == case, ids
        assert (split.n_reasoning == len(ids)) == (not opened or ids == [*reasoning, *closer]), ids
        assert (channels.code(ids, split.n_reasoning) is not None) == opened, ids


def test_only_the_whole_closer_closes() -> None:
    channels = bind("harmony", tiny_tokenizer(FORMATS["harmony"].control))
    closer = channels.closer_ids
    assert len(closer) > 3
    for i in range(len(closer)):
        damaged = [*closer[:i], *closer[i + 1 :]]
        assert channels.closed_at(damaged) is None
    assert channels.closed_at([closer[0], *closer]) == len(closer) + 1


def test_a_tokenizer_without_the_channel_is_refused() -> None:
    with pytest.raises(ModelError, match="no token <think>, so the model has no reasoning channel"):
        bind("plain-think", tiny_tokenizer(["<|im_start|>", "<|im_end|>"]))
    with pytest.raises(ModelError, match=r"no token <\|im_start\|>, so the model can't speak .* such as chatml-think"):
        bind("plain-think", tiny_tokenizer(["<|im_end|>", "<think>", "</think>"]))
    with pytest.raises(InputError, match="unknown chat format 'alpaca'"):
        bind("alpaca", tiny_tokenizer([]))


def test_a_question_may_not_forge_control_tokens(channels: Channels) -> None:
    channels.prompt_ids("</thin")
    forged = f"hello{channels.format.control[0]}"
    with pytest.raises(InputError, match="control token"):
        channels.prompt_ids(forged)


def test_a_text_closer_that_is_a_control_token_here() -> None:
    tokenizer = tiny_tokenizer(["<|im_start|>", "<|im_end|>", "<think>", "</think>"])
    with pytest.raises(
        ModelError, match=r"'</think>' is a control token of this tokenizer.*: choose plain-think, or auto"
    ):
        bind("chatml-think", tokenizer)


def test_a_closer_that_ends_the_turn_is_refused() -> None:
    with pytest.raises(
        InputError, match=r"closer = '</think><\|im_end\|>': '<\|im_end\|>' ends the turn, so no answer"
    ):
        replace(FORMATS["plain-think"], closer="</think><|im_end|>")


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{% for m in messages %", r"template doesn't parse \(line 1: .*\), so its format can't be found: fix it"),
        ("{{ messages[0].oops.x }}", r"template refuses a plain question \(.*oops.*\), so its format can't be found"),
        ("USER {{ messages[0].content }} A:", "template matches none of .*: it writes 'USER "),
    ],
)
def test_a_template_that_tells_no_format(template: str, message: str) -> None:
    tokenizer = tiny_tokenizer(["<|im_start|>", "<|im_end|>", "<think>", "</think>"])
    tokenizer.chat_template = template
    with pytest.raises(ModelError, match=message):
        detect_format(tokenizer)
    if "USER" not in template:
        said = check_template(bind("plain-think", tokenizer)).sentence
        assert "its chat template " + message.split(" ")[1].replace("\\", "") in said
