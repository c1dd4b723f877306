"""The model's own end tokens: read as transformers reads them, ending turns in every span, engine and key."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from forewarn.checkpoints.ends import model_ends
from forewarn.checkpoints.sources import ModelSource
from forewarn.engines.check.check import make_prompts
from forewarn.engines.transformers.engine import HFEngine
from forewarn.errors import StoreError
from forewarn.formats import FORMATS, Channels, bind
from forewarn.interpolation.sampler import Order, Writer, sample_spans
from forewarn.records import UNBOUNDED, Policy, Span
from forewarn.study import read_completions, run_study
from tests.engines.tiny import tiny_model, tiny_tokenizer
from tests.study_runner import tiny_study
from tests.tiny_world import CONTROL, TOKENS, TinyWorld

HARMONY = (*FORMATS["harmony"].control, "<|endoftext|>")


@pytest.mark.parametrize(
    ("generation", "config", "expected"),
    [
        ({"eos_token_id": 2}, {"eos_token_id": 5}, (2,)),
        ({"eos_token_id": [7, 2, 7]}, {}, (7, 2)),
        ({"eos_token_id": []}, {"eos_token_id": [5]}, (5,)),
        ({"pad_token_id": 1}, {"eos_token_id": 5}, (5,)),
        (None, {"eos_token_id": 5}, (5,)),
        (None, {"text_config": {"eos_token_id": [1, 106]}}, (1, 106)),
        (None, {"eos_token_id": None}, ()),
        ({"eos_token_id": [-1, 3]}, {}, (3,)),
        ([], {"eos_token_id": 4}, (4,)),
    ],
)
def test_ends_are_read_where_transformers_reads_them(
    tmp_path: Path, generation: Any, config: dict[str, Any], expected: tuple[int, ...]
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    if generation is not None:
        (tmp_path / "generation_config.json").write_text(json.dumps(generation))
    assert model_ends([tmp_path]) == expected
    assert model_ends([tmp_path, str(tmp_path)]) == expected


def test_several_models_ends_are_taken_together(tmp_path: Path) -> None:
    for name, ends in (("a", [4, 2]), ("b", [2, 9])):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
        (tmp_path / name / "generation_config.json").write_text(json.dumps({"eos_token_id": ends}))
    assert model_ends([tmp_path / "a", tmp_path / "b"]) == (4, 2, 9)


def ids_of(channels: Channels, text: str) -> list[int]:
    return list(channels.tokenizer.encode(text, add_special_tokens=False))


def test_harmony_ends_with_each_of_its_models_ends() -> None:
    """GPT-OSS lists <|return|>, <|endoftext|> and <|call|>; the format names two of them."""
    tokenizer = tiny_tokenizer(HARMONY)
    listed = [tokenizer.convert_tokens_to_ids(t) for t in ("<|return|>", "<|endoftext|>", "<|call|>")]
    channels = bind("harmony", tokenizer, ends=listed)
    assert set(channels.end_ids) == set(listed)
    assert channels.end_ids[0] == listed[0], "training forms end as before"
    assert channels.model_ends == (listed[1],)
    assert not channels.ignored_sentence
    code = "```python\ndef solve(x):\n    return x\n```"
    for end in listed:
        row = [*ids_of(channels, "add one"), *channels.closer_ids, *ids_of(channels, code), end]
        split = channels.split(row)
        assert split.case == "whole"
        assert channels.code(row, split.n_reasoning) == "def solve(x):\n    return x\n"
    assert channels.split([*ids_of(channels, "add one"), listed[1]]).case == "missing"


def test_a_token_that_the_format_writes_inside_a_turn_is_no_end_and_that_is_said() -> None:
    tokenizer = tiny_tokenizer(HARMONY)
    inside, beyond = tokenizer.convert_tokens_to_ids("<|end|>"), len(tokenizer) + 3
    channels = bind("harmony", tokenizer, ends=[inside, beyond])
    assert channels.end_ids == bind("harmony", tokenizer).end_ids
    assert channels.ignored_ends == (inside, beyond)
    assert f"calls token {inside} (<|end|>), {beyond} (None) an end" in channels.ignored_sentence
    assert "doesn't end a turn here" in channels.ignored_sentence


def test_an_end_that_is_a_plain_token_is_no_part_of_the_answer() -> None:
    tokenizer = tiny_tokenizer(FORMATS["chatml-think"].control)
    [plain] = ids_of(bind("chatml-think", tokenizer), "x")
    channels = bind("chatml-think", tokenizer, ends=[plain])
    row = [*channels.closer_ids, *ids_of(channels, "\nreturn "), plain]
    split = channels.split(row)
    assert split.case == "whole"
    assert channels.answer_text(row, split.n_reasoning) == "\nreturn "


def test_every_span_ends_where_the_model_does() -> None:
    tokenizer = tiny_tokenizer((*FORMATS["qwen3"].control, "<|other|>"))
    other = tokenizer.convert_tokens_to_ids("<|other|>")
    channels = bind("qwen3", tokenizer, ends=[other])
    engine = HFEngine(tiny_model(vocab_size=len(tokenizer)))
    bias = engine.model.lm_head.weight
    bias.data[other] = bias.data[channels.closer_ids[0]] = bias.data.mean(0)  # both come up now and then
    spans = (Span(), Span(2, 0, "donor"), Span(0, 3, "donor"), Span(UNBOUNDED, UNBOUNDED, "donor"))
    drawn = list(
        sample_spans(
            [Order("p", channels.prompt_ids("def solve(x):"), span, 120) for span in spans],
            subject=Writer(engine),
            donors={"donor": Writer(engine)},
            channels=channels,
            policy=Policy(max_total_tokens=24),
            seed=5,
            checkpoint_id="c",
        )
    )
    for span in spans:
        rows = [one.completion for one in drawn if one.completion.span == span]
        ended = [row for row in rows if row.token_ids[-1] == other]
        assert ended, "no completion of this span met the end, so nothing was tested"
        assert all(row.finish_reason == "stop" for row in ended)
        assert not any(other in row.token_ids[:-1] for row in rows)


def test_a_study_ends_turns_with_its_checkpoints_ends_and_keys_say_so(world: TinyWorld, tmp_path: Path) -> None:
    subject = tmp_path / "subject"
    shutil.copytree(world.subject, subject)
    study = replace(
        tiny_study(world),
        checkpoints=(ModelSource("step-1", str(subject), step=1),),
        donors=(),
        spans=tiny_study(world).spans[:1],
    )
    run_study(study, tmp_path / "before")
    think, zero = TOKENS.index("hm "), TOKENS.index("    return 0\n")
    (subject / "generation_config.json").write_text(json.dumps({"eos_token_id": [zero, CONTROL.index("</think>") + 1]}))
    with pytest.raises(StoreError, match="format"):
        run_study(study, tmp_path / "before")
    run_study(study, tmp_path / "after")
    written = json.loads((tmp_path / "after" / "manifest.json").read_text())["format"]
    assert written["end_of_turn"] == [TOKENS.index("<|im_end|>"), zero]
    assert "(</think>) an end" in written["ignored_ends"]
    before, after = (read_completions(tmp_path / name)["token_ids"].to_list() for name in ("before", "after"))
    assert any(zero in row[:-1] for row in before), "the end has to come up for this to be a test"
    assert any(row[-1] == zero for row in after)
    assert not any(zero in row[:-1] for row in after)
    assert any(think in row for row in after)


def test_the_engine_check_stops_where_a_study_does(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer((*FORMATS["qwen3"].control, "<|other|>"))
    other = tokenizer.convert_tokens_to_ids("<|other|>")
    assert make_prompts(tokenizer, "qwen3", ends=[other]).stop_ids[-1] == other
