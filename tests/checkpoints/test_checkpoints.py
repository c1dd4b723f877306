"""Model folders as sources: receipts of what they hold, checkpoints in order of step, damage refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from forewarn.checkpoints.find import find_checkpoints, trainer_checkpoints
from forewarn.checkpoints.load import load_model, load_tokenizer
from forewarn.checkpoints.sources import ModelSource, check_unchanged, receipt, source_signature
from forewarn.errors import InputError, ModelError
from tests.engines.tiny import tiny_model
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
    assert len({receipt(base).key, receipt(adapted).key, *(other.key for other in others)}) == 4


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


def test_half_written_checkpoints(world: TinyWorld, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for step in (1, 2):
        shutil.copytree(world.later, tmp_path / f"step-{step:04d}")

    def cut(step: int) -> None:
        weights = tmp_path / f"step-{step:04d}" / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:100])

    cut(2)  # the newest may still be on its way
    assert [source.step for source in trainer_checkpoints(tmp_path)] == [1]
    assert "step-0002 is left out, as it is half-written: " in capsys.readouterr().err
    shutil.copytree(world.later, tmp_path / "step-0003")
    with pytest.raises(ModelError, match=r"step-0002.*(cut short|header)"):
        trainer_checkpoints(tmp_path)


def test_a_lasting_fault_of_the_newest_is_refused(world: TinyWorld, tmp_path: Path) -> None:
    for step in (1, 2):
        shutil.copytree(world.donor, tmp_path / f"step-{step:04d}")
    notes = json.loads((tmp_path / "step-0002" / "forewarn_sft.json").read_text())
    (tmp_path / "step-0002" / "forewarn_sft.json").write_text(json.dumps(notes | {"base_weights": "0" * 16}))
    with pytest.raises(ModelError, match=r"step-0002 was trained on another base"):
        trainer_checkpoints(tmp_path, base=str(world.subject))
    (tmp_path / "step-0002" / "adapter_config.json").unlink()
    assert [source.step for source in trainer_checkpoints(tmp_path, base=str(world.subject))] == [1]


def header(text: bytes) -> bytes:
    return len(text).to_bytes(8, "little") + text


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("model.safetensors", header(b"[]"), "model.safetensors has no readable header; copy it again"),
        ("model.safetensors", header(b'{"a":1}'), "model.safetensors has no readable header; copy it again"),
        ("model.safetensors", header(b'{"a":{"data_offsets":[0]}}'), "model.safetensors has no readable header"),
        ("model.safetensors.index.json", b'{"weight_map": [1]}', "names no files in its weight_map; copy it again"),
        ("config.json", b"[1]", "config.json is not a JSON object; copy it again"),
        ("config.json", b'{"archi', "config.json is not readable JSON; copy it again"),
    ],
)
def test_json_of_another_shape_is_damage(
    world: TinyWorld, tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    copy = tmp_path / "model"
    shutil.copytree(world.later, copy)
    if name.endswith(".index.json"):
        (copy / "model.safetensors").unlink()  # beside whole weights an index says nothing
    (copy / name).write_bytes(content)
    with pytest.raises(ModelError, match=message):
        receipt(ModelSource("a", str(copy)))


def test_what_cannot_be_loaded_comes_with_a_remedy(world: TinyWorld, tmp_path: Path) -> None:
    adapter = tmp_path / "adapter"
    shutil.copytree(world.donor, adapter)
    remedy = "give the base model's folder, as this one holds an adapter"
    for load in (load_model, load_tokenizer, lambda folder: receipt(ModelSource("a", str(folder)))):
        with pytest.raises(ModelError, match=remedy):
            load(adapter)
    (adapter / "adapter_config.json").write_text("[1]")
    with pytest.raises(ModelError, match=r"has no readable adapter_config\.json"):
        receipt(ModelSource("a", str(world.subject), str(adapter)))
    with pytest.raises(ModelError, match=r"adapter_config\.json is not a JSON object; copy it again"):
        find_checkpoints(str(adapter), step=1)
    copy = tmp_path / "model"
    for name, content in (
        ("tokenizer.json", '{"model": 1'),
        ("tokenizer.json", '{"model": 1}'),
        ("config.json", "[1]"),
    ):
        shutil.copytree(world.subject, copy)
        (copy / name).write_text(content)
        with pytest.raises(ModelError, match=r"; copy it again"):
            load_tokenizer(copy)
        if name == "config.json":
            with pytest.raises(ModelError, match=r"can't load a model .*; copy it again, or give a folder saved by"):
                load_model(copy)
        shutil.rmtree(copy)


def test_folders_without_checkpoints_are_refused(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(InputError, match="has no checkpoints"):
            trainer_checkpoints(folder)
    nameless = tmp_path / "step-1"
    nameless.mkdir()
    (nameless / "adapter_config.json").write_text("{}")
    with pytest.raises(InputError, match="doesn't name its base model"):
        trainer_checkpoints(tmp_path)
    (nameless / "adapter_config.json").unlink()
    tiny_model().config.save_pretrained(str(nameless))
    with pytest.raises(ModelError, match="has no weights"):
        receipt(ModelSource("a", str(nameless)))


def trainer_folder(world: TinyWorld, run: Path, steps: tuple[int, ...], *, state: bool = True) -> None:
    """Checkpoints as transformers' Trainer leaves them, whose state says a tenth of what their names say."""
    for step in steps:
        folder = run / f"checkpoint-{step}"
        shutil.copytree(world.donor if step % 20 else world.later, folder)
        if state:
            (folder / "trainer_state.json").write_text(json.dumps({"global_step": step // 10, "epoch": 1.0}))


def test_steps_are_read_from_the_trainers_state(world: TinyWorld, tmp_path: Path) -> None:
    trainer_folder(world, tmp_path / "run", (10, 20, 100))
    found = find_checkpoints(str(tmp_path / "run"))
    assert [(s.model_id, s.step) for s in found] == [("checkpoint-10", 1), ("checkpoint-20", 2), ("checkpoint-100", 10)]
    assert found[0].adapter is not None
    assert found[0].folder == str(world.subject), "the base that the adapter names"
    assert found[1].adapter is None
    [one] = find_checkpoints(str(tmp_path / "run" / "checkpoint-20"), step=7, name="the one")
    assert (one.model_id, one.step) == ("the one", 7)
    (tmp_path / "run" / "checkpoint-20" / "trainer_state.json").write_text('{"global_st')
    with pytest.raises(ModelError, match="global_step: it is half-written"):
        find_checkpoints(str(tmp_path / "run"))
    (tmp_path / "run" / "checkpoint-20" / "trainer_state.json").unlink()
    with pytest.raises(ModelError, match=r"checkpoint-20 lacks trainer_state\.json"):
        find_checkpoints(str(tmp_path / "run"))
    (tmp_path / "run" / "checkpoint-100" / "trainer_state.json").unlink()
    shutil.rmtree(tmp_path / "run" / "checkpoint-20")
    assert [s.step for s in find_checkpoints(str(tmp_path / "run"))] == [1], "the newest is still being written"


def test_globs_and_runs_side_by_side(world: TinyWorld, tmp_path: Path) -> None:
    for seed in (1, 2):
        trainer_folder(world, tmp_path / f"seed-{seed}", (10 * seed, 100), state=False)
        shutil.copytree(world.later, tmp_path / f"seed-{seed}" / "final")
    found = find_checkpoints(f"{tmp_path}/seed-*/checkpoint-*")
    assert [s.step for s in found] == [10, 20, 100, 100]
    assert sorted(s.model_id for s in found) == [
        *("seed-1/checkpoint-10", "seed-1/checkpoint-100", "seed-2/checkpoint-100", "seed-2/checkpoint-20"),
    ]
    assert find_checkpoints(f"{tmp_path}/seed-?") == found
    with pytest.raises(InputError, match=r"the step of .*final can't be told"):
        find_checkpoints(f"{tmp_path}/seed-*/final")
    with pytest.raises(InputError, match="the step of final can't be told"):
        find_checkpoints(str(tmp_path / "seed-1" / "final"))
    with pytest.raises(InputError, match="names 4 checkpoints"):
        find_checkpoints(f"{tmp_path}/seed-*/checkpoint-*", step=3)
    with pytest.raises(InputError, match="matches no model"):
        find_checkpoints(f"{tmp_path}/nothing-*")
    with pytest.raises(InputError, match="is not a folder, a matching glob, or a hub name"):
        find_checkpoints(str(tmp_path / "nothing"))


def test_a_final_model_beside_its_checkpoints_is_meant_by_its_step(world: TinyWorld, tmp_path: Path) -> None:
    shutil.copytree(world.later, tmp_path / "run")
    trainer_folder(world, tmp_path / "run", (10, 20))
    assert [s.step for s in find_checkpoints(str(tmp_path / "run"))] == [1, 2]
    [final] = find_checkpoints(str(tmp_path / "run"), step=30)
    assert (final.model_id, final.step, final.folder) == ("run", 30, str(tmp_path / "run"))


def test_merged_folders_and_those_that_hold_both(world: TinyWorld, tmp_path: Path) -> None:
    merged = tmp_path / "step-5"
    shutil.copytree(world.later, merged)
    shutil.copy(world.donor / "adapter_config.json", merged)
    [source] = find_checkpoints(str(merged))
    assert source.adapter is None, "merging leaves the adapter's settings, not its weights"
    shutil.copy(world.donor / "adapter_model.safetensors", merged)
    with pytest.raises(InputError, match="an adapter and a whole model"):
        find_checkpoints(str(merged))


def hub_cache(cache: Path, repo: str, revision: str, files: Path) -> Path:
    """A repository in the hub's cache, as a download leaves it."""
    commit = (revision.encode().hex() * 40)[:40]
    home = cache / ("models--" + repo.replace("/", "--"))
    (home / "refs").mkdir(parents=True, exist_ok=True)
    (home / "refs" / revision).write_text(commit)
    snapshot = home / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (home / "blobs").mkdir(exist_ok=True)
    for file in files.iterdir():
        blob = home / "blobs" / f"{commit[:8]}-{file.name}"
        shutil.copy(file, blob)
        (snapshot / file.name).symlink_to(blob)
    return snapshot


def test_hub_revisions_from_the_cache(world: TinyWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    main = hub_cache(tmp_path, "org/tiny", "main", world.subject)
    hub_cache(tmp_path, "org/tiny", "step9", world.later)
    adapter = hub_cache(tmp_path, "org/tiny-lora", "main", world.donor)
    [late] = find_checkpoints("org/tiny@step9")
    assert (late.model_id, late.step) == ("tiny@step9", 9)
    assert receipt(late).key == receipt(ModelSource("x", str(world.later))).key
    assert receipt(ModelSource("x", "org/tiny")) == receipt(ModelSource("y", str(world.subject)))
    [early] = find_checkpoints("org/tiny", step=0)
    assert early.folder == str(main)
    [lora] = find_checkpoints("org/tiny-lora", step=3, base="org/tiny")
    assert (lora.adapter, lora.folder) == (str(adapter), str(main))
    assert load_tokenizer("org/tiny").get_vocab() == load_tokenizer(world.subject).get_vocab()
    loaded, own = load_model("org/tiny@step9").state_dict(), load_model(world.later).state_dict()
    assert all(loaded[name].equal(own[name]) for name in own)
    with pytest.raises(ModelError, match="org/other is not a folder here, is not in the hub's cache"):
        find_checkpoints("org/other", step=1)
    with pytest.raises(ModelError, match=r"base model of the adapter in .* org/gone"):
        find_checkpoints("org/tiny-lora", step=3, base="org/gone")


def test_receipts_tell_weights_tokenizer_and_template_apart(world: TinyWorld, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(world.subject, copy)
    before = receipt(ModelSource("a", str(copy)))
    assert before.template is None
    (copy / "chat_template.jinja").write_text("{{ messages }}")
    templated = receipt(ModelSource("a", str(copy)))
    assert templated.template is not None
    assert (templated.key, templated.weights) == (before.key, before.weights), "no sampled token depends on it"
    tokenizer = json.loads((copy / "tokenizer.json").read_text())
    (copy / "tokenizer.json").write_text(json.dumps(tokenizer | {"truncation": None}, indent=3))
    other = receipt(ModelSource("a", str(copy)))
    assert other.weights == before.weights
    assert other.tokenizer != before.tokenizer
    assert other.key != before.key


def test_shards_that_are_missing_are_named(world: TinyWorld, tmp_path: Path) -> None:
    copy = tmp_path / "step-1"
    shutil.copytree(world.later, copy)
    (copy / "model.safetensors").rename(copy / "model-00001-of-00002.safetensors")
    parts = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (copy / "model.safetensors.index.json").write_text(json.dumps({"weight_map": parts}))
    with pytest.raises(ModelError, match=r"lacks model-00002-of-00002\.safetensors"):
        find_checkpoints(str(copy))
    (copy / "pytorch_model.bin").write_bytes(b"PK half of it")
    (copy / "model.safetensors.index.json").unlink()
    with pytest.raises(ModelError, match="is not a complete file in torch's format"):
        receipt(ModelSource("a", str(copy)))


def test_an_adapter_of_another_base_is_refused(world: TinyWorld, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"was trained on another base .* give the base it was trained on"):
        receipt(ModelSource("a", str(world.later), str(world.donor)))
    moved = tmp_path / "adapter"
    shutil.copytree(world.donor, moved)
    config = json.loads((moved / "adapter_config.json").read_text())
    (moved / "adapter_config.json").write_text(json.dumps(config | {"base_model_name_or_path": "was/elsewhere"}))
    receipt(ModelSource("a", str(world.later), str(moved)))  # nothing says that it does not belong
    notes = json.loads((moved / "forewarn_sft.json").read_text())
    (moved / "forewarn_sft.json").write_text(json.dumps(notes | {"base_weights": "0" * 16}))
    with pytest.raises(ModelError, match="was trained on another base"):
        receipt(ModelSource("a", str(world.later), str(moved)))


def test_files_that_are_written_to_are_seen(world: TinyWorld, tmp_path: Path) -> None:
    copy = tmp_path / "model"
    shutil.copytree(world.later, copy)
    source = ModelSource("a", str(copy))
    before = source_signature(source)
    check_unchanged(source, before)
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes())
    with pytest.raises(ModelError, match="changed while it was measured"):
        check_unchanged(source, before)
    before = source_signature(source)
    shutil.rmtree(copy)
    with pytest.raises(ModelError, match="changed while it was measured"):
        check_unchanged(source, before)
