"""A study's file names a trainer's run: its checkpoints are found by their layout, and converted if need be."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from pathlib import Path

import pytest

from forewarn.errors import InputError, ModelError
from forewarn.study import load_study
from tests.tiny_world import TinyWorld

STUDY = """
name = "layouts"
[problems]
types = ["process_exit"]
limit = 1
[policy]
max_total_tokens = 8
[format]
name = "plain-think"
[[checkpoints]]
path = "run"
{keys}
[[spans]]
count = 2
"""
COPY = "import shutil, sys; shutil.copytree(sys.argv[1], sys.argv[2])"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """verl's folder with FSDP's defaults: settings and shards, and no weights in Hugging Face form."""
    for step in (9, 10):
        actor = tmp_path / "run" / f"global_step_{step}" / "actor"
        (actor / "huggingface").mkdir(parents=True)
        (actor / "huggingface" / "config.json").write_text("{}")
        (actor / "model_world_size_1_rank_0.pt").write_bytes(bytes([step]))
    (tmp_path / "run" / "latest_checkpointed_iteration.txt").write_text("10")
    return tmp_path / "run"


def study(folder: Path, keys: str = "") -> Path:
    path = folder / "study.toml"
    path.write_text(STUDY.format(keys=keys))
    return path


def test_shards_are_converted_by_the_files_command(world: TinyWorld, run: Path, tmp_path: Path) -> None:
    command = f"{shlex.quote(sys.executable)} -c {shlex.quote(COPY)} {shlex.quote(str(world.later))} {{target}}"
    path = study(tmp_path, f"convert = {json.dumps(command)}\nsteps = [9]")
    [source] = load_study(path).study.checkpoints
    assert (source.model_id, source.step, source.adapter) == ("global_step_9", 9, None)
    assert Path(source.folder).parent == tmp_path / "converted"
    shutil.rmtree(tmp_path / "converted")
    path = study(
        tmp_path, f'convert = {json.dumps(command + " && true")}\nconvert_shell = true\nconverted = "elsewhere"'
    )
    found = load_study(path).study.checkpoints
    assert [source.step for source in found] == [9, 10]
    assert {Path(source.folder).parent for source in found} == {tmp_path / "elsewhere"}


def test_what_is_wrong_with_a_command_names_the_key(run: Path, tmp_path: Path) -> None:
    with pytest.raises(
        ModelError, match=r"checkpoints\[1\]: the weights of global_step_9 in .* are in verl \(FSDP\)'s own"
    ):
        load_study(study(tmp_path))
    with pytest.raises(InputError, match=r"checkpoints\[1\]: the converter 'make' does not use \{target\}"):
        load_study(study(tmp_path, 'convert = "make"'))
    with pytest.raises(
        ModelError, match=r"checkpoints\[1\]: the converter of global_step_9 ended with status 3: it printed"
    ):
        load_study(study(tmp_path, 'convert = "exit 3; {target}"\nconvert_shell = true'))
