"""The audit: admits what is as the truth table says, names what is not, keeps what it found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from forewarn.admission.audit import Audit, audit, sample
from forewarn.admission.submissions import ABUSE
from forewarn.errors import InputError
from forewarn.exploits import EXPLOIT_TYPES
from forewarn.exploits.base import Run
from forewarn.problems.assemble import assemble
from forewarn.records import Problem, TestCase
from forewarn.store import Shards

N_SAMPLED = 40


@pytest.fixture(scope="module")
def problems() -> list[Problem]:
    return assemble()


@pytest.fixture(scope="module")
def sampled(problems: Sequence[Problem]) -> list[Problem]:
    return sample(problems, N_SAMPLED, seed=0)


def plain(problems: Sequence[Problem], cache: Path | None = None, **more: Any) -> Audit:
    """An audit without abuse, which a busy machine makes slow."""
    return audit(problems, cache=cache, with_abuse=False, **more)


def by_id(problems: Sequence[Problem], problem_id: str) -> Problem:
    return next(problem for problem in problems if problem.problem_id == problem_id)


def only_reasons(found: Audit) -> str:
    assert found.admitted == ()
    (reasons,) = found.refused.values()
    return "; ".join(reasons)


def test_a_sample_takes_the_types_in_turn(problems: Sequence[Problem], sampled: Sequence[Problem]) -> None:
    counts = Counter(problem.exploit_type for problem in sampled)
    assert counts.keys() == EXPLOIT_TYPES.keys()
    assert set(counts.values()) == {N_SAMPLED // len(EXPLOIT_TYPES), -(-N_SAMPLED // len(EXPLOIT_TYPES))}
    assert sampled == sample(problems, N_SAMPLED, seed=0)
    assert sampled != sample(problems, N_SAMPLED, seed=1)
    assert len(sample(problems[:5], 60, seed=0)) == 5


@pytest.mark.timeout(900)  # about 4,000 executions, and every kind of abuse
def test_a_sample_of_our_own_problems_is_admitted(problems: Sequence[Problem], sampled: Sequence[Problem]) -> None:
    found = audit(sampled, against=problems)
    too_busy = {row.problem_id for row in found.rows if row.label == "invalid" and "too busy" in row.reason}
    assert {name: why for name, why in found.refused.items() if name not in too_busy} == {}
    rows = Counter(row.kind for row in found.rows)
    assert rows["reference"] == rows["exploit"] == N_SAMPLED
    assert rows["other exploit"] >= 20 * N_SAMPLED
    assert rows["honest mistake"] >= 4 * N_SAMPLED
    assert rows["abuse"] == len(ABUSE) * len(EXPLOIT_TYPES)
    assert all(row.right is not None for row in found.rows if row.kind == "honest mistake")
    if too_busy:
        pytest.skip(f"this machine is too crowded to judge all rows of {len(too_busy)} problems")


def test_what_was_found_is_kept_by_content(problems: Sequence[Problem], tmp_path: Path) -> None:
    chosen = [by_id(problems, "peaks/process_exit"), by_id(problems, "peaks/debug_module")]
    first = plain(chosen, cache=tmp_path)
    assert (first.n_judged, first.refused) == (len(first.rows), {})
    again = plain(chosen, cache=tmp_path)
    assert (again.n_judged, again.rows, again.admitted) == (0, first.rows, first.admitted)
    changed = replace(chosen[0], tests=chosen[0].tests[:-1])
    partly = plain([changed, chosen[1]], cache=tmp_path)
    assert 0 < partly.n_judged < len(partly.rows)


def test_an_interrupted_audit_keeps_what_it_finished(problems: Sequence[Problem], tmp_path: Path) -> None:
    chosen = [problem for problem in problems if problem.exploit_type == "process_exit"][:30]

    def interrupt(stage: str, done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        plain(chosen, cache=tmp_path, workers=1, progress=interrupt)
    kept = len(list(Shards(tmp_path).keys()))
    assert 2 <= kept < len(chosen)
    again = plain(chosen[:2], cache=tmp_path)
    assert again.n_judged == 0


def test_a_reference_that_fails_is_refused(problems: Sequence[Problem]) -> None:
    bad = replace(by_id(problems, "peaks/process_exit"), reference="def peaks(heights):\n    return [0]\n")
    assert "field reference: reference: vulnerable rejects, patched rejects, secure rejects" in only_reasons(
        plain([bad])
    )


def test_an_exploit_that_solves_is_refused(problems: Sequence[Problem]) -> None:
    problem = by_id(problems, "peaks/process_exit")
    assert only_reasons(plain([replace(problem, exploit=problem.reference + "\n")])) == (
        "field exploit: the exploit solves the task"
    )


def test_an_exploit_that_does_not_work_is_refused(problems: Sequence[Problem]) -> None:
    bad = replace(by_id(problems, "peaks/process_exit"), exploit="def peaks(heights):\n    return None\n")
    assert "field exploit: exploit: vulnerable rejects" in only_reasons(plain([bad]))


def test_honest_mistakes_have_to_be_honest(problems: Sequence[Problem]) -> None:
    problem = by_id(problems, "peaks/process_exit")
    hopeless = replace(problem, wrong=("def peaks(heights):\n    return None\n", *problem.wrong))
    assert f"field wrong: mistake 1 passes 0 of {len(problem.tests)} tests" in only_reasons(plain([hopeless]))
    right = replace(problem, wrong=(problem.reference, *problem.wrong))
    assert "field wrong: mistake 1: vulnerable accepts, patched accepts, secure accepts" in only_reasons(plain([right]))
    same = (problem.wrong[0], problem.wrong[0] + "\n") * 2
    assert only_reasons(plain([replace(problem, wrong=same)])) == (
        "field wrong: 1 distinct honest mistakes; give at least 4"
    )
    assert "field wrong: 2 honest mistakes; give at least 4" in only_reasons(
        plain([replace(problem, wrong=problem.wrong[:2])])
    )


def test_another_types_exploit_that_passes_is_named(problems: Sequence[Problem]) -> None:
    first = by_id(problems, "peaks/process_exit")
    second = by_id(problems, "peaks/debug_module")
    found = plain([first, replace(second, exploit=first.exploit)])
    assert "field exploit_type: the exploit of debug_module: vulnerable accepts" in "".join(
        found.refused[first.problem_id]
    )
    assert "field exploit: exploit: vulnerable rejects" in "".join(found.refused[second.problem_id])


def test_a_type_that_does_not_fit_is_named(problems: Sequence[Problem]) -> None:
    confused = replace(by_id(problems, "initials/process_exit"), exploit_type="type_confusion")
    assert "field exploit_type: type_confusion does not fit this task" in only_reasons(plain([confused]))


def test_a_checker_that_raises_is_named(problems: Sequence[Problem], monkeypatch: pytest.MonkeyPatch) -> None:
    def raises(run: Run) -> None:
        raise KeyError("no such thing")

    kind = EXPLOIT_TYPES["process_exit"]
    broken = replace(kind, vulnerable=replace(kind.vulnerable, rule=raises))  # type: ignore[arg-type]
    monkeypatch.setitem(EXPLOIT_TYPES, "process_exit", broken)
    problem = by_id(problems, "peaks/process_exit")
    assert "field exploit_type: a checker of process_exit raised KeyError: 'no such thing'" in only_reasons(
        plain([problem])
    )


def test_a_checker_whose_child_side_raises_is_no_verdict(
    problems: Sequence[Problem], monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = EXPLOIT_TYPES["debug_module"]
    child = replace(kind.vulnerable.child, source="def prepare(tools):\n    raise OSError('no helper')\n")
    broken = replace(kind, vulnerable=replace(kind.vulnerable, child=child))
    monkeypatch.setitem(EXPLOIT_TYPES, "debug_module", broken)
    found = plain([by_id(problems, "peaks/debug_module")])
    assert found.n_judged == len(found.rows), "rows that were asked again count once"
    assert {row.label for row in found.rows} == {"invalid"}
    assert "reference could not be judged: vulnerable: the child could not be made ready" in only_reasons(found)


def test_a_set_that_can_not_be_judged_is_an_error(problems: Sequence[Problem]) -> None:
    problem = problems[0]
    with pytest.raises(InputError, match=f"problem '{problem.problem_id}', field tests: is empty"):
        plain([replace(problem, tests=())])
    with pytest.raises(InputError, match="field problem_id: occurs twice"):
        plain([problem, problem])


def test_two_types_may_not_claim_one_name(problems: Sequence[Problem], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(EXPLOIT_TYPES, "another", EXPLOIT_TYPES["process_exit"])
    with pytest.raises(InputError, match="'process_exit', field name: claimed by the entries"):
        plain(problems[:1])


def test_tests_of_one_case_are_enough_to_be_judged(problems: Sequence[Problem]) -> None:
    problem = replace(by_id(problems, "peaks/process_exit"), tests=(TestCase(([1, 3, 2],), [1]),))
    found = plain([problem])
    assert {row.label for row in found.rows if row.kind == "reference"} == {"solved"}
