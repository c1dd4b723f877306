"""Models loaded in turn: one of them in memory at a time, and the same numbers to the bit."""

from __future__ import annotations

import gc
import weakref
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
import torch

from forewarn.checkpoints.sources import ModelSource
from forewarn.engines.in_turn import InTurn
from forewarn.engines.transformers.engine import HFEngine
from forewarn.errors import InputError, ModelError
from forewarn.records import Policy
from forewarn.study import Machine, run_study
from forewarn.study import models as models_module
from tests.study_runner import tiny_study
from tests.tiny_world import POLICY, TinyWorld


def test_a_study_of_full_models_in_turn_is_the_same_to_the_bit(
    world: TinyWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # a donor with weights of its own, and one that is an adapter on the first checkpoint's model
    study = replace(
        tiny_study(world, count=6),
        donors=(ModelSource("donor", str(world.later)),),
        checkpoints=(ModelSource("step-1", str(world.subject), str(world.donor), step=1),),
    )
    live: list[weakref.ref[HFEngine]] = []
    most = 0
    plain = models_module.open_engine

    def counted(*args: object, **kwargs: object) -> object:
        nonlocal most
        engine = plain(*args, **kwargs)  # type: ignore[arg-type]
        live.append(weakref.ref(engine))  # type: ignore[arg-type]
        gc.collect()
        most = max(most, sum(ref() is not None for ref in live))
        return engine

    monkeypatch.setattr(models_module, "open_engine", counted)
    together = run_study(study, tmp_path / "together")
    assert (most, len(live)) == (2, 2)
    live, most = [], 0
    in_turn = run_study(study, tmp_path / "in-turn", machine=Machine(load="in turn"))
    assert most == 1
    assert 4 <= len(live) <= 10  # a few loads a cell
    assert [cell.estimate for cell in in_turn] == [cell.estimate for cell in together]
    assert in_turn[0].estimate.n_hits > 0
    for stage in ("completions", "scores"):
        a, b = (sorted((tmp_path / name / stage).glob("*.parquet")) for name in ("together", "in-turn"))
        assert [path.name for path in a] == [path.name for path in b]
        for one, other in zip(a, b, strict=True):
            assert pl.read_parquet(one).equals(pl.read_parquet(other))


def test_adapters_come_back_with_their_model_and_go_for_good(world: TinyWorld) -> None:
    turns = InTurn(lambda folder: HFEngine.from_folder(folder, dtype=torch.float64))
    first, second = turns.engine(str(world.subject)), turns.engine(str(world.later))
    row = ([[3, 4]], [[5, 6, 7]])
    first.load_adapter("a", world.donor)
    with_adapter = first.score(*row, policy=POLICY, adapter="a")[0]
    assert second.vocab_size == first.vocab_size
    second.score(*row, policy=Policy())
    assert (first.score(*row, policy=POLICY, adapter="a")[0] == with_adapter).all()
    assert turns.loads >= 3
    first.drop_adapter("a")
    with pytest.raises(ModelError):
        first.score(*row, policy=POLICY, adapter="a")
    with pytest.raises(ModelError, match="isn't loaded"):
        second.drop_adapter("a")
    second.close()  # the other one is loaded: it stays
    assert turns.holds(first)
    first.close()
    assert not turns.holds(first)


def test_a_server_is_not_loaded_in_turn() -> None:
    with pytest.raises(InputError, match="keeps its own model loaded; leave load out"):
        Machine(engine="http://127.0.0.1:9", load="in turn")
