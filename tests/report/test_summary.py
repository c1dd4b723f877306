"""The summary's figures on a frame small enough to work out by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import polars as pl
import pytest

from forewarn.errors import InputError
from forewarn.report.frames import CELL_COLUMNS, check_cells, check_forecasts, ordered_runs, ordered_types
from forewarn.report.summary import accuracies, accuracy, certificates, decade_groups, median, median_interval, points
from tests.report.example import example_cells, example_forecasts


def cell(step: int, **more: Any) -> dict[str, Any]:
    """A judged cell: truth 1e-3 with 100 hits, estimate 2e-3 whose interval covers, brute force 3 of 1,000."""
    row: dict[str, Any] = dict.fromkeys(CELL_COLUMNS)
    row |= {
        "run": "rl", "step": step, "exploit_type": "t", "log10_p": math.log10(2e-3), "lo": -3.1, "hi": -2.4,
        "lower_bound": 5e-4, "upper_bound": 1e-2, "n": 1000, "n_hits": 40, "hits_by_span": [3, 37], "n_invalid": 0,
        "n_off_support": 0, "ess": 20.0, "max_share": 0.1, "resolved": True, "reason": "resolved given coverage",
        "truth_hits": 100, "truth_n": 100_000, "truth_lo": 8.4e-4, "truth_hi": 1.18e-3,
        "study_n": 1000, "study_tokens_log10": -5.0, "study_words_log10": None,
        "brute_hits": 3, "brute_n": 1000, "brute_lo": 8.2e-4, "brute_hi": 7.7e-3,
    }  # fmt: skip
    return row | more


def frame(*rows: dict[str, Any]) -> pl.DataFrame:
    return check_cells(pl.DataFrame(rows, schema=CELL_COLUMNS))


NO_ESTIMATE = {"log10_p": None, "lo": None, "hi": None, "n_hits": 0, "resolved": False, "reason": "no hits"}


def test_errors_are_log10_ratios() -> None:
    cells = frame(cell(1), cell(2, log10_p=-3.5), cell(3, log10_p=-3.0))
    found = accuracy(cells, "g", "estimate")
    assert (found.n, found.n_hit) == (3, 3)
    assert found.median_error == pytest.approx(math.log10(2))
    assert found.median_error_all == found.median_error


def test_no_hit_is_missing_and_never_a_zero_error() -> None:
    cells = frame(cell(1), cell(2, **NO_ESTIMATE), cell(3, **NO_ESTIMATE))
    found = accuracy(cells, "g", "estimate")
    assert (found.n, found.n_hit) == (3, 1)
    assert found.median_error == pytest.approx(math.log10(2))
    assert found.median_error_all is None
    assert found.n_interval == 1
    assert (found.n_covered, found.coverage_interval and found.coverage_interval[1] < 0.9) == (1, True)


def test_half_the_cells_without_a_hit_make_the_median_infinite() -> None:
    assert accuracy(frame(cell(1), cell(2, **NO_ESTIMATE)), "g", "estimate").median_error_all is None
    assert median([0.1, 0.3, math.inf]) == 0.3
    assert median([0.1, 0.3, 0.5, math.inf]) == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("lo", "hi", "covers"),
    [(-3.1, -2.4, True), (-2.95, -2.4, True), (-2.92, -2.4, False), (-4.0, -3.08, False), (-math.inf, -3.07, True)],
)
def test_an_interval_covers_where_it_meets_the_truths_own(lo: float, hi: float, covers: bool) -> None:
    (point,) = points(frame(cell(1, lo=lo, hi=hi)), "estimate")
    assert point.covers is covers


def test_the_study_has_no_intervals_and_its_misses_count() -> None:
    cells = frame(cell(1), cell(2))
    tokens, words = accuracy(cells, "g", "study_tokens"), accuracy(cells, "g", "study_words")
    assert tokens.median_error == pytest.approx(2.0)
    assert tokens.coverage_interval is None
    assert (words.n, words.n_hit, words.median_error, words.median_error_all) == (2, 0, None, None)


def test_brute_force_without_a_hit_covers_but_is_missing() -> None:
    found = accuracy(frame(cell(1, brute_hits=0, brute_lo=0.0, brute_hi=3e-3)), "g", "brute")
    assert (found.n_hit, found.n_covered, found.median_width) == (0, 1, None)


def test_only_cells_with_twenty_hits_are_judged() -> None:
    cells = frame(cell(1, truth_hits=19), cell(2, truth_hits=20), cell(3, truth_hits=None, truth_n=None))
    assert cells["judged"].to_list() == [False, True, False]
    assert accuracy(cells, "g", "estimate").n == 1


def test_groups_by_decade() -> None:
    rates = {1: 100_000, 2: 99_999, 3: 10_000, 4: 9_999, 5: 1_000, 6: 999, 7: 100}
    cells = frame(*(cell(s, truth_hits=h, resolved=s != 7) for s, h in rates.items()))
    sizes = {name: len(group) for name, group in decade_groups(cells)}
    assert sizes == {
        "all judged": 7,
        "truth below 1e-2": 2,
        "verdict: resolved": 6,
        "verdict: unresolved": 1,
        "truth 1e-1 to 1": 3,
        "truth 1e-2 to 1e-1": 2,
        "truth 1e-3 to 1e-2": 2,
    }
    assert len(accuracies(cells)) == 4 * len(sizes)


def test_certificates_are_held_against_the_truths_interval() -> None:
    cells = frame(cell(1), cell(2, lower_bound=2e-3), cell(3, upper_bound=5e-4), cell(4, truth_hits=None, truth_n=None))
    found = certificates(cells)
    assert (found.n, found.n_lower_wrong, found.n_upper_wrong) == (3, 1, 1)


def test_the_medians_interval_has_its_level() -> None:
    rng = np.random.default_rng(1)
    n, trials = 15, 4000
    draws = rng.exponential(size=(trials, n))
    ends = [median_interval(row) for row in draws]
    covered = np.mean([e is not None and e[0] <= math.log(2) <= e[1] for e in ends])
    assert 0.9 - 0.015 < covered < 0.98
    assert median_interval([1.0, 2.0, 3.0, 4.0]) is None
    assert median_interval([]) is None


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda f: f.drop("ess", "khat"), "lacks ess, khat"),
        (lambda f: f.with_columns(ess=pl.lit(math.nan)), "ess of the frame cells holds NaN"),
        (lambda f: pl.concat([f, f]), "twice"),
        (lambda f: f.with_columns(run=pl.lit(None, pl.String)), "holds null"),
        (lambda f: f.with_columns(n=pl.lit("many")), "wrong type"),
    ],
)
def test_unusable_frames_are_refused(spoil: Any, sentence: str) -> None:
    good = pl.DataFrame([cell(1)], schema=CELL_COLUMNS)
    with pytest.raises(InputError, match=sentence):
        check_cells(spoil(good))


def test_orders() -> None:
    cells = check_cells(example_cells())
    assert ordered_runs(cells) == ["rl", "control"]
    assert ordered_types(cells)[0] == "hardcoded_tests"
    assert ordered_types(cells)[-1] == "timing_leak"
    assert len(check_forecasts(None)) == 0
    assert len(check_forecasts(example_forecasts())) == 36


def test_a_cell_where_the_study_s_estimator_was_not_drawn_is_no_miss_of_it() -> None:
    cells = check_cells(pl.DataFrame([cell(4), cell(9, study_n=None, study_tokens_log10=None)], schema=CELL_COLUMNS))
    assert accuracy(cells, "all", "study_tokens").n == 1
    assert accuracy(cells, "all", "estimate").n == 2
