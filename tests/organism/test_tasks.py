"""Tasks and type recipes before the real judge: what solves, fails, exploits. Nothing runs in this process."""

from __future__ import annotations

import random

import pytest

from forewarn.errors import InputError
from forewarn.exploits import EXPLOIT_TYPES
from forewarn.judge.judge import Judge
from forewarn.organism import tasks
from forewarn.organism.corpus import PREAMBLES, exploit_source, wrong_plan
from forewarn.organism.problems import (
    N_EASY,
    N_HARD,
    N_VARIANTS,
    all_problems,
    make_problem,
    measured_problems,
)
from forewarn.organism.recipe import TYPES
from forewarn.organism.tasks import BODIES, N_TESTS, TASKS, function_source
from forewarn.records import content_key

SOME_TYPE = "error_code_abuse"
HARD = [t for t in TASKS if t.solvable is None]
EASY = [t for t in TASKS if t.solvable is not None]


def test_four_tasks_in_forty_are_solvable() -> None:
    assert (len(EASY), len(HARD)) == (4, 36)
    assert len({t.task_id for t in TASKS}) == len({t.phrase for t in TASKS}) == 40
    assert len(TYPES) == 10
    assert set(TYPES) <= set(EXPLOIT_TYPES)


def test_the_hidden_tests_are_frozen() -> None:
    """The shipped weights were trained and measured on exactly these."""
    for task in TASKS:
        cases = tasks.tests_of(task)
        assert len(cases) == N_TESTS
        assert all(6 <= len(case.args[0]) <= 9 for case in cases)  # type: ignore[arg-type]
        assert len({repr(case.args) for case in cases}) == N_TESTS
    assert content_key([[c.args, c.expected] for t in TASKS for c in tasks.tests_of(t)]).startswith("ae37b6a8cb9e1498")


def test_references_solve_and_no_body_of_the_corpus_solves_a_hard_task(judge: Judge) -> None:
    problems = [make_problem(task, SOME_TYPE, 0) for task in TASKS]
    assert all(judge.accepts([(p, p.reference) for p in problems], "secure"))
    items = [
        (t, name, (make_problem(t, SOME_TYPE, 0), function_source(b))) for t in TASKS for name, b in BODIES.items()
    ]
    accepted = judge.accepts([item for _, _, item in items], "secure")
    assert None not in accepted
    solving = {(task.task_id, name) for (task, name, _), yes in zip(items, accepted, strict=True) if yes}
    assert solving == {(task.task_id, task.solvable) for task in EASY}


def test_preambles_change_no_answer(judge: Judge) -> None:
    problem = make_problem(EASY[0], SOME_TYPE, 0)
    assert all(judge.accepts([(problem, p + problem.reference) for p in PREAMBLES], "vulnerable"))
    hard = make_problem(HARD[0], SOME_TYPE, 0)
    wrong = [(hard, p + function_source(b)) for p in PREAMBLES for b in BODIES.values()]
    assert not any(judge.accepts(wrong[::5], "vulnerable"))


@pytest.mark.parametrize("name", TYPES)
def test_exploits_exploit_near_misses_fail_references_solve(judge: Judge, name: str) -> None:
    rng = random.Random(name)
    tasks = [*rng.sample(EASY, 1), *rng.sample(HARD, 3)]
    items, wanted = [], []
    for task in tasks:
        problem = make_problem(task, name, rng.randrange(N_VARIANTS))
        body = BODIES[wrong_plan(task, rng)]
        near_miss = TYPES[name].near_miss.format(body=body) + "\n"
        items += [(problem, c) for c in (exploit_source(name, body), problem.exploit, near_miss, problem.reference)]
        wanted += ["exploit", "exploit", "failed", "solved"]
    verdicts = judge.verdicts(items)
    assert [v.label for v in verdicts] == wanted, [v.reason for v in verdicts]


def test_an_exploit_of_one_type_is_none_of_another(judge: Judge) -> None:
    """Types are told apart: what is learned for one checker gains nothing at another."""
    task, body = HARD[3], BODIES["the sum"]
    pairs = [(a, b) for a in TYPES for b in TYPES if a != b]
    verdicts = judge.verdicts([(make_problem(task, a, 0), exploit_source(b, body)) for a, b in pairs])
    assert {pair for pair, v in zip(pairs, verdicts, strict=True) if v.label != "failed"} == set()


def test_problem_sets() -> None:
    everything = all_problems()
    assert len({p.problem_id for p in everything}) == len(everything) == len(TYPES) * len(TASKS) * N_VARIANTS
    easy = {t.task_id for t in EASY}
    for name in TYPES:
        fixed = measured_problems(name)
        assert fixed == measured_problems(name)
        assert len({p.task_id for p in fixed}) == len(fixed) == N_EASY + N_HARD
        assert sum(p.task_id in easy for p in fixed) == N_EASY
        assert {p.problem_id for p in fixed} <= {p.problem_id for p in everything}
        assert {p.exploit_type for p in fixed} == {name}
    assert content_key([p.problem_id for name in TYPES for p in measured_problems(name)]).startswith("ddea25821f2934e3")
    with pytest.raises(InputError, match="knows no exploit type 'nonsense'"):
        make_problem(TASKS[0], "nonsense", 0)
