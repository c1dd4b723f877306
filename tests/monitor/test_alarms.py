"""Alarms fixed beforehand: what they carry, that a look is spent once, and that the error budget holds."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom

from forewarn.errors import InputError, StoreError
from forewarn.estimation.sample import read_sample
from forewarn.monitor.alarms import ALARMS_STATE, Alarms, read_alarms
from forewarn.monitor.feed import ALERTS_FILE
from forewarn.monitor.sinks.jsonl import read_alerts
from forewarn.prediction import log_e_exceeds
from forewarn.prediction.alarms import log_e_of_looks
from forewarn.prediction.budget import ErrorBudget
from forewarn.study.config.file import read_study_file
from forewarn.study.config.load import chosen_alarms
from forewarn.worlds import build
from forewarn.worlds.draw import draw, draw_looks
from tests.command import Said
from tests.monitor.trainer import Trainer
from tests.tiny_world import EXPLOIT_TYPE

ALARMS = """
[alarms]
budget = 0.3
looks = 2
rate = 0.002

[alarms.growth]
factor = 1.1
tau = 0.02

[alarms.forecast]
within = 300
probability = 0.02
rate = 0.2
"""


def test_all_levels_together_never_pass_the_budget() -> None:
    budget = ErrorBudget(0.05, 24, 20)
    levels = [budget.level(look) * 24 for look in range(1, 5001)]
    assert 0.0499 < sum(levels) <= 0.05
    assert levels[0] == levels[19] == pytest.approx(0.05 * 0.9 / 20)
    assert levels[20] > levels[21] > 0
    with pytest.raises(InputError, match="budget is 0"):
        ErrorBudget(0.0, 1, 1)
    with pytest.raises(InputError, match="looks are counted from 1"):
        budget.level(0)


def test_hardly_a_run_has_any_false_rate_alarm() -> None:
    """Twelve types that stay at u, or at a third of it, through 20 looks: the share of runs with any alarm. More worlds
    and runs: ``benchmarks/error_budget.py``."""
    world, n_run, n_type, n_look = build("both_roads"), 40, 12, 20
    count_S = np.array([30] + [8] * (len(world.spans) - 1))
    n_test, budget = n_run * n_type * n_look, ErrorBudget(0.05, n_type, n_look)
    weight_H, look_H = draw_looks(world, count_S, n_test, np.random.default_rng(5))
    for u in (world.p, 3 * world.p):
        log_e = log_e_of_looks(weight_H / u, look_H, n_test, int(count_S.sum())).reshape(n_run, -1)
        assert (log_e >= budget.needed(1)).any(axis=1).sum() <= binom.isf(1e-3, n_run, budget.total)
    at_u = log_e_of_looks(weight_H / world.p, look_H, n_test, int(count_S.sum())).reshape(n_run, -1)
    assert (at_u >= -math.log(budget.total)).any(axis=1).mean() > budget.total  # what dividing is for


def test_a_look_of_many_is_what_one_sample_gives() -> None:
    world = build("both_roads")
    count_S = np.array([300] + [80] * (len(world.spans) - 1))
    weight_H, look_H = draw_looks(world, count_S, 1, np.random.default_rng(6))
    d = draw(world, count_S, np.random.default_rng(6))
    sample = read_sample(d.log_ratio_NS, d.is_exploit_N, d.span_N)
    together = log_e_of_looks(weight_H / (world.p / 2), look_H, 1, sample.n)[0]
    assert together == pytest.approx(log_e_exceeds(sample, world.p / 2))


def test_alarms_carry_what_they_rest_on_and_a_look_is_spent_once(home: Path, trainer: Trainer, said: Said) -> None:
    study, root = home / "study.toml", home / "runs" / "tiny"
    plain = study.read_text()
    study.write_text(plain + ALARMS)
    for step in (1, 20):
        trainer.save(step)
    code, out, err = said("watch", "study.toml", "--once", "--every", 0.1, "--fail-on-alarm")
    assert code == 5, err
    held = read_alarms(root)
    assert held is not None
    assert [(one.number, one.step, one.completions) for one in held[1]] == [(1, 1, 72), (2, 20, 72)]
    assert held[1][0].raised == []
    assert held[1][1].raised == [("exceeds", EXPLOIT_TYPE), ("growth", EXPLOIT_TYPE)]
    rate, growth, forecast = read_alerts(root / ALERTS_FILE)[1:]
    assert out.count("ALERT: ") == 3
    assert rate.message == f"{EXPLOIT_TYPE} in tiny: its rate is above 0.002 at step 20."
    assert "is over 1.1 times what was seen at step 1, where a completion counts at most 0.02" in growth.message
    for one in (rate, growth):
        assert one.e_value is not None
        assert math.log(one.e_value) >= held[1][1].needed
        assert "any rate or growth alarm of this run is false is at most 30%" in " ".join(one.evidence)
    assert "by step 320" in forecast.message  # 300 steps after the newest
    assert "A forecast has no e-value; how often an alarm by forecast is false has not been measured yet." in (
        forecast.evidence
    )
    for one in (rate, growth, forecast):
        assert one.raised
        assert one.interval_log10 is not None
        assert "exploit types, of which the study has no problem." in " ".join(one.not_looked_at)
        assert one.command == f"forewarn show runs/tiny {EXPLOIT_TYPE}"

    before = (root / ALARMS_STATE).read_bytes()
    loaded = chosen_alarms(*read_study_file(study)[:1], (EXPLOIT_TYPE,), study)
    assert loaded is not None
    again = Alarms(loaded, root).look("checkpoint-20", 20)  # as a watcher that was killed before it could tell
    assert again == held[1][1]
    assert (root / ALARMS_STATE).read_bytes() == before
    code, out, _ = said("status", "runs/tiny", "--fail-on-alarm")
    assert (code, out.count("ALERT: ")) == (5, 3)

    study.write_text(plain + ALARMS.replace("rate = 0.002", "rate = 0.003"))
    code, out, err = said("watch", "study.toml", "--once", "--every", 0.1)
    assert (code, out) == (2, "")
    assert "alarms.rate was 0.002 when runs/tiny was first looked at, and is 0.003 now" in err


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ('types = ["process_exit"]\nrate = 0.1', "types names 'process_exit', which the study does not measure"),
        ("budget = 0.05", "it names nothing to be alarmed at: give rate, [alarms.growth] or [alarms.forecast]"),
        ("rate = 1.5", "alarms.rate = 1.5"),
        ("rate = 0.1\nlooks = 0", "alarms.looks = 0"),
        ("rat = 0.1", "unknown key alarms.rat: did you mean alarms.rate?"),
    ],
)
def test_alarms_that_cant_be_meant_are_one_sentence(home: Path, said: Said, table: str, words: str) -> None:
    study = home / "study.toml"
    study.write_text(f"{study.read_text()}\n[alarms]\n{table}\n")
    code, out, err = said("watch", "study.toml", "--once", "--every", 0.1)
    assert (code, out) == (2, "")
    assert words in err
    assert len(err.splitlines()) == 1
    assert not (home / "runs").exists()


def test_a_damaged_record_of_looks_is_refused(tmp_path: Path) -> None:
    (tmp_path / ALARMS_STATE).write_text('{"alarms": {"rate": 0.1}, "looks": [{}]}')
    with pytest.raises(StoreError, match="doesn't say what was looked at"):
        read_alarms(tmp_path)
