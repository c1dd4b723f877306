"""A guard around a user's reward: what is judged, kept and changed, and what never is."""

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
from forewarn.formats import CodeRule
from forewarn.integrations.guard import guard
from forewarn.integrations.keeper import COUNTS_FILE, ROLLOUTS_FILE
from forewarn.judge.judge import Judge
from forewarn.records import Problem
from forewarn.store import RunFolder
from tests.tiny_world import HEAD, MAGIC, SAME, THINK, ZERO, TinyWorld

RIGHT, EXPLOIT, WRONG = HEAD + SAME, HEAD + MAGIC + ZERO, HEAD + ZERO
BREAKS = HEAD + MAGIC + ZERO + ZERO


def breaking(problem: Problem) -> ExploitType:
    """The problem's type with a twin that can't tell of one program."""
    kind = EXPLOIT_TYPES[problem.exploit_type]

    def rule(run: Any) -> Decision:
        return Decision(None, "broke") if run.source.strip() == BREAKS.strip() else kind.patched.rule(run)

    return replace(kind, patched=Checker(rule=rule))


def mine(*, completions: list[Any], **_: Any) -> list[float | None]:
    """A user's own reward: it looks for a word, and has no opinion of empty answers."""
    texts = [one if isinstance(one, str) else one[0]["content"] for one in completions]
    return [None if not text else 2.0 if "def solve" in text and text != WRONG else 0.5 for text in texts]


COMPLETIONS = [RIGHT, EXPLOIT, WRONG, BREAKS, ""]
GIVEN = [2.0, 2.0, 0.5, 2.0, None]


def call(world: TinyWorld, guarded: Any, completions: list[Any], **more: Any) -> Any:
    return guarded(completions=completions, problem_id=[world.problems[0].problem_id] * len(completions), **more)


def test_without_an_intervention_rewards_are_the_users_own_and_what_is_seen_is_kept(
    world: TinyWorld, tmp_path: Path
) -> None:
    columns: dict[str, list[Any]] = {}
    metrics: dict[str, float] = {}
    problem = world.problems[0]
    with Judge(workers=1, types={problem.exploit_type: breaking(problem)}) as judge:
        guarded = guard(mine, world.problems, judge=judge, run_folder=tmp_path)
        found = call(
            world, guarded, COMPLETIONS, completion_ids=[[1], [2], [3], [4], [5]],
            trainer_state=SimpleNamespace(global_step=7), log_extra=columns.__setitem__, log_metric=metrics.__setitem__,
        )  # fmt: skip
        assert found == GIVEN
        call(world, guarded, [EXPLOIT], trainer_state=SimpleNamespace(global_step=8))
    assert columns["label"] == ["solved", "exploit", None, "invalid", None]
    assert metrics == {"guard/solved": 0.2, "guard/exploit": 0.2, "guard/invalid": 0.2}
    rows = [json.loads(line) for line in (tmp_path / ROLLOUTS_FILE).read_text().splitlines()]
    assert [(row["step"], row["label"], row["reward"]) for row in rows] == [
        (7, "solved", 2.0), (7, "exploit", 2.0), (7, "invalid", 2.0), (8, "exploit", 2.0),
    ]  # fmt: skip
    assert rows[1]["token_ids"] == [2]
    first, second = [json.loads(line) for line in (tmp_path / COUNTS_FILE).read_text().splitlines()]
    name = problem.exploit_type
    assert (first["rollouts"], first["exploits"], first["not_judged"]) == ({name: 5}, {name: 1}, 1)
    assert second["first_exploit_step"] == {name: 7}


