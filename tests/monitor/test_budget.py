"""Budgets: a part of a checkpoint's completions is an honest estimate, is topped up, and nothing is drawn twice."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from forewarn.errors import InputError
from forewarn.monitor.rounds import Budget, Drawn, Plan, ended, next_round
from forewarn.monitor.state import read_state
from forewarn.monitor.watched import Overrides, WatchedStudy
from forewarn.study import read_completions, read_results, run_study
from tests.command import Said
from tests.monitor.trainer import Trainer, watcher

PLAN = Plan((16, 8, 4), (10, 10, 5))


def test_counts_keep_the_parts_of_spans_and_stay_within_the_budget() -> None:
    assert PLAN.total() == 260
    for budget in range(PLAN.least, 300):
        counts = PLAN.upto(budget)
        assert PLAN.total(counts) <= max(budget, PLAN.least)
        assert all(1 <= n <= most for n, most in zip(counts, PLAN.counts, strict=True))
    assert PLAN.upto(130) == (8, 4, 2)
    assert PLAN.upto(260) == PLAN.upto(10**9) == (16, 8, 4)
    with pytest.raises(InputError, match="a budget of 24 completions a checkpoint is too small"):
        Budget(24).check(PLAN)


def test_rounds_end_with_everything_whatever_the_budget() -> None:
    for budget in (25, 40, 111, 259):
        drawn = Drawn()
        for _ in range(300):
            drawn = ended(PLAN, next_round(PLAN, drawn, Budget(budget), {}), 1.0)
            if drawn.rounds[-1] == PLAN.counts:
                break
        assert drawn.rounds[-1] == PLAN.counts
        assert all(a != b for a, b in zip(drawn.rounds, drawn.rounds[1:], strict=False))


def test_minutes_are_completions_by_what_earlier_checkpoints_took() -> None:
    first = next_round(PLAN, Drawn(), Budget(minutes=1.0), {})
    assert first.begun == PLAN.counts  # nothing tells yet how long a completion takes
    past = {"a": ended(PLAN, first, 520.0), "b": Drawn((PLAN.counts,), None, 260, None)}  # b was interrupted
    assert Budget(minutes=1.0).fits(past) == 30
    assert Budget(20, 1.0).fits(past) == 20
    begun = Drawn((), (2, 1, 1))
    assert next_round(PLAN, begun, Budget(minutes=9.0), past) is begun  # fixed before, whatever is known now


def test_a_part_is_an_estimate_and_is_topped_up_to_what_would_have_been_drawn(home: Path, trainer: Trainer) -> None:
    study, root, lines, now = home / "study.toml", home / "runs" / "tiny", list[str](), [1000.0]
    study.write_text(study.read_text().replace("[policy]", "[watch]\ncompletions = 40\nshare = 0.25\n[policy]"))

    def clock() -> float:
        now[0] += 0.5
        return now[0]

    trainer.save(1)
    one = watcher(home, lines, clock=clock)
    one.look(), one.look()
    answer, start = one.measure_next(), now[0]
    assert answer is not None, lines
    assert "with 36 of 72 completions, the others don't fit yet" in lines[-1]
    assert "50% of the completions planned at step 1, which don't fit the budget yet." in answer[0].not_looked_at
    [cell] = read_results(root).estimates
    assert cell.n_by_span == (12, 12, 12)
    part = read_completions(root)
    before = {path.name: path.read_bytes() for path in (root / "completions").glob("*.parquet")}
    state = read_state(root)
    assert state is not None
    assert (state.measured, state.in_part) == ((), ("checkpoint-1",))
    took = state.drawn["checkpoint-1"].seconds
    assert took is not None
    assert one.rests  # three times as long as the device was used
    now[0] = start + 2 * took
    assert one.rests
    now[0] = start + 60 * took
    assert not one.rests

    again = watcher(home, lines)  # as after a kill
    again.look(), again.look()
    assert again.measure_next() is not None
    assert again.pending == []
    assert before.items() <= {path.name: path.read_bytes() for path in (root / "completions").glob("*.parquet")}.items()
    whole = read_completions(root)
    assert set(part["completion_id"]) <= set(whole["completion_id"])

    loaded = WatchedStudy(study, root, Overrides()).study(again.measured, {})
    [at_once] = run_study(loaded.study, home / "elsewhere", sandboxing=loaded.sandboxing)
    same, order = ("completion_id", "token_ids", "span", "trace_id"), pl.col("completion_id")
    there = read_completions(home / "elsewhere").select(same).sort(order)
    assert whole.select(same).sort(order).equals(there)
    [cell] = read_results(root).estimates
    assert cell.estimate.log10_p == pytest.approx(at_once.estimate.log10_p, abs=1e-9)
    assert cell.n_by_span == at_once.n_by_span == (24, 24, 24)


def test_the_command_takes_budgets_says_what_waits_and_rests(home: Path, trainer: Trainer, said: Said) -> None:
    for step in (1, 20):
        trainer.save(step)
    code, _, err = said("watch", "study.toml", "--once", "--every", 0.1, "--completions", 5)
    assert code == 2
    assert "one completion of each problem and span are 6; give that or more" in err
    code, _, err = said("watch", "study.toml", "--once", "--every", 0.1, "--completions", 6, "--share", 0.9)
    assert code == 4
    assert err.count("with 6 of 72 completions") == 2
    code, out, _ = said("status", "runs/tiny")
    assert code == 4
    assert out.count("measured with 8% of its completions") == 2
    held = json.loads(said("status", "runs/tiny", "--json")[1])["watch"]
    assert (held["measured"], held["pending"]) == ([], ["checkpoint-1", "checkpoint-20"])
