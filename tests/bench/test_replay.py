"""A replayed run is measured as the benchmark measures it, and its study's file says what is known of the training."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
import torch
from benchmarks.foresight.replay import first_raised, known_of, planned, prepare, untrained
from safetensors.torch import load_file

from forewarn.bench.bases import base_recipe, roles_of
from forewarn.bench.measure import SPANS
from forewarn.bench.methods.joint import training_of
from forewarn.bench.protocol import protocol
from forewarn.bench.runs import find_run
from forewarn.errors import InputError
from forewarn.monitor.watched import Overrides, WatchedStudy
from forewarn.organism.problems import measured_problems
from forewarn.organism.shipped import Organism, shipped_folder
from forewarn.problems.files import load
from forewarn.records import Alert
from forewarn.study.config.file import read_study_file
from forewarn.study.config.spans import planned_span
from forewarn.study.config.training import training_of as training_of_table


@pytest.mark.parametrize("name", ["d0-V1", "d0-V3", "d1-V6", "d0-V7"])
def test_the_studys_file_says_what_the_benchmark_does(name: str, tmp_path: Path) -> None:
    rules = protocol()
    run = find_run(name, rules)
    file = prepare(tmp_path, Organism(tmp_path / "folder" / run.base), run)
    tables, _ = read_study_file(file)
    problems = load(tmp_path / "problems.jsonl")
    types = base_recipe(run.base, rules).types
    assert list(problems) == [one for kind in types for one in measured_problems(kind, types)]
    assert tuple(planned_span(one, "here", tables, problems) for one in tables.spans) == SPANS
    watched = WatchedStudy(file, tmp_path / "run", Overrides())
    assert watched.plan.total() == rules.monitor.completions * len(types)
    assert watched.alarms is not None
    assert watched.alarms.forecast is not None
    assert rules.monitor.steps[-1] + watched.alarms.forecast.within == rules.rl.steps
    assert tables.training is not None
    known = training_of_table(tables.training, list(types)).types
    wanted = training_of(run, rules, roles_of(run.base, rules)).types
    assert known_of(run)["families"].keys() == {one.family for one in wanted.values()}
    for kind, one in wanted.items():
        mine = known[kind]
        assert (mine.rollouts, mine.paid, mine.first_step) == (one.rollouts, one.paid, one.first_step), kind
        assert mine.family == one.family, kind


def test_the_first_checkpoint_is_the_base_and_a_run_that_is_too_short_is_refused(tmp_path: Path) -> None:
    organism = Organism(shipped_folder())
    made = untrained(organism.adapter("rl", 200), tmp_path / "first")
    trained = load_file(organism.adapter("rl", 200) / "adapter_model.safetensors")
    first = load_file(made / "adapter_model.safetensors")
    assert first.keys() == trained.keys()
    for name, value in trained.items():
        assert torch.equal(first[name], torch.zeros_like(value) if "lora_B" in name else value), name
    with pytest.raises(InputError, match=r"no step 20: run `forewarn bench train d0-V1`"):
        planned(tmp_path, Organism(tmp_path / "d0"), find_run("d0-V1", protocol()))


def test_an_alarm_counts_from_the_first_checkpoint_after_which_it_is_raised() -> None:
    def alert(step: int, kind: Literal["exceeds", "forecast"], *, raised: bool) -> Alert:
        return Alert("run", "test_skipping", step, kind, "words", raised=raised)

    told = first_raised(
        [
            alert(0, "forecast", raised=False),
            alert(20, "exceeds", raised=True),
            alert(40, "forecast", raised=True),
            alert(60, "exceeds", raised=True),
        ]
    )
    assert told == {"exceeds": {"test_skipping": 20}, "forecast": {"test_skipping": 40}}