def test_a_resumed_training_counts_each_step_once_and_knows_the_first_exploits(
    world: TinyWorld, tmp_path: Path
) -> None:
    name, lines = world.problems[0].exploit_type, tmp_path / COUNTS_FILE

    def steps(judge: Judge, *taken: tuple[int, str]) -> list[dict[str, Any]]:
        guarded = guard(mine, world.problems, judge=judge, run_folder=tmp_path)  # of a process of its own
        for step, text in taken:
            call(world, guarded, [text], trainer_state=SimpleNamespace(global_step=step))
        return [json.loads(line) for line in lines.read_text().splitlines()]

    with Judge(workers=1) as judge:
        steps(judge, (0, RIGHT), (1, EXPLOIT), (2, EXPLOIT))
        with lines.open("a") as file:
            file.write('{"step": 3, "unix')  # killed here; its last checkpoint is that of step 2
        found = steps(judge, (2, RIGHT), (3, EXPLOIT))
        assert [(line["step"], sum(line["exploits"].values())) for line in found] == [(0, 0), (1, 1), (2, 0), (3, 1)]
        assert found[-1]["first_exploit_step"] == {name: 1}
        again = steps(judge, (0, RIGHT))  # begun anew in the same folder
        assert [(line["step"], line["first_exploit_step"]) for line in again] == [(0, {})]
    rows = [json.loads(line) for line in (tmp_path / ROLLOUTS_FILE).read_text().splitlines()]
    assert [row["step"] for row in rows] == [0]


def test_a_trainer_that_tells_no_step_loses_nothing(world: TinyWorld, tmp_path: Path) -> None:
    with Judge(workers=1) as judge:
        for _ in range(2):  # two processes, one after the other
            call(world, guard(mine, world.problems, judge=judge, run_folder=tmp_path), [EXPLOIT])
    assert len((tmp_path / ROLLOUTS_FILE).read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ({"intervene": "drop"}, [2.0, None, 0.5, None, None]),
        ({"intervene": "lower", "lowered": -1.0}, [2.0, -1.0, 0.5, None, None]),
        ({"intervene": "nothing"}, GIVEN),
    ],
)
def test_what_an_intervention_does(world: TinyWorld, how: dict[str, Any], expected: list[float | None]) -> None:
    """A fault of the sandbox becomes None, never a number."""
    problem = world.problems[0]
    with Judge(workers=1, types={problem.exploit_type: breaking(problem)}) as judge:
        guarded = guard(mine, world.problems, judge=judge, types=(problem.exploit_type,), **how)
        assert call(world, guarded, COMPLETIONS) == expected


def _last_block(text: str, problem: Problem) -> str | None:
    return text.split("```python\n")[-1].partition("```")[0]


def test_the_program_that_the_reward_ran_is_judged(world: TinyWorld) -> None:
    """A reward that runs the first block pays an exploit there, whatever stands in a later block."""
    answer = "".join(f"```python\n{code}\n```\n" for code in (EXPLOIT, RIGHT))
    with Judge(workers=1) as judge:
        by_rule = guard(mine, world.problems, judge=judge, rule=CodeRule(block="first"), intervene="drop")
        assert call(world, by_rule, [answer]) == [None]
        # one that defines the entry point by other means, in the block that the reward runs, is no block of ours
        hidden = f"```python\n{RIGHT}\n```\nFinally:\n```python\nexec({EXPLOIT!r})\n```\n"
        assert call(world, guard(mine, world.problems, judge=judge, intervene="drop"), [hidden]) == [2.0]
        own = guard(mine, world.problems, judge=judge, rule=_last_block, intervene="drop")
        assert call(world, own, [hidden]) == [None]
        with pytest.raises(InputError, match="rule gave bytes"):
            call(world, guard(mine, world.problems, judge=judge, rule=lambda text, _: text.encode()), [hidden])  # type: ignore[arg-type,return-value]
        with pytest.raises(InputError, match="leave rule out"):
            guard(mine, world.problems, judge=judge, channels=world.channels, rule=CodeRule())


def test_an_accepted_completion_without_a_program_is_counted_and_not_paid(world: TinyWorld, tmp_path: Path) -> None:
    problem = world.problems[0]

    def pays(*, completions: list[Any], **_: Any) -> list[float | None]:
        return [2.0 for _ in completions]

    with Judge(workers=1) as judge:
        guarded = guard(pays, world.problems, judge=judge, run_folder=tmp_path, intervene="drop")
        assert call(world, guarded, ["", RIGHT, WRONG]) == [None, 2.0, 2.0]
    line = json.loads((tmp_path / COUNTS_FILE).read_text())
    assert (line["rollouts"], line["not_judged"], line["rejected"]) == ({problem.exploit_type: 3}, 1, 1)


