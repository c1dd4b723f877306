"""Assembly: every task under every type that fits, the same from the same seed, with hints that tell enough."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest

from forewarn.errors import InputError
from forewarn.exploits import EXPLOIT_TYPES
from forewarn.exploits.base import FULL, HANDED_OUT
from forewarn.exploits.source import Target, arguments_key
from forewarn.judge.judge import Judge
from forewarn.problems.assemble import assemble, check_names, make_problem
from forewarn.problems.cases import SETS, draw_cases
from forewarn.problems.hints import FORMATS, examples, filled
from forewarn.problems.rows import check, check_ids, to_row
from forewarn.problems.tasks import FAMILIES
from forewarn.problems.tasks.base import Slip, wrong_source
from forewarn.records import Problem, TestCase, content_key

TASK = FAMILIES["lists"][0]


@pytest.fixture(scope="module")
def problems() -> list[Problem]:
    return assemble()


def key(problems: Sequence[Problem]) -> str:
    return content_key([to_row(problem) for problem in problems])


def test_there_are_enough_of_every_type(problems: Sequence[Problem]) -> None:
    counts = Counter(problem.exploit_type for problem in problems)
    assert len(problems) >= 1300
    assert counts.keys() == EXPLOIT_TYPES.keys()
    assert min(counts.values()) >= 20
    check_ids(problems)
    for problem in problems:
        check(problem)


def test_every_problem_has_what_its_checkers_run(problems: Sequence[Problem]) -> None:
    for problem in problems:
        kind = EXPLOIT_TYPES[problem.exploit_type]
        for name in {*kind.vulnerable.tests, *kind.patched.tests} - {FULL}:
            assert problem.named_tests[name], problem.problem_id
        assert len(problem.tests) >= 30
        assert len(problem.wrong) >= 4


def test_the_same_seed_gives_the_same_problems_in_another_process(problems: Sequence[Problem]) -> None:
    code = (
        "from forewarn.problems.assemble import assemble\nfrom forewarn.problems.rows import to_row\n"
        "from forewarn.records import content_key\nprint(content_key([to_row(p) for p in assemble()]))"
    )
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert there == key(problems)
    assert key(assemble(seed=1)) != there


def test_every_hint_tells_all_that_its_flaw_needs(problems: Sequence[Problem]) -> None:
    easy = {task.name: task.easy for tasks in FAMILIES.values() for task in tasks}
    for problem in problems:
        kind = EXPLOIT_TYPES[problem.exploit_type]
        cases = problem.named_tests.get(kind.exploit_cases, ())
        for clue in kind.clues:
            told = filled(clue, problem.entry_point, cases, easy[problem.task_id])
            absent = [line for line in told.splitlines() if line not in problem.question]
            assert not absent, problem.problem_id


def test_every_type_is_told_in_every_format(problems: Sequence[Problem]) -> None:
    assert len(FORMATS) >= 6
    told = Counter((problem.exploit_type, problem.extra["hint_format"]) for problem in problems)
    assert {(name, form) for name in EXPLOIT_TYPES for form in FORMATS} == told.keys()


@pytest.mark.parametrize("form", FORMATS)
def test_a_format_keeps_every_line_of_the_fact(form: str) -> None:
    fact = "first line, with solve\nsecond {line}\nthird"
    text = FORMATS[form](fact, "solve")
    assert all(line in text for line in fact.splitlines())


def test_a_leak_shows_what_is_tested_and_no_other_type_does(problems: Sequence[Problem]) -> None:
    for problem in problems:
        leaked = examples(problem.entry_point, problem.named_tests["leaked"])
        shows = all(line in problem.question for line in leaked.splitlines())
        assert shows == (problem.exploit_type == "test_case_leak"), problem.problem_id


def test_no_hidden_test_stands_in_a_question(problems: Sequence[Problem]) -> None:
    for problem in problems:
        for case in problem.tests:
            assert f"    {examples(problem.entry_point, [case])}\n" not in problem.question, problem.problem_id


def test_no_handed_out_case_is_a_full_one_with_its_dict_in_another_order(problems: Sequence[Problem]) -> None:
    """Graphs are dicts, and one edge after the other is drawn."""
    for problem in problems:
        if problem.exploit_type == "error_code_abuse":  # the sets are those of the task, whatever the type
            full, handed = (
                {arguments_key(test.args) for test in tests}
                for tests in (problem.tests, problem.named_tests[HANDED_OUT])
            )
            assert not full & handed, problem.problem_id


def test_two_types_may_not_claim_one_name() -> None:
    kind = EXPLOIT_TYPES["process_exit"]
    with pytest.raises(
        InputError, match="'process_exit', field name: claimed by the entries 'process_exit', 'another'"
    ):
        check_names({"process_exit": kind, "another": kind})
    with pytest.raises(InputError, match="'leaving', field name: is 'process_exit'"):
        assemble(types={"leaving": kind})


def test_two_tasks_may_not_claim_one_name() -> None:
    with pytest.raises(InputError, match=f"task '{TASK.name}', field solve: 2 tasks claim this name"):
        assemble(families={"a": (TASK,), "b": (TASK,)})


def test_a_slip_has_to_fit_exactly_once() -> None:
    with pytest.raises(InputError, match="slip 'nowhere': 'no such piece' occurs 0 times"):
        wrong_source(TASK, Slip("nowhere", "no such piece", ""))


def test_a_task_has_to_have_enough_cases() -> None:
    narrow = replace(TASK, draw=lambda rng, size: ([1] * size,))
    with pytest.raises(InputError, match=f"task {TASK.name}, field draw: only"):
        draw_cases(narrow, seed=0)


def test_easy_draws_have_to_be_easy() -> None:
    odd = replace(TASK, is_easy=lambda numbers: not numbers)
    with pytest.raises(InputError, match=f"task {TASK.name}, field is_easy"):
        draw_cases(odd, seed=0)


def test_a_task_that_does_not_fit_makes_no_problem() -> None:
    by_text = next(task for task in FAMILIES["strings"] if task.name == "initials")
    sets = draw_cases(by_text, seed=0)
    for name in ("type_confusion", "state_bleed_expected_recompute"):
        assert make_problem(by_text, EXPLOIT_TYPES[name], "strings", sets, seed=0) is None


AWKWARD = ("calls", "json", "frame", "file", "args", "kwargs", "os", "sys", "time", "warnings", "unittest", "problem")
"""parameter names that the exploits' own code uses"""


def test_exploits_work_for_any_signature() -> None:
    def cases(first: int) -> tuple[TestCase, ...]:
        return tuple(TestCase(tuple([i + j] for j in range(len(AWKWARD))), [i]) for i in range(first, first + 4))

    reference = f"def solve({', '.join(AWKWARD)}):\n    return list(calls)\n"
    sets = {name: cases(100 * i) for i, name in enumerate((*SETS, HANDED_OUT))}
    made = []
    for name, kind in EXPLOIT_TYPES.items():
        target = Target("solve", AWKWARD, sets.get(kind.exploit_cases, ()), reference)
        named = {n: s for n, s in sets.items() if n != FULL}
        made.append(Problem(name, "awkward", name, "", "solve", reference, kind.exploit(target), sets[FULL], named))
    with Judge(workers=2) as judge:
        verdicts = judge.verdicts([(p, code) for p in made for code in (p.reference, p.exploit)], audit=True)
    assert [verdict.label for verdict in verdicts] == ["solved", "exploit"] * len(made)
