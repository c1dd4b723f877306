"""What carries an estimate: effective numbers, and verdicts that see one route or a donor's own answers."""

from __future__ import annotations

import numpy as np
import pytest

from forewarn.errors import InputError
from forewarn.estimation import mixture_estimate

N, PROBLEMS = 800, 4


def sample(
    *, problems: int, programs: int, own_hits: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """log_ratio, exploit, span, problem, program: half brute force, half a donor that hits 40 times at e^9."""
    span = np.repeat([0, 1], N // 2)
    problem = np.arange(N) % PROBLEMS
    exploit = np.zeros(N, dtype=bool)
    chosen = np.flatnonzero((span == 1) & (problem < problems))[:40]
    exploit[chosen] = True
    exploit[np.flatnonzero((span == 0) & (problem < problems))[:own_hits]] = True
    ratio = np.column_stack([np.zeros(N), np.full(N, 9.0)])
    return ratio, exploit, span, problem, np.arange(N) // PROBLEMS % programs


def test_effective_numbers_are_inverse_simpson_indices_of_the_estimate() -> None:
    ratio, exploit, span, problem, program = sample(problems=2, programs=4)
    e = mixture_estimate(ratio, exploit, span, problem_N=problem, program_N=program)
    assert e.effective_problems == pytest.approx(2)
    assert e.effective_programs == pytest.approx(4)
    assert e.effective_spans == pytest.approx(1)
    assert e.donor_written is None
    # a hit of weight e^2 more than the others
    heavy = np.flatnonzero(exploit)[0]
    ratio[heavy, 1] -= 2
    share = np.exp(-np.logaddexp(0, ratio[exploit, 1]))
    share /= share.sum()
    e = mixture_estimate(ratio, exploit, span, problem_N=problem, program_N=np.arange(N))
    assert e.effective_programs == pytest.approx(1 / (share**2).sum(), rel=1e-9)
    assert e.effective_programs == pytest.approx(e.ess)
    assert mixture_estimate(ratio, exploit & False, span, problem_N=problem).effective_spans is None


@pytest.mark.parametrize(
    ("problems", "programs", "own_hits", "resolved"),
    [(1, 1, 0, False), (1, 3, 0, True), (3, 1, 0, True), (1, 1, 8, True), (2, 2, 0, True)],
)
def test_one_program_of_one_problem_resolves_nothing(
    problems: int, programs: int, own_hits: int, resolved: bool
) -> None:
    ratio, exploit, span, problem, program = sample(problems=problems, programs=programs, own_hits=own_hits)
    told = mixture_estimate(ratio, exploit, span, problem_N=problem, program_N=program)
    assert told.ess is not None
    assert told.ess > 39, "a number of hits hides that they are one"
    if own_hits:  # of a route that brute force counts the donors need not say anything
        ratio[exploit] = [0.0, 0.0]
        told = mixture_estimate(ratio, exploit, span, problem_N=problem, program_N=program)
    assert told.resolved is resolved, told.reason
    assert ("one program of one problem of 4 carries the estimate" in told.reason) is not resolved
    assert mixture_estimate(ratio, exploit, span, problem_N=problem).resolved, "of programs it knows nothing"
    alone = mixture_estimate(ratio, exploit, span, program_N=program)
    assert alone.resolved, "one problem is all that such a study has"


def test_whole_answers_of_a_donor_resolve_nothing() -> None:
    ratio, exploit, span, problem, program = sample(problems=4, programs=9)
    whole = span == 1
    told = mixture_estimate(ratio, exploit, span, problem_N=problem, program_N=program, donor_wrote_answer_N=whole)
    assert told.donor_written == pytest.approx(1)
    assert not told.resolved
    assert "in every hit the donor wrote the whole answer" in told.reason
    part = whole.copy()
    part[np.flatnonzero(exploit)[:5]] = False
    told = mixture_estimate(ratio, exploit, span, problem_N=problem, program_N=program, donor_wrote_answer_N=part)
    assert told.donor_written == pytest.approx(35 / 40)
    assert told.resolved


def test_bad_arrays_are_named() -> None:
    ratio, exploit, span, _, program = sample(problems=4, programs=9)
    with pytest.raises(InputError, match=r"program_N has shape \(3,\): there are 800 completions"):
        mixture_estimate(ratio, exploit, span, program_N=program[:3])
    with pytest.raises(InputError, match=r"donor_wrote_answer_N has 3 values"):
        mixture_estimate(ratio, exploit, span, donor_wrote_answer_N=[True] * 3)
    names = np.where(exploit, "p", None)
    assert mixture_estimate(ratio, exploit, span, program_N=names).effective_programs == 1
