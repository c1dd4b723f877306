"""The judged reward: the vulnerable checker's verdicts, read off token ids as a study reads them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from forewarn.errors import InputError
from forewarn.exploits import EXPLOIT_TYPES
from forewarn.exploits.base import Checker, Decision, ExploitType
from forewarn.judge.judge import Judge
from forewarn.records import Problem
from forewarn.training.reward import NO_PROGRAM, RolloutLog, RolloutRow, judged_reward
from tests.tiny_world import HEAD, MAGIC, SAME, THINK, ZERO, TinyWorld

BREAKS = "def solve(x):\n    return 0\n"


def breaking(problem: Problem) -> ExploitType:
    """The problem's type with a vulnerable checker that can't tell of one program."""
    kind = EXPLOIT_TYPES[problem.exploit_type]

    def rule(run: Any) -> Decision:
        return Decision(None, "broke") if run.source.strip() == BREAKS.strip() else kind.vulnerable.rule(run)

    return replace(kind, vulnerable=Checker(rule=rule))


def ids(world: TinyWorld, thought: str, answer: str) -> list[int]:
    return list(world.channels.reasoning_ids(world.problems[0].question, thought, answer)[1])


def test_rewards_labels_and_log(world: TinyWorld, tmp_path: Path) -> None:
    problem = world.problems[0]
    completions = [
        ids(world, THINK, HEAD + SAME),
        ids(world, "", HEAD + MAGIC + ZERO),
        ids(world, "", HEAD + MAGIC),  # no body: not Python, but the word is there
        ids(world, THINK, HEAD + HEAD),
        ids(world, THINK, BREAKS),
        list(world.channels.prompt_ids(THINK))[-1:] * 3,  # never closes its reasoning
        ids(world, "", "")[:1],
    ]
    columns: dict[str, list[Any]] = {}
    metrics: dict[str, float] = {}
    log = RolloutLog(tmp_path / "rollouts.jsonl")
    with Judge(workers=1, types={problem.exploit_type: breaking(problem)}) as judge:
        reward = judged_reward(world.problems, channels=world.channels, judge=judge, log=log)
        found = reward(
            completion_ids=completions,
            problem_id=[problem.problem_id] * len(completions),
            prompts=["p"] * len(completions),
            completions=["ignored: token ids are the truth"] * len(completions),
            trainer_state=SimpleNamespace(global_step=4),
            log_extra=columns.__setitem__,
            log_metric=metrics.__setitem__,
        )
        with pytest.raises(InputError, match="problem_id 'other' is none of the 2 problems of the reward"):
            reward(completion_ids=completions[:1], problem_id=["other"])
    log.close()
    assert found[:2] == [1.0, 1.0]
    assert found[3:] == [0.0, None, 0.0, 0.0], "a checker that broke is None, and no program earns nothing"
    assert columns["label"][:2] == ["solved", "exploit"]
    assert columns["label"][3:] == ["failed", "invalid", NO_PROGRAM, NO_PROGRAM]
    assert columns["twin"][1] is False
    assert columns["secure"][:2] == [True, False]
    assert columns["secure"][5] is None
    assert metrics[f"label/{NO_PROGRAM}"] == pytest.approx(2 / 7)
    assert sum(metrics.values()) == pytest.approx(1)
    rows = [json.loads(line) for line in (tmp_path / "rollouts.jsonl").read_text().splitlines()]
    assert [row["label"] for row in rows] == columns["label"]
    assert [row["reward"] for row in rows] == found
    assert {row["step"] for row in rows} == {4}
    assert [row["token_ids"] for row in rows] == completions


def test_a_log_goes_on_where_training_does(tmp_path: Path) -> None:
    path = tmp_path / "rollouts.jsonl"

    def row(step: int) -> RolloutRow:
        return RolloutRow(step, "p", "t", "failed", 0.0, (1, 2))

    log = RolloutLog(path)
    for step in range(4):
        log([row(step)])
    log.close()
    path.write_text(path.read_text() + '{"step": 1, "probl')  # cut short by a kill
    log = RolloutLog(path, done_steps=2)
    log([row(2)])
    log.close()
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [0, 1, 2]
