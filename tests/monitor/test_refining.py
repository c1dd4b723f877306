"""A donor that no longer reaches is said, refined between checkpoints, and writes at those that come."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from forewarn.monitor.state import read_state
from forewarn.study import read_completions, read_results
from forewarn.study.folder.manifest import purpose_of
from forewarn.study.results import reach
from tests.command import Said
from tests.monitor.trainer import Trainer, watcher

TRAINING = """[donors.training]
epochs = 6.0
batch_size = 8
learning_rate = 2e-2
rank = 4
alpha = 8.0
"""
"""how a successor is trained"""


@pytest.mark.slow
def test_a_donor_that_no_longer_reaches_is_refined_between_checkpoints(
    home: Path, trainer: Trainer, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    # two checkpoints of so small a world never differ by ten: here a donor has to get better to be kept
    monkeypatch.setattr(reach, "FELL_TO", 5.0)
    monkeypatch.setattr(reach, "COUNTED", 10**6)
    monkeypatch.setattr(reach, "LEAST_ESS", 0.0)
    study, root, lines = home / "study.toml", home / "runs" / "tiny", list[str]()
    text = study.read_text().replace("[policy]", "[watch]\nrefine = true\n[policy]")
    study.write_text(text.replace('path = "donor"\nbase = "base"\n', 'path = "donor"\nbase = "base"\n' + TRAINING))
    one = watcher(home, lines)
    for step in (1, 20, 30):
        trainer.save(step)
        one.look(), one.look()
        assert one.measure_next() is not None, lines
    said_lost = [line for line in lines if line.startswith("donor no longer reaches")]
    assert any("of tiny at step 20: " in line for line in said_lost), lines
    assert "refining donor at checkpoint-20" in " ".join(lines)
    state = read_state(root)
    assert state is not None
    assert state.drawn["checkpoint-20"].donors == {}
    assert state.drawn["checkpoint-30"].donors == {"donor": "donor-20"}
    assert purpose_of(root / "refinements" / "donor-20") == "refinement"
    drawn = read_completions(root)
    by = {name: set(own["donor"]) for (name,), own in drawn.partition_by("checkpoint_id", as_dict=True).items()}
    assert by == {
        "checkpoint-1": {"subject", "donor"},
        "checkpoint-20": {"subject", "donor"},
        "checkpoint-30": {"subject", "donor-20"},
    }
    assert drawn.height == 3 * 72  # nothing of the batch
    last = next(cell for cell in read_results(root).estimates if cell.step == 30)
    assert last.estimate.n_hits > 0

    trainer.save(40)
    again = watcher(home, lines)  # as after a kill: the donors of each checkpoint stay what they were
    again.look(), again.look()
    assert again.measure_next() is not None, lines
    assert {cell.step for cell in read_results(root).estimates} == {1, 20, 30, 40}
    donors = json.loads(said("status", "runs/tiny", "--json")[1])["donors"]
    assert {one["donor"] for one in donors} >= {"donor", "donor-20"}
    assert "What donors reach" in said("status", "runs/tiny")[1]
