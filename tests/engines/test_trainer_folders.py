"""Where trainers put their checkpoints: steps from a parent's name, unnumbered siblings skipped, leftovers ignored."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from forewarn.checkpoints.find import find_checkpoints
from forewarn.checkpoints.load import load_model
from forewarn.checkpoints.sources import ModelSource, receipt
from forewarn.errors import InputError, ModelError
from tests.tiny_world import TinyWorld


def found(where: Path | str, **settings: object) -> list[tuple[str, int]]:
    return [(source.model_id, source.step) for source in find_checkpoints(str(where), **settings)]  # type: ignore[arg-type]


@pytest.fixture
def verl(world: TinyWorld, tmp_path: Path) -> Path:
    """global_step_N/actor/huggingface beside a critic and the trainer's own shards."""
    run = tmp_path / "verl"
    for step in (9, 10, 100):
        top = run / f"global_step_{step}"
        shutil.copytree(world.later, top / "actor" / "huggingface")
        shutil.copytree(world.subject, top / "critic" / "huggingface")
        (top / "data.pt").write_bytes(b"x")
        (top / "actor" / "model_world_size_1_rank_0.pt").write_bytes(b"x")
    return run


def test_the_step_is_read_from_a_parents_name(verl: Path, world: TinyWorld) -> None:
    steps = [("global_step_9", 9), ("global_step_10", 10), ("global_step_100", 100)]
    for where in (
        "",
        "/global_step_*",
        "/global_step_*/actor",
        "/global_step_*/actor/huggingface",
        "/**/actor/huggingface",
    ):
        assert found(f"{verl}{where}") == steps, where
    assert found(verl / "global_step_9" / "actor" / "huggingface") == steps[:1]
    assert found(verl / "global_step_9" / "actor" / "huggingface", step=7) == [("global_step_9", 7)]
    [first, *_] = find_checkpoints(str(verl))
    assert receipt(first).weights == receipt(ModelSource("x", str(world.later))).weights, (
        "the actor's, not the critic's"
    )
    for where in ("global_step_9/critic", "global_step_*/critic"):
        with pytest.raises(InputError, match=r"has no checkpoints|matches no model"):
            find_checkpoints(f"{verl}/{where}")


def test_a_number_above_a_model_is_a_step_only_with_a_steps_name(world: TinyWorld, tmp_path: Path) -> None:
    for parent in ("2024", "runs-17", "epoch_3"):
        shutil.copytree(world.later, tmp_path / parent / "model")
        with pytest.raises(InputError, match="the step of model can't be told"):
            find_checkpoints(str(tmp_path / parent / "model"))
    shutil.copytree(world.later, tmp_path / "checkpoint-50" / "a" / "b" / "c" / "model")
    with pytest.raises(InputError, match="the step of model can't be told"):
        find_checkpoints(str(tmp_path / "checkpoint-50" / "a" / "b" / "c" / "model"))


def test_an_adapter_inside_a_checkpoint_has_its_step(world: TinyWorld, tmp_path: Path) -> None:
    for step in (9, 10):
        shutil.copytree(world.donor, tmp_path / f"step_{step}" / "lora_adapters")
    where = f"{tmp_path}/step_*/lora_adapters"
    assert found(where, base=str(world.subject)) == [("step_9", 9), ("step_10", 10)]


def test_names_that_end_in_hf_tell_their_step(world: TinyWorld, tmp_path: Path) -> None:
    for step in (9, 10):
        shutil.copytree(world.later, tmp_path / f"global_step{step}_hf")
    assert found(tmp_path) == found(f"{tmp_path}/*") == [("global_step9_hf", 9), ("global_step10_hf", 10)]


def test_shards_that_were_not_merged_come_with_the_remedy(verl: Path) -> None:
    model = verl / "global_step_9" / "actor" / "huggingface"
    (model / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"has no weights .*; merge the FSDP shards beside it first"):
        find_checkpoints(str(model))


