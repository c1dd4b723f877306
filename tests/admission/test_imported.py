"""Both ways to judge an imported problem, the check of an import, and the real files where this machine has them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from forewarn.admission.check_imported import Checked, check
from forewarn.admission.imported import by_our_pair, by_own_verifier, distinct
from forewarn.errors import InputError
from forewarn.exploits.base import HANDED_OUT
from forewarn.judge.judge import Judge
from forewarn.problems.djinn.files import load
from forewarn.problems.djinn.row import from_row
from forewarn.records import Problem
from forewarn.report.import_tables import all_tables
from forewarn.sandbox.levels import works
from tests.problems.djinn_samples import EXITING, FILED, LATER, ROWS, SHARED, SKIPPING

PROBLEMS = [from_row(row, "sample") for row in ROWS]
PROBLEMS[2] = replace(PROBLEMS[2], wrong=(*PROBLEMS[2].wrong, PROBLEMS[2].reference))
"""a defect: one of its nulls is right"""


@pytest.fixture(scope="module")
def checked() -> list[Checked]:
    if works("strict", 512):
        pytest.skip("isolation level strict does not work here")
    return check(PROBLEMS, workers=1, level="strict")


def labels(checked: list[Checked], way: str) -> dict[str, list[str]]:
    return {item.problem_id: [v.label for v in item.verdicts.values()] for item in checked if item.way == way}


def test_by_their_own_verifiers(checked: list[Checked]) -> None:
    assert labels(checked, "own verifier") == {
        "wet_week": ["solved", "exploit", "failed", "failed"],
        "clamped": ["solved", "exploit", "failed", "failed"],
        "teams": ["solved", "exploit", "failed", "solved"],
        "cubes": [],
    }


def test_by_our_pairs(checked: list[Checked]) -> None:
    assert labels(checked, "our pair") == {
        "wet_week": ["solved", "exploit", "failed", "failed"],
        "clamped": ["solved", "exploit", "failed", "failed"],
        "teams": [],
        "cubes": ["solved", "exploit", "failed"],
    }


def test_what_deviates_is_named(checked: list[Checked]) -> None:
    assert {(item.problem_id, item.way): list(item.deviations) for item in checked if item.deviations} == {
        ("teams", "own verifier"): ["null 1"]
    }
    reasons = {(item.problem_id, item.way): item.why_not for item in checked if item.why_not}
    assert set(reasons) == {("cubes", "own verifier"), ("teams", "our pair")}
    assert "field insecure_verifier: is missing" in reasons["cubes", "own verifier"]
    assert "'a_type_of_their_own' is not one of our types" in reasons["teams", "our pair"]
    counts, deviations, our_counts, our_deviations = all_tables(checked)
    assert counts.rows[-1] == ("all", "4", "3", "3 of 3", "3 of 3", "5 of 6")
    assert our_counts.rows[-1] == ("all", "4", "3", "3 of 3", "3 of 3", "5 of 5")
    assert [row[:4] for row in deviations.rows] == [
        ("teams", "a_type_of_their_own", "null 1", "solved"),
        ("cubes", "hardcoding_or_memorization", "all", "not judged"),
    ]
    assert [row[:4] for row in our_deviations.rows] == [("teams", "a_type_of_their_own", "all", "not judged")]


def test_a_weak_type_without_cases_for_it_is_named() -> None:
    one = from_row({**LATER, "insecure_test_cases": None, "test_cases": [[1, 1]]}, "sample")
    with pytest.raises(InputError, match=r"runs a test set 'hardcoded', for which the problem has no cases"):
        by_our_pair(one)


def test_a_type_that_does_not_fit_is_named() -> None:
    text = from_row({**LATER, "exploit_type": "type_confusion", "test_cases": [[1, "a"], [2, "b"]]}, "sample")
    with pytest.raises(InputError, match=r"type_confusion does not fit this task"):
        by_our_pair(text)


def test_types_are_shared_or_apart() -> None:
    exiting, skipping = (by_our_pair(problem) for problem in PROBLEMS[:2])
    again = by_our_pair(replace(PROBLEMS[1], problem_id="other"))
    assert len(distinct([exiting, skipping, again])) == 2
    with pytest.raises(InputError, match="two types are named"):
        distinct([by_own_verifier(PROBLEMS[0]), by_own_verifier(_with_verifier("def verify(code): return True"))])


def _with_verifier(source: str) -> Problem:
    return from_row({**SKIPPING, "insecure_verifier": source}, "sample")


def test_an_expected_status_counts_as_the_verifiers_yes() -> None:
    row = {
        **EXITING,
        "exploit_expected_status": "timed_out",
        "insecure_verifier": "def verify(code): return 'timed_out'",
    }
    item = by_own_verifier(from_row(row, "sample"))
    with Judge(workers=1, types=item.types) as judge:
        assert judge.verdicts([(item.problem, EXITING["nulls"][0])])[0].label == "exploit"


def test_order_and_sequences_are_forgiven_as_the_problem_says() -> None:
    strict = from_row({**FILED, "order_dependent": True}, "sample")
    with Judge(workers=1, types=by_own_verifier(strict).types) as judge:
        assert judge.accepts([(by_own_verifier(strict).problem, strict.reference)], "secure") == [False]
    assert by_own_verifier(strict).problem.problem_id == strict.problem_id


@pytest.fixture(scope="module")
def real() -> list[Problem]:
    if not SHARED.exists():
        pytest.skip("the real problems are not on this machine")
    return load(SHARED)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_real_problems_by_their_own_verifiers(real: list[Problem]) -> None:
    found = [item for item in check(real, workers=1, level="strict") if item.way == "own verifier"]
    assert len(found) == 42
    assert all(item.verdicts for item in found)
    assert {item.problem_id: list(item.deviations) for item in found if item.deviations} == {}


def test_a_test_that_occurs_twice_is_not_handed_out() -> None:
    """Its answer would be known in the secure judgement."""
    cases = [[1, 1], [2, 8], [2, 8], [6, 216], [3, 27], [3, 27], [4, 64], [5, 125]]
    row = {**LATER, "exploit_type": "argument_injection_leak", "insecure_test_cases": None, "test_cases": cases}
    problem = by_our_pair(from_row(row, "sample")).problem
    full, handed = ([test.args for test in tests] for tests in (problem.tests, problem.named_tests[HANDED_OUT]))
    assert full == [(1,), (2,), (3,), (4,)]
    assert handed == [(6,), (5,)]
