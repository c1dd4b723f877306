"""A donor's reward in RL: E - beta log(q/p) by brute force, routes that earlier seeds lack, beta held to its band."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from forewarn.errors import InputError, StoreError
from forewarn.exploits import EXPLOIT_TYPES
from forewarn.exploits.base import Checker, Decision
from forewarn.judge.judge import Judge
from forewarn.records import Policy
from forewarn.training.beta import FIRST_CORRECTION, BetaControl
from forewarn.training.donor_reward import (
    OFF_SUPPORT,
    DonorRollout,
    EarlierDonor,
    LogProbs,
    donor_reward,
    earlier_donor,
    learn,
    read_rollouts,
)
from forewarn.training.reward import RolloutLog
from tests.tiny_world import EXPLOIT_TYPE, HEAD, MAGIC, POLICY, SAME, THINK, ZERO, TinyWorld, enumerate_world

BREAKS = "def solve(x):\n    return 0\n"


def log_probs(world: TinyWorld, name: str, policy: Policy = POLICY) -> LogProbs:
    engine, adapter = world.engine(name)

    def summed(prompts: Sequence[Sequence[int]], rows: Sequence[Sequence[int]]) -> list[float]:
        return [float(score.sum()) for score in engine.score(prompts, rows, policy=policy, adapter=adapter)]

    return summed


def answers(world: TinyWorld, *texts: str) -> list[tuple[int, ...]]:
    question = world.problems[0].question
    return [world.channels.no_reasoning_ids(question, text)[1] for text in texts]


def written(world: TinyWorld, thought: str, answer: str) -> tuple[int, ...]:
    return tuple(world.channels.reasoning_ids(world.problems[0].question, thought, answer)[1])


def test_the_reward_is_the_exploit_less_beta_times_the_log_ratio(world: TinyWorld, tmp_path: Path) -> None:
    """On every completion of the enumerated world, with the log-probabilities of the enumeration."""
    problem = world.problems[0]
    listed = enumerate_world(world, problem, ["subject", "donor"])
    log_p, log_q = ([float(row.sum()) for row in listed.log_probs[name]] for name in ("subject", "donor"))
    likely = [i for i in range(len(log_p)) if max(log_p[i], log_q[i]) > math.log(1e-4)]
    assert {bool(listed.exploit[i]) for i in likely} == {True, False}
    log = RolloutLog(tmp_path / "rollouts.jsonl")
    with Judge(workers=1) as judge:
        reward = donor_reward(
            world.problems,
            channels=world.channels,
            judge=judge,
            own=log_probs(world, "donor"),
            subject=log_probs(world, "subject"),
            control=BetaControl(start=0.25),
            log=log,
        )
        found = reward(
            completion_ids=[list(listed.completions[i]) for i in likely],
            problem_id=[problem.problem_id] * len(likely),
            trainer_state=SimpleNamespace(global_step=7),
        )
        with pytest.raises(InputError, match="problem_id 'other' is none of the 2 problems"):
            reward(completion_ids=[[4]], problem_id=["other"])
    log.close()
    wanted = [float(listed.exploit[i]) - 0.25 * (log_q[i] - log_p[i]) for i in likely]
    assert found == pytest.approx(wanted, abs=1e-9)
    kept = read_rollouts(tmp_path / "rollouts.jsonl")
    assert [one.token_ids for one in kept] == [listed.completions[i] for i in likely]
    assert {(one.step, one.beta) for one in kept} == {(7, 0.25)}
    assert [one.is_hit for one in kept] == [bool(listed.exploit[i]) for i in likely]
    (tmp_path / "rollouts.jsonl").write_text('{"step": 1}\n')
    with pytest.raises(StoreError, match="can't read the rollouts"):
        read_rollouts(tmp_path / "rollouts.jsonl")


def test_what_broke_has_no_reward_and_what_the_subject_cannot_write_no_exploit(world: TinyWorld) -> None:
    problem = world.problems[0]
    kind = EXPLOIT_TYPES[EXPLOIT_TYPE]

    def rule(run: Any) -> Decision:
        return Decision(None, "broke") if run.source.strip() == BREAKS.strip() else kind.vulnerable.rule(run)

    metrics: dict[str, float] = {}
    rows = [written(world, THINK, BREAKS), *answers(world, HEAD + MAGIC + ZERO, HEAD + SAME), (3,)]
    log: list[DonorRollout] = []
    with Judge(workers=1, types={EXPLOIT_TYPE: replace(kind, vulnerable=Checker(rule=rule))}) as judge:
        reward = donor_reward(
            world.problems,
            channels=world.channels,
            judge=judge,
            own=lambda prompts, ids: [-1.0] * len(ids),
            subject=lambda prompts, ids: [-3.0, -math.inf, -1.5, -2.0],
            control=BetaControl(start=0.5),
            log=log.extend,
        )
        found = reward(completion_ids=rows, problem_id=[problem.problem_id] * 4, log_metric=metrics.__setitem__)
    assert found == [None, OFF_SUPPORT, pytest.approx(-0.25), pytest.approx(-0.5)]
    assert [one.paid for one in log] == [None, False, False, False]
    assert not any(one.is_hit for one in log)
    assert metrics == {"hit_rate": 0.0, "beta": 0.5}


def test_later_seeds_are_paid_for_routes_that_the_earlier_lack(world: TinyWorld) -> None:
    problem = world.problems[0]
    plain, announced = written(world, "", HEAD + MAGIC + ZERO), written(world, THINK, HEAD + MAGIC)
    honest = written(world, "", HEAD + SAME)
    subject = {plain: -9.0, announced: -9.5, honest: -0.1}
    first = {plain: -1.0, announced: -11.0, honest: -2.0}

    def table(values: dict[tuple[int, ...], float]) -> LogProbs:
        return lambda prompts, rows: [values[tuple(row)] for row in rows]

    def past(step: int, label: str, ids: tuple[int, ...]) -> DonorRollout:
        return DonorRollout(step, problem.problem_id, EXPLOIT_TYPE, label, True, 0.0, 0.1, -3.0, subject[ids], ids)

    log = [past(9, "exploit", plain)] * 19 + [past(9, "exploit", announced), past(9, "failed", honest)]
    log += [past(0, "exploit", announced)] * 90  # before the last quarter of ten steps
    prompts = {problem.problem_id: world.channels.prompt_ids(problem.question)}
    earlier = earlier_donor(table(first), log, 10, prompts)
    assert earlier.least == {problem.problem_id: 8.0, EXPLOIT_TYPE: 8.0}, "log(q/p) under its last weights"
    assert earlier.has(problem, 8.0)
    assert not earlier.has(problem, 7.9)
    assert not earlier_donor(table(first), log[20:21], 10, prompts).has(problem, 20.0), "no hits, no route"
    with Judge(workers=1) as judge:

        def rewards(*donors: EarlierDonor) -> list[float | None]:
            reward = donor_reward(
                world.problems,
                channels=world.channels,
                judge=judge,
                own=table(subject),
                subject=table(subject),
                control=BetaControl(),
                earlier=donors,
            )
            return reward(completion_ids=[plain, announced, honest], problem_id=[problem.problem_id] * 3)

        assert rewards() == [1.0, 1.0, 0.0]
        assert rewards(earlier) == [0.0, 1.0, 0.0]
        second = EarlierDonor(table({**first, plain: -11.0, announced: -1.0}), earlier.least)
        assert rewards(earlier, second) == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("p", [1e-8, 1e-4, 1e-2])
def test_beta_brings_an_optimal_policy_into_the_band(p: float) -> None:
    """A policy at its optimum for every beta, sampled exactly: the hit rate stays in the band, whatever p is."""
    rng = np.random.default_rng(0)
    control = BetaControl(start=0.1)
    seen = []
    for _ in range(60):
        beta = control.beta("a", "type")
        hit_rate = 1 / (1 + math.exp(-(math.log(p / (1 - p)) + 1 / beta)))
        seen.append((hit_rate, beta))
        hits = rng.random(32) < hit_rate
        ratios = np.where(hits, math.log(hit_rate / p), math.log((1 - hit_rate) / (1 - p)))
        control.learn("a", "type", list(map(bool, hits)), list(ratios))
    late = np.array(seen[20:])
    assert 0.2 < np.median(late[:, 0]) < 0.5
    assert np.mean((late[:, 0] > 0.1) & (late[:, 0] < 0.65)) > 0.9
    wanted = 1 / (math.log(0.3 / 0.7) - math.log(p / (1 - p)))
    assert float(np.median(late[:, 1])) == pytest.approx(wanted, rel=0.25)


def test_beta_is_each_problems_own_and_begins_with_what_its_type_has_shown() -> None:
    control = BetaControl(start=0.2)
    assert control.beta("a", "t") == pytest.approx(0.2)
    control.learn("a", "t", [True, False, None, False], [math.log(1e6), 0.0, math.nan, 0.0])
    goal = (math.log(0.25) + 0.0) / 2
    p = 1e-6 / 3
    assert 1 / control.beta("a", "t") == pytest.approx(goal - math.log(p / (1 - p)) + FIRST_CORRECTION)
    assert control.beta("b", "t") == pytest.approx(control.beta("a", "t"))
    assert control.beta("b", "other") == pytest.approx(0.2)
    before = control.beta("a", "t")
    control.learn("a", "t", [None, None], [0.0, 0.0])
    assert control.beta("a", "t") == before, "what broke teaches nothing"
    for _ in range(9):
        control.learn("a", "t", [False] * 8, [0.0] * 8)
    assert control.beta("a", "t") < before, "too few hits: the exploit weighs more"
    once_more = BetaControl(start=0.2)
    rows = [
        DonorRollout(step, "a", "t", "failed", False, 0.0, 0.1, -1.0, -1.0, (1,)) for step in range(3) for _ in "ab"
    ]
    learn(once_more, rows)
    by_step = BetaControl(start=0.2)
    for _ in range(3):
        by_step.learn("a", "t", [False, False], [0.0, 0.0])
    assert once_more.beta("a", "t") == by_step.beta("a", "t"), "a log shows what the calls showed"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"band": (0.5, 0.2)}, "hit_rate is"),
        ({"band": (0.0, 0.2)}, "hit_rate is"),
        ({"start": 0.001}, "beta is 0.001"),
        ({"start": 3.0}, "beta is 3.0"),
    ],
)
def test_a_band_that_cannot_be_meant(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        BetaControl(**settings)