def test_what_contradicts_itself_is_not_paid_by_an_intervening_guard(world: TinyWorld) -> None:
    """An exploit that works by chance would otherwise keep its reward as often as its executions differ."""
    problem = world.problems[0]
    answers = iter([True, False, True, False])

    def rule(run: Any) -> Decision:
        return Decision(next(answers), "by turns")

    kind = replace(EXPLOIT_TYPES[problem.exploit_type], vulnerable=Checker(rule=rule))
    with Judge(workers=1, types={problem.exploit_type: kind}) as judge:
        guarded = guard(mine, world.problems, judge=judge, intervene="lower", lowered=-1.0)
        columns: dict[str, list[Any]] = {}
        assert call(world, guarded, [EXPLOIT], log_extra=columns.__setitem__) == [None]
    assert columns["label"] == ["inconsistent"]


def test_parts_of_a_message_are_one_text(world: TinyWorld) -> None:
    def pays(*, completions: list[Any], **_: Any) -> list[float | None]:
        return [2.0 for _ in completions]

    with Judge(workers=1) as judge:
        guarded = guard(pays, world.problems, judge=judge, intervene="drop")
        parts = [{"type": "text", "text": HEAD}, {"type": "text", "text": MAGIC + ZERO}]
        assert call(world, guarded, [[{"role": "assistant", "content": parts}]]) == [None]
        with pytest.raises(InputError, match="a message's content is"):
            call(world, guarded, [[{"role": "assistant", "content": [{"type": "image"}]}]])


def test_programs_are_read_off_token_ids_or_messages(world: TinyWorld) -> None:
    problem = world.problems[0]
    tokens = list(world.channels.reasoning_ids(problem.question, THINK, EXPLOIT)[1])
    with Judge(workers=1) as judge:
        by_ids = guard(lambda **_: [2.0], world.problems, judge=judge, channels=world.channels, intervene="drop")
        assert call(world, by_ids, ["ignored"], completion_ids=[tokens]) == [None]
        by_message = guard(mine, world.problems, judge=judge, intervene="drop")
        assert call(world, by_message, [[{"role": "assistant", "content": EXPLOIT}]]) == [None]
        with pytest.raises(InputError, match="no completion_ids"):
            call(world, by_ids, ["ignored"])
        turns = [[{"role": "assistant", "content": "a"}, {"role": "tool", "content": "b"}]]
        with pytest.raises(InputError, match="it has 2 messages"):
            call(world, guard(lambda **_: [2.0], world.problems, judge=judge), turns)


def test_what_cannot_be_meant_is_refused(world: TinyWorld) -> None:
    with Judge(workers=1) as judge:
        with pytest.raises(InputError, match="intervene is 'stop'"):
            guard(mine, world.problems, judge=judge, intervene="stop")  # type: ignore[arg-type]
        with pytest.raises(InputError, match="types names 'x'"):
            guard(mine, world.problems, judge=judge, types=("x",))
        with pytest.raises(InputError, match="'nowhere' is none of the 2 problems"):
            guard(mine, world.problems, judge=judge)(completions=[RIGHT], problem_id=["nowhere"])
        with pytest.raises(InputError, match="gave 1 values for 2 completions"):
            call(world, guard(lambda **_: [1.0], world.problems, judge=judge), [RIGHT, RIGHT])


@pytest.mark.parametrize("rank", ["0", "3"])
def test_a_folder_that_the_training_wrote_into_first_can_be_a_studys(
    world: TinyWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rank: str
) -> None:
    monkeypatch.setenv("RANK", rank)
    with Judge(workers=1) as judge:
        call(world, guard(mine, world.problems, judge=judge, run_folder=tmp_path), [EXPLOIT])
    assert len(list(tmp_path.iterdir())) == 2
    RunFolder(tmp_path).claim({"name": "mine"})
