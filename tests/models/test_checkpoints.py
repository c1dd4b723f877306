"""Model folders as sources: receipts of what they hold, checkpoints in order of step, damage refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from forewarn.errors import InputError, ModelError
from forewarn.models.checkpoints import ModelSource, receipt, trainer_checkpoints
from tests.models.tiny import tiny_model
from tests.tiny_world import TinyWorld


def test_receipts_follow_the_weights_and_not_the_path(world: TinyWorld, tmp_path: Path) -> None:
    base = ModelSource("a", str(world.subject))
    moved = tmp_path / "elsewhere"
    shutil.copytree(world.subject, moved)
    assert receipt(ModelSource("b", str(moved), step=4)) == receipt(base)
    adapted = ModelSource("c", str(world.subject), str(world.donor))
    copy = tmp_path / "adapter"
    shutil.copytree(world.donor, copy)
    config = json.loads((copy / "adapter_config.json").read_text())
    (copy / "adapter_config.json").write_text(json.dumps({**config, "base_model_name_or_path": "somewhere/else"}))
    assert receipt(ModelSource("d", str(moved), str(copy))) == receipt(adapted)
    (copy / "adapter_config.json").write_text(json.dumps({**config, "lora_alpha": config["lora_alpha"] + 1}))
    others = [receipt(ModelSource("d", str(moved), str(copy))), receipt(ModelSource("e", str(world.later)))]
    assert len({receipt(base), receipt(adapted), *others}) == 4
    assert receipt(ModelSource("f", "some-org/some-model")) == receipt(ModelSource("g", "some-org/some-model"))


def test_checkpoints_come_in_order_of_step(world: TinyWorld, tmp_path: Path) -> None:
    for step in (100, 20, 3):
        shutil.copytree(world.donor if step == 20 else world.later, tmp_path / f"checkpoint-{step}")
    (tmp_path / "runs-17").mkdir()
    (tmp_path / "logs").mkdir()
    (tmp_path / "step-7").write_text("a file")
    found = trainer_checkpoints(tmp_path, base=str(world.subject))
    assert [source.step for source in found] == [3, 20, 100]
    assert [source.model_id for source in found] == ["checkpoint-3", "checkpoint-20", "checkpoint-100"]
    assert found[1].folder == str(world.subject)
    assert found[1].adapter == str(tmp_path / "checkpoint-20")
    assert found[0].adapter is None


def test_half_written_checkpoints(world: TinyWorld, tmp_path: Path) -> None:
    for step in (1, 2):
        shutil.copytree(world.later, tmp_path / f"step-{step:04d}")

    def cut(step: int) -> None:
        weights = tmp_path / f"step-{step:04d}" / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:100])

    cut(2)  # the newest may still be on its way
    assert [source.step for source in trainer_checkpoints(tmp_path)] == [1]
    shutil.copytree(world.later, tmp_path / "step-0003")
    with pytest.raises(ModelError, match=r"step-0002.*(cut short|header)"):
        trainer_checkpoints(tmp_path)


def test_folders_without_checkpoints_are_refused(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(InputError, match="holds no checkpoints"):
            trainer_checkpoints(folder)
    nameless = tmp_path / "step-1"
    nameless.mkdir()
    (nameless / "adapter_config.json").write_text("{}")
    with pytest.raises(InputError, match="doesn't name its base model"):
        trainer_checkpoints(tmp_path)
    (nameless / "adapter_config.json").unlink()
    tiny_model().config.save_pretrained(str(nameless))
    with pytest.raises(ModelError, match="holds no weights"):
        receipt(ModelSource("a", str(nameless)))
