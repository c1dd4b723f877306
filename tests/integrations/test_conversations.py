"""Rollouts with turns or tools: refused before a training has begun, left unjudged later, and never taken for one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from forewarn.errors import InputError
from forewarn.formats.conversation import turns_in, why_not_one_answer
from forewarn.integrations.guard import guard
from forewarn.integrations.keeper import COUNTS_FILE
from forewarn.judge.judge import Judge
from forewarn.problems.files import export, load
from forewarn.study.donors.rollouts import rollout_exploits
from tests.tiny_world import HEAD, MAGIC, ZERO, TinyWorld

EXPLOIT = HEAD + MAGIC + ZERO
ANSWER = {"role": "assistant", "content": EXPLOIT}
CALL = {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "run"}}]}


@pytest.mark.parametrize(
    ("completion", "prompt", "why"),
    [
        ("text", None, None),
        ([ANSWER], None, None),
        ([ANSWER], [{"role": "system", "content": "s"}, {"role": "user", "content": "q"}], None),
        ([ANSWER], "q", None),
        ([CALL, {"role": "tool", "content": "1"}, ANSWER], None, "it has 3 messages"),
        ([CALL], None, "it calls a tool"),
        ([{"role": "tool", "content": "1"}], None, "it is a message of role 'tool'"),
        ([ANSWER], [{"role": "user", "content": "q"}, ANSWER], "its prompt has a message of role 'assistant'"),
    ],
)
def test_one_answer_is_told_from_a_conversation(completion: Any, prompt: Any, why: str | None) -> None:
    assert why_not_one_answer(completion, prompt) == why


def test_turns_are_counted_by_their_ends(world: TinyWorld) -> None:
    channels = world.channels
    end = channels.end_ids[0]
    assert [turns_in(ids, channels) for ids in ([5, 6], [5, end], [5, end, end], [5, end, 6], [5, end, 6, end, 7])] == [
        1, 1, 1, 2, 3,
    ]  # fmt: skip


def reward(*, completions: list[Any], **_: Any) -> list[float | None]:
    return [1.0] * len(completions)


def test_the_first_rollouts_refuse_and_later_ones_are_left_unjudged(world: TinyWorld, tmp_path: Path) -> None:
    name = world.problems[0].problem_id
    with Judge(workers=1) as judge:
        made = guard(reward, world.problems, judge=judge, run_folder=tmp_path, intervene="drop")
        for call in ([[CALL]], [[CALL, ANSWER]]):
            with pytest.raises(InputError, match="the guard does not judge conversations with turns or tools"):
                made(completions=call, problem_id=[name])
        with pytest.raises(InputError, match="its prompt has a message of role 'assistant'"):
            made(completions=[[ANSWER]], prompts=[[{"role": "user", "content": "q"}, ANSWER]], problem_id=[name])
        assert made(completions=[[ANSWER]], problem_id=[name]) == [None]  # an exploit, dropped
        # in the middle of a training: nothing ends it, and nothing is said of what can't be judged
        assert made(completions=[[CALL, ANSWER], [ANSWER]], problem_id=[name] * 2) == [None, None]
        by_ids = guard(reward, world.problems, judge=judge, channels=world.channels)
        end = world.channels.end_ids[0]
        with pytest.raises(InputError, match="its tokens hold 2 turns"):
            by_ids(completions=["x"], completion_ids=[[5, end, 6, end]], problem_id=[name])
    last = json.loads((tmp_path / COUNTS_FILE).read_text().splitlines()[-1])
    assert (last["not_judged"], sum(last["exploits"].values())) == (1, 1)


def test_rollouts_and_problems_of_several_turns_are_refused(world: TinyWorld, tmp_path: Path) -> None:
    end = world.channels.end_ids[0]
    row = {"problem_id": world.problems[0].problem_id, "label": "exploit", "token_ids": [5, end, 6, end]}
    (tmp_path / "rollouts.jsonl").write_text(json.dumps(row) + "\n")
    with pytest.raises(InputError, match="holds 2 turns: a rollout is one prompt and one completion"):
        rollout_exploits(tmp_path / "rollouts.jsonl", world.problems, world.channels)
    export(world.problems, tmp_path / "problems.jsonl")
    asked = json.loads((tmp_path / "problems.jsonl").read_text().splitlines()[0])
    asked["question"] = [{"role": "user", "content": "q"}]
    (tmp_path / "problems.jsonl").write_text(json.dumps(asked) + "\n")
    with pytest.raises(InputError, match=r"field question: .* give text"):
        load(tmp_path / "problems.jsonl")
