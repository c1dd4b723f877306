"""What no waiting cures is one sentence and status 2, before anything is measured; the training is not touched."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from forewarn.checkpoints.places import spots_in
from forewarn.errors import InputError
from forewarn.monitor.fit import Fit, check_one_training
from forewarn.study.config.file import read_study_file
from tests.command import Said
from tests.study_runner import TINY_FILE
from tests.tiny_world import TinyWorld


@pytest.fixture
def home(home: Path) -> Path:
    """The working folder, with a study of a training of adapters whose checkpoints will be in ``out``."""
    text = TINY_FILE.replace('path = "base"\nstep = 1', 'path = "out"\nbase = "base"', 1)
    assert text != TINY_FILE
    (home / "study.toml").write_text(text)
    return home


def save(model: Path, out: Path, step: int, *, losses: list[float] | None = None) -> Path:
    folder = out / f"checkpoint-{step}"
    shutil.copytree(model, folder)
    history = [{"step": i + 1, "loss": loss} for i, loss in enumerate(losses or [])]
    (folder / "trainer_state.json").write_text(json.dumps({"global_step": step, "log_history": history}))
    return folder


def fit_of(home: Path) -> Fit:
    return Fit(read_study_file(home / "study.toml")[0], home / "study.toml")


@pytest.mark.parametrize(
    ("gone", "words"),
    [
        ("base", "checkpoints[1].base: "),
        ("donor", "donors[1]: path = 'donor' is not there"),
        ("problems.jsonl", "problems: "),
    ],
)
def test_what_has_moved_is_named(home: Path, world: TinyWorld, said: Said, gone: str, words: str) -> None:
    save(world.donor, home / "out", 1)
    (home / gone).rename(home / "elsewhere")
    code, out, err = said("watch", "study.toml", "--once", "--every", 0.1)
    assert (code, out) == (2, "")
    assert f"study.toml: {words}" in err
    assert "Traceback" not in err
    assert [path.name for path in (home / "out").iterdir()] == ["checkpoint-1"]


def reshaped(folder: Path, change: Any) -> None:
    file = folder / "adapter_model.safetensors"
    save_file({name: change(name, tensor).contiguous() for name, tensor in load_file(file).items()}, file)


def test_adapters_of_another_base_are_refused(home: Path, world: TinyWorld, said: Said) -> None:
    folder = save(world.donor, home / "out", 1)
    fit_of(home).check("checkpoint-1", folder)
    reshaped(folder, lambda name, tensor: torch.cat([tensor, tensor], 1) if ".lora_A." in name else tensor)
    (folder / "trainer_state.json").touch()  # written last
    code, _, err = said("watch", "study.toml", "--once", "--every", 0.1)
    assert code == 2
    assert "study.toml doesn't fit checkpoint-1: its adapter is for model.layers.0." in err
    assert "give the base that it was trained on" in err


def test_adapters_with_more_layers_than_the_base_are_refused(home: Path, world: TinyWorld) -> None:
    folder = save(world.donor, home / "out", 1)
    file = folder / "adapter_model.safetensors"
    tensors = load_file(file)
    deeper = {name.replace(".layers.1.", ".layers.7."): tensor.clone() for name, tensor in tensors.items()}
    save_file(tensors | deeper, file)
    with pytest.raises(InputError, match=r"doesn't fit checkpoint-1: its adapter is for 8 layers, and .*base has 2"):
        fit_of(home).check("checkpoint-1", folder)


def test_a_model_of_another_vocabulary_than_the_donors_is_refused(home: Path, world: TinyWorld) -> None:
    folder = save(world.later, home / "out", 1)
    fit_of(home).check("checkpoint-1", folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"vocab_size": 77}))
    with pytest.raises(InputError, match=r"its model has 77 tokens in its vocabulary, and donor donor .* has 10"):
        fit_of(home).check("checkpoint-1", folder)


def test_an_adapter_without_a_base_is_refused(home: Path, world: TinyWorld) -> None:
    (home / "study.toml").write_text(
        (home / "study.toml").read_text().replace('path = "out"\nbase = "base"', 'path = "out"')
    )
    folder = save(world.donor, home / "out", 1)
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps(config | {"base_model_name_or_path": None}))
    with pytest.raises(InputError, match=r"doesn't fit checkpoint-1: .* doesn't name its base model: give the base"):
        fit_of(home).check("checkpoint-1", folder)


def test_what_cannot_be_told_is_left_to_the_measurement(home: Path, world: TinyWorld) -> None:
    folder = save(world.donor, home / "out", 1)
    (folder / "adapter_config.json").write_text("{")
    fit_of(home).check("checkpoint-1", folder)


def test_logs_that_contradict_each_other_are_two_trainings(home: Path, world: TinyWorld, said: Said) -> None:
    save(world.donor, home / "out", 2, losses=[3.0, 2.5])
    save(world.donor, home / "out", 4, losses=[3.0, 2.5, 2.0, 1.5])
    save(world.donor, home / "out", 5)  # resumed by a trainer that logs nothing
    check_one_training(home / "out", spots_in(home / "out"))
    save(world.donor, home / "out", 3, losses=[3.0, 2.4, 2.0])
    code, _, err = said("watch", "study.toml", "--once", "--every", 0.1)
    assert code == 2
    assert "out holds two trainings: by checkpoint-2 the loss at step 2 was 2.5, by checkpoint-3 2.4" in err
    assert not (home / "runs" / "tiny" / "checkpoints").exists()


def test_folders_of_two_trainers_are_two_trainings(home: Path, world: TinyWorld) -> None:
    save(world.donor, home / "out", 2)
    (home / "out" / "2026").mkdir()
    check_one_training(home / "out", spots_in(home / "out"))
    shutil.copytree(world.donor, home / "out" / "global_step4_hf")
    with pytest.raises(InputError, match="holds two trainings: checkpoint-2 is of TRL, global_step4_hf of OpenRLHF"):
        check_one_training(home / "out", spots_in(home / "out"))
