"""Truth curves against values worked out by hand, V1 against its exact expectation, eligibility with its reason."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit, logit

from forewarn.bench.bases import roles_of
from forewarn.bench.outcomes.curve import Counted, TruthCurve, expected_first_hit, first_hits
from forewarn.bench.outcomes.pairs import Evidence, Pair, outcome
from forewarn.bench.outcomes.start import Start, base_starts, start_of
from forewarn.bench.protocol import protocol
from forewarn.bench.runs import all_runs
from forewarn.errors import InputError, StoreError
from forewarn.store import write_json

P = protocol()
RUN = all_runs(P)["d0-V1"]
FOLLOWER = next(name for name, role in roles_of("d0", P).items() if role.role == "follower")
LEADER = next(name for name, role in roles_of("d0", P).items() if role.role == "leader")
STEPS = range(20, 301, 20)


def test_the_curve_is_linear_in_the_logit() -> None:
    curve = TruthCurve.of(1e-4, [Counted(20, 1280, 0), Counted(40, 1280, 128), Counted(60, 1280, 640)])
    halfway = (logit(1e-4) + logit(0.1)) / 2
    assert curve.rates([0, 20, 40, 60, 300]) == pytest.approx([1e-4, min(expit(halfway), 1 / 1280), 0.1, 0.5, 0.5])
    assert curve.crossing(0.1) == pytest.approx(40)
    quarter = logit(0.1) + (logit(0.5) - logit(0.1)) / 4
    assert curve.crossing(float(expit(quarter))) == pytest.approx(45)
    assert curve.crossing(0.6) is None


def test_a_cell_without_hits_caps_the_curve_at_its_own_step_alone() -> None:
    """The line from 0.001 to 0.1 passes 1/100 between steps 20 and 40: the cell at 30 holds it down."""
    cells = [Counted(20, 1000, 1), Counted(30, 100, 0), Counted(40, 100, 10)]
    free, capped = TruthCurve.of(1e-3, [cells[0], cells[2]]), TruthCurve.of(1e-3, cells)
    assert free.rates(30) > 1 / 100 > 1 / 101
    assert capped.rates(30) == pytest.approx(1 / 100)
    assert capped.rates(40) == pytest.approx(0.1)
    assert capped.rates(35) == pytest.approx(expit((logit(0.01) + logit(0.1)) / 2))
    low = TruthCurve.of(1e-3, [cells[0], Counted(30, 10, 0), cells[2]])
    assert low.rates(30) == pytest.approx(free.rates(30)), "a cap above the line does nothing"


def test_after_the_last_hit_the_curve_stays_or_falls_to_the_cap() -> None:
    held = [Counted(20, 100, 50), Counted(40, 100, 0), Counted(60, 1000, 0), Counted(80, 100, 0)]
    curve = TruthCurve.of(1e-5, held)
    assert curve.rates([20, 40, 60, 80, 200]) == pytest.approx([0.5, 0.01, 0.001, 0.001, 0.001])
    assert curve.highest == pytest.approx(0.5)
    assert TruthCurve.of(1e-5, [Counted(20, 1280, 0)]).rates([0, 20, 300]) == pytest.approx([1e-5] * 3)


def test_a_cell_of_hits_alone_is_finite() -> None:
    assert TruthCurve.of(1e-5, [Counted(20, 100, 100)]).rates(20) == pytest.approx(0.995)


@pytest.mark.parametrize(
    ("start", "cells", "says"),
    [
        (0.0, [], "the start level is 0.0: give a rate"),
        (0.1, [Counted(40, 10, 0), Counted(20, 10, 0)], r"cells at steps \[40, 20\]: give them in increasing order"),
        (0.1, [Counted(0, 10, 0)], "each once, from 1"),
        (0.1, [Counted(20, 10, 11)], "11 hits of 10 completions at step 20"),
    ],
)
def test_a_truth_that_is_none_is_refused(start: float, cells: list[Counted], says: str) -> None:
    with pytest.raises(InputError, match=says):
        TruthCurve.of(start, cells)


def test_the_first_hit_of_counting_has_its_exact_mean() -> None:
    rate_C = np.array([1e-5, 1e-4, 1e-3, 1e-2])
    by_hand = 0.0
    for pattern in itertools.product([False, True], repeat=4):  # every way in which four checkpoints have hits
        chance = math.prod(
            (1 - (1 - p) ** 400) if hit else (1 - p) ** 400 for p, hit in zip(rate_C, pattern, strict=True)
        )
        by_hand += chance * (pattern.index(True) + 1 if any(pattern) else 5)
    assert expected_first_hit(rate_C, 400) == pytest.approx(by_hand)
    drawn = first_hits(rate_C, 400, 40_000, np.random.default_rng(0))
    assert drawn.mean() == pytest.approx(by_hand, abs=4 * drawn.std() / 200)
    assert set(first_hits(np.zeros(4), 400, 10, np.random.default_rng(0))) == {5}


def evidence(start: float = 1e-5, **changed: object) -> Evidence:
    truth = [Counted(step, 1280, 0 if step < 200 else 640) for step in STEPS]
    base = Evidence(Start(start, 2 * start), truth, {}, Counted(0, 400, 0), 170)
    return replace(base, **changed)  # type: ignore[arg-type]


def pair(name: str = FOLLOWER, **changed: object) -> Pair:
    return outcome(RUN, name, evidence(**changed), P)  # type: ignore[arg-type]


def test_a_positive_pair() -> None:
    made = pair()
    assert made.eligible
    assert made.event
    assert (made.status, made.role, made.v2) == ("paid", "follower", 170)
    # at steps 180 and before 1/1280 or less; from step 200 on one half
    assert made.crossing == pytest.approx(180 + 20 * (logit(0.1) - logit(1 / 1280)) / (0 - logit(1 / 1280)), abs=1e-6)
    exact = expected_first_hit(TruthCurve.of(1e-5, evidence().truth).rates(range(0, 301, 20)), 400)
    assert made.v1 == pytest.approx(exact, abs=0.2)
    assert made.blind(5)
    assert not made.blind(11)
    assert made == pair(), "its draws are a function of the names"


def test_a_negative_pair_is_blind_to_the_end() -> None:
    made = pair(truth=[Counted(step, 1280, 0) for step in STEPS], first_rollout_hit=None)
    assert not made.event
    assert not made.between
    assert made.v1 > 15
    assert made.highest == pytest.approx(1e-5)


def test_a_pair_that_ends_between_the_two_rates_is_marked() -> None:
    made = pair(truth=[Counted(step, 1280, 64 if step > 260 else 0) for step in STEPS])
    assert made.between
    assert not made.event
    assert made.crossing_low is not None


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"truth": [Counted(step, 1280, 0) for step in range(20, 201, 20)]}, "truth measured up to step 200 of 300"),
        ({"truth": [Counted(step, 1280, 0) for step in STEPS if step != 60]}, "truth not measured at step 60"),
        ({"unclear": {40: 0.02}}, "2.0% of the truth's verdicts unclear at step 40"),
        ({"start": 2e-4}, "up to 0.16 hits of counting expected at step 0"),
        ({"first_count": None}, "counting not measured at step 0"),
        ({"first_count": Counted(0, 400, 2)}, "2 hits of counting at step 0"),
    ],
)
def test_a_pair_that_is_not_eligible_says_why(changed: dict[str, object], why: str) -> None:
    assert pair(**changed).why_not == why  # type: ignore[arg-type]
    assert pair(LEADER, **changed).why_not == "leader"


def test_a_start_is_pooled_where_its_families_agree() -> None:
    one = {"log10_p": -5.0, "interval_log10": [-5.2, -4.8], "ess": 100.0, "n": 20_000}
    other = one | {"log10_p": -4.8, "interval_log10": [-5.0, -4.5], "ess": 300.0}
    held = {"reasoning": one, "windows": other}
    made = start_of(held, 1e-6, P.start)
    assert made.unresolved is None
    assert (math.log10(made.rate), math.log10(made.upper)) == pytest.approx((-4.85, -4.5))
    for changed, why in (
        ({"windows": other | {"log10_p": -4.6}}, "families of spans are 0.4 decades apart"),
        ({"windows": other | {"log10_p": None}}, "a family of spans has no hit"),
        ({"windows": other | {"n": 800}}, "from 800 completions of 4000"),
        ({"windows": None}, "not measured by both families"),
        ({"windows": other | {"interval_log10": [None, None]}}, "has no interval"),
    ):
        found = start_of(held | changed, 1e-6, P.start)
        assert found.unresolved is not None
        assert why in found.unresolved
    alone = start_of({"reasoning": one | {"log10_p": None}, "windows": other}, 1e-6, P.start)
    assert math.log10(alone.rate) == pytest.approx(-4.8), "what is known stands in, though it is not resolved"
    assert start_of({}, 1e-6, P.start) == Start(1e-6, 1.0, "start level not measured by both families of spans")


def test_provisional_starts_are_taken_as_they_are(tmp_path: Path) -> None:
    few = {"log10_p": -5.0, "interval_log10": [-5.2, -4.8], "ess": 10.0, "n": 800}
    write_json(tmp_path / "start.json", {"types": {FOLLOWER: {"reasoning": few, "windows": few}}})
    strict = base_starts(tmp_path, "d0", P)
    assert strict[FOLLOWER].unresolved == "start level from 800 completions of 4000"
    taken = base_starts(tmp_path, "d0", P, provisional=True)
    assert taken[FOLLOWER] == Start(pytest.approx(1e-5), pytest.approx(10**-4.8))
    assert taken[LEADER].rate == taken[LEADER].upper == roles_of("d0", P)[LEADER].level
    write_json(tmp_path / "start.json", {"types": {FOLLOWER: {"reasoning": few, "windows": {"log10_p": -5.0}}}})
    with pytest.raises(StoreError, match=r"is no record of start levels \(KeyError: 'ess'\); measure it again by"):
        base_starts(tmp_path, "d0", P)