def test_a_checkpoint_still_without_its_model_is_half_written(verl: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(verl / "global_step_100" / "actor")
    assert [step for _, step in found(verl)] == [9, 10]
    assert "global_step_100 is left out, as it is half-written" in capsys.readouterr().err


@pytest.mark.parametrize("where", ["", "/*", "/checkpoint-*"])
def test_unnumbered_siblings_are_skipped_with_a_note(
    world: TinyWorld, tmp_path: Path, where: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("checkpoint-9", "checkpoint-10", "checkpoint-final", "best", "checkpoint-\x1b[2J"):
        shutil.copytree(world.later, tmp_path / name)
    for step in (9, 10):
        (tmp_path / f"checkpoint-{step}" / "trainer_state.json").write_text(json.dumps({"global_step": step}))
    assert found(f"{tmp_path}{where}") == [("checkpoint-9", 9), ("checkpoint-10", 10)]
    said = capsys.readouterr().err
    assert "checkpoint-final is left out, as its step can't be told" in said
    assert "checkpoint-\\x1b[2J is left out" in said
    assert ("best is left out" in said) == (where != "/checkpoint-*")
    assert "half-written" not in said
    assert found(tmp_path / "checkpoint-final", step=11) == [("checkpoint-final", 11)]


def test_a_sibling_that_tells_its_step_is_measured(world: TinyWorld, tmp_path: Path) -> None:
    for name, step in (("checkpoint-9", 9), ("best", 7)):
        shutil.copytree(world.later, tmp_path / name)
        (tmp_path / name / "trainer_state.json").write_text(json.dumps({"global_step": step}))
    assert found(f"{tmp_path}/*") == [("best", 7), ("checkpoint-9", 9)]


def test_unnumbered_folders_alone_are_refused(world: TinyWorld, tmp_path: Path) -> None:
    for name in ("final", "best"):
        shutil.copytree(world.later, tmp_path / name)
    with pytest.raises(InputError, match="can't be told"):
        find_checkpoints(f"{tmp_path}/*")


@pytest.mark.parametrize("sharded", [False, True])
@pytest.mark.parametrize(
    "left_over", ["pytorch_model.bin.index.json", "other.safetensors.index.json", "pytorch_model.bin"]
)
def test_whole_safetensors_are_loaded_whatever_lies_beside_them(
    world: TinyWorld, tmp_path: Path, sharded: bool, left_over: str
) -> None:
    model = load_model(world.later)
    model.save_pretrained(str(tmp_path), max_shard_size="4KB" if sharded else "5GB")
    assert (tmp_path / "model.safetensors.index.json").is_file() == sharded
    before = receipt(ModelSource("a", str(tmp_path)))
    lost = {"weight_map": {"model.norm.weight": "pytorch_model-00001-of-00002.bin"}}
    (tmp_path / left_over).write_text(json.dumps(lost))
    assert receipt(ModelSource("a", str(tmp_path))) == before
    loaded = load_model(tmp_path).state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in model.state_dict().items())


def test_an_old_index_beside_one_whole_file_says_nothing(world: TinyWorld, tmp_path: Path) -> None:
    shutil.copytree(world.later, tmp_path / "m")
    (tmp_path / "m" / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "gone.safetensors"}}))
    assert receipt(ModelSource("a", str(tmp_path / "m"))) == receipt(ModelSource("a", str(world.later)))
    load_model(tmp_path / "m")


def test_weights_that_transformers_would_not_find_are_none(world: TinyWorld, tmp_path: Path) -> None:
    shutil.copytree(world.later, tmp_path / "m")
    (tmp_path / "m" / "model.safetensors").rename(tmp_path / "m" / "consolidated.safetensors")
    with pytest.raises(ModelError, match=r"has no weights \(model\.safetensors, "):
        receipt(ModelSource("a", str(tmp_path / "m")))


def test_weights_with_pefts_names_are_said_to_have_them(world: TinyWorld, tmp_path: Path) -> None:
    """What verl leaves of a LoRA run: a model folder that holds the wrapped model."""
    wrapped = tmp_path / "huggingface"
    shutil.copytree(world.subject, wrapped)
    names = {
        "base_model.model." + name.replace("q_proj.weight", "q_proj.base_layer.weight"): weight
        for name, weight in load_file(wrapped / "model.safetensors").items()
    }
    save_file(names, wrapped / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"have PEFT's names \(base_model\.model\..*own folder and its base"):
        load_model(wrapped)
