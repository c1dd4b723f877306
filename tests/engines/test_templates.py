"""A tokenizer's own chat template: its switches for reasoning are found, and what is said of it is true of it."""

from __future__ import annotations

import re
from typing import Any

import pytest

from forewarn.engines.check.check import make_prompts
from forewarn.errors import ModelError
from forewarn.formats import FORMATS, bind, check_template, detect_format
from forewarn.formats.rendering import renderings, switches
from tests.engines.tiny import tiny_tokenizer

SAYS_SYSTEM = re.compile(r"begins with a system message: give that, '(.*)', as the study's format\.system")
USER = "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
OPEN = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
DEEPSEEK = "<｜begin▁of▁sentence｜>{% for m in messages %}<｜User｜>{{ m['content'] }}{% endfor %}<｜Assistant｜>"


def with_template(name: str, template: str) -> Any:
    tokenizer = tiny_tokenizer(FORMATS[name].control)
    tokenizer.chat_template = template
    return tokenizer


@pytest.mark.parametrize("switch", ["thinking", "enable_thinking", "enable_reasoning", "use_thinking", "think"])
def test_a_switch_for_reasoning_is_found_under_its_name(switch: str) -> None:
    """DeepSeek V3.1's is called ``thinking``: left out, its template writes the answer's opening."""
    tokenizer = with_template("deepseek", DEEPSEEK + f"{{% if {switch} %}}<think>{{% else %}}</think>{{% endif %}}")
    assert switch in switches(tokenizer)
    assert detect_format(tokenizer).name == "deepseek"
    check = check_template(bind("deepseek", tokenizer))
    assert (check.state, check.exact, check.sentence) == ("agrees", True, "")
    assert make_prompts(tokenizer).form == "deepseek"
    on = {switch: True}
    said = tokenizer.apply_chat_template([{"role": "user", "content": "Hi"}], tokenize=False, **on)
    assert tokenizer.decode(bind("deepseek", tokenizer).prompt_ids("Hi")) == said


def test_switches_are_not_every_word_that_speaks_of_thinking() -> None:
    template = (
        "{% if thinking_budget > 3 %}{{ m.reasoning_content }}{{ reasoning_effort }}{% endif %}<think>{{ thinking }}"
    )
    assert switches(with_template("qwen3", template)) == ("thinking", "think")


def test_each_way_a_template_writes_is_listed_once_with_its_switches() -> None:
    plain = renderings(with_template("qwen3", USER + OPEN), "Hi", None)
    assert [(r.text.endswith("assistant\n"), r.switches) for r in plain] == [(True, ())]
    both = renderings(
        with_template("qwen3", USER + "{% if thinking and not enable_thinking %}a{% endif %}"), "Hi", None
    )
    assert [(r.text[-1], r.switches) for r in both] == [("\n", ()), ("a", ("thinking",))]


@pytest.mark.parametrize(
    ("name", "template"),
    [
        ("qwen3", "<|im_start|>system\nYou are Q.<|im_end|>\n" + USER + OPEN),
        (
            "qwen3",
            "{% if messages[0].role != 'system' %}<|im_start|>system\nBe kind.<|im_end|>\n{% endif %}" + USER + OPEN,
        ),
        ("deepseek", DEEPSEEK.replace("{% for", "You are D.{% for") + "<think>"),
        ("qwen3", USER),
        ("qwen3", USER + "<|im_start|>assistant\n<answer>"),
        ("qwen3", "<|im_start|>system\nYou are Q.<|im_end|>\n" + USER + "<|im_start|>assistant\n<answer>"),
        ("qwen3", "# head\n" + USER + OPEN),
        ("deepseek", DEEPSEEK + "</think>"),
        ("deepseek", DEEPSEEK.replace("<｜User｜>", "<｜User｜>[") + "<think>"),
        ("gemma-think", "<bos>{% for m in messages %}<start_of_turn>user\n{{ m.content }}<end_of_turn>\n{% endfor %}"),
    ],
)
def test_a_system_message_is_named_only_where_giving_it_makes_the_two_agree(name: str, template: str) -> None:
    tokenizer = with_template(name, template)
    check = check_template(bind(name, tokenizer))
    assert check.state == "differs"
    if named := SAYS_SYSTEM.search(check.sentence):
        given = bind(name, tokenizer, system=named.group(1))
        told = check_template(given)
        assert told.state == "agrees", told.sentence
        assert detect_format(tokenizer, system=named.group(1)).name == name
    else:
        assert "system message" not in check.sentence
    named_by_hand = (
        template.startswith(("<|im_start|>system", "{% if messages[0].role != 'system'")) or "You are D." in template
    )
    assert bool(named) == (named_by_hand and "<answer>" not in template)


@pytest.mark.parametrize(
    ("name", "template", "said"),
    [
        ("qwen3", USER, "its chat template ends with the question and does not open the model's turn"),
        (
            "deepseek",
            DEEPSEEK + "</think>",
            "after the question its chat template writes '<｜Assistant｜></think>' where the format writes "
            "'<｜Assistant｜><think>'",
        ),
        (
            "qwen3",
            USER + "<|im_start|>{% if thinking %}assistant\n<answer>{% endif %}x",
            "after the question its chat template with thinking on writes '<|im_start|>assistant\\n<answer>x' where",
        ),
        ("qwen3", "# head\n" + USER + OPEN, "its chat template writes '# head\\n<|im_start|>user"),
    ],
)
def test_what_differs_is_said_where_it_differs(name: str, template: str, said: str) -> None:
    tokenizer = with_template(name, template)
    assert said in check_template(bind(name, tokenizer)).sentence
    if not template.startswith("#"):
        with pytest.raises(ModelError, match=re.escape(said)):
            detect_format(tokenizer)


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{{ 1 / 0 }}", "division by zero"),
        ("{% macro f(n) %}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}", "maximum recursion depth exceeded"),
        ("{{ messages[0]['content'].nope() }}", "no attribute 'nope'"),
        ("{{ messages['a']['b'] }}", ""),
        ("{{ raise_exception('Roles must alternate') }}", "Roles must alternate"),
    ],
)
def test_templates_that_break_are_one_sentence(template: str, reason: str) -> None:
    tokenizer = with_template("qwen3", template)
    with pytest.raises(ModelError, match=rf"refuses a plain question \(.*{reason}.*\), so its format can't be found"):
        detect_format(tokenizer)
    assert make_prompts(tokenizer).form.startswith("plain text, as the tokenizer's chat template refuses")
