"""The contract of a checkpoint layout: recognised when it is whole, never before, with the right step.

A new layout brings the way in which its trainer writes, in ``trainers.py``.
"""

from __future__ import annotations

import itertools
import json
import re
import shlex
import sys
from pathlib import Path

import pytest

from forewarn.checkpoints.convert import OWN, Converter, arguments, converted
from forewarn.checkpoints.find import find_checkpoints
from forewarn.checkpoints.layouts import LAYOUTS
from forewarn.checkpoints.places import model_in, needs_converter, spot_of, spots_in
from forewarn.checkpoints.polls import SETTLED_S, Polls
from forewarn.errors import HalfWrittenError, InputError, ModelError
from tests.contracts import trainers
from tests.contracts.trainers import TRAINERS, put, write

STEPS = (9, 20, 100)
"""whose order is not that of their names"""


def test_every_layout_has_its_trainer() -> None:
    assert {key for key, _ in TRAINERS.values()} == LAYOUTS.keys()


@pytest.mark.parametrize("trainer", TRAINERS)
def test_a_checkpoint_is_recognised_when_it_is_whole_and_never_before(trainer: str, tmp_path: Path) -> None:
    key, writer = TRAINERS[trainer]
    run = tmp_path / "run"
    run.mkdir()
    polls = Polls(run)
    done: list[int] = []
    states = 0
    for step in (9, 20, 100):
        for whole in writer(run, step):
            states += 1
            assert [spot.step for spot in polls.look()] == done, "seen for the first time, or half-written"
            if whole:
                done.append(step)
            found = polls.look()
            assert [spot.step for spot in found] == done
            assert all(spot.layout is LAYOUTS[key] for spot in found)
    assert states >= 3
    assert [spot.step for spot in polls.look()] == done


@pytest.mark.parametrize("trainer", ["trl", "plain", "prime-rl"])
def test_files_that_change_again_are_not_whole(trainer: str, tmp_path: Path) -> None:
    write(tmp_path, trainer, 9)
    ticks = itertools.count(0.0, 2 * SETTLED_S)  # weights that are newer than the trainer's sign have to settle
    polls = Polls(tmp_path, clock=lambda: next(ticks))
    polls.look()
    [spot] = polls.look()
    weights = next(path for path in sorted(spot.folder.iterdir()) if path.suffix == ".safetensors")
    put(weights, trainers.tensors(7))
    assert polls.look() == []
    assert polls.look() == [spot]
    put(weights, trainers.tensors(8)[:-1])
    assert polls.look() == []
    assert polls.look() == []
    trainers.prune(spot.folder)
    assert polls.look() == []


def test_a_run_that_is_not_there_has_no_checkpoints(tmp_path: Path) -> None:
    assert Polls(tmp_path / "not yet").look() == []


@pytest.mark.parametrize(
    "name",
    [
        "tmp_step_100",
        "old_step_100",
        "my-checkpoint-5",
        "checkpoint-5.tmp",
        "checkpoint-",
        "ckpt-9k",
        "epoch_3_old",
        "x9",
    ],
)
def test_a_part_of_a_name_is_not_a_checkpoint(name: str, tmp_path: Path) -> None:
    for _ in trainers.sharded(tmp_path / name, 1):
        pass
    assert spot_of(tmp_path / name) is None
    assert spots_in(tmp_path) == []
    with pytest.raises(InputError, match="has no checkpoints"):
        find_checkpoints(str(tmp_path))
    with pytest.raises(InputError, match=f"the step of {name} can't be told"):
        find_checkpoints(str(tmp_path / name))
    assert find_checkpoints(str(tmp_path / name), step=3)[0].step == 3


@pytest.mark.parametrize(
    ("name", "step"),
    [("checkpoint-7", 7), ("global_step100_hf", 100), ("epoch_3", 3), ("step_0012", 12), ("ckpt-5", 5), ("17", 17)],
)
def test_whole_names_tell_their_step(name: str, step: int, tmp_path: Path) -> None:
    for _ in trainers.sharded(tmp_path / name, 1):
        pass
    for where in (tmp_path, tmp_path / name, f"{tmp_path}/*"):
        [source] = find_checkpoints(str(where))
        assert (source.step, source.model_id, source.folder) == (step, name, str(tmp_path / name))


@pytest.mark.parametrize("trainer", [name for name in TRAINERS if name != "prime-rl, NCCL"])
def test_a_study_names_a_run_by_its_folder_or_a_checkpoint(trainer: str, tmp_path: Path) -> None:
    """Step, name and place are the same by the run's folder, by the checkpoint's own and by the model's inside it."""
    for step in STEPS:
        write(tmp_path, trainer, step)
    spots = spots_in(tmp_path)
    assert [spot.step for spot in spots] == list(STEPS)
    if any(map(needs_converter, spots)):
        with pytest.raises(ModelError, match="own form: give the command that converts them"):
            find_checkpoints(str(tmp_path), base="base")
        return
    base = tmp_path / "base"
    for _ in trainers.sharded(base, 1):
        pass
    found = find_checkpoints(str(tmp_path), base=str(base))
    assert [(source.step, source.model_id) for source in found] == [(spot.step, spot.name) for spot in spots]
    for spot, source in zip(spots, found, strict=True):
        model = model_in(spot)
        assert str(model) == (source.adapter or source.folder)
        for where in (spot.folder, model):
            assert find_checkpoints(str(where), base=str(base)) == (source,), where


@pytest.mark.parametrize("trainer", ["trl", "verl, FSDP", "open-instruct", "openrlhf"])
def test_the_newest_is_left_out_while_it_is_written_and_an_older_one_refused(
    trainer: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, trainer, 9)
    states = TRAINERS[trainer][1](tmp_path, 20)
    for whole in states:
        steps = [source.step for source in find_checkpoints(str(tmp_path))]
        assert steps == ([9, 20] if whole else [9])
        said = capsys.readouterr().err
        assert ("is left out, as it is half-written" in said) == (not whole and bool(spots_in(tmp_path)[1:]))
    if trainer in ("trl", "open-instruct"):
        sign = {"trl": "trainer_state.json", "open-instruct": ".checkpoint_complete"}[trainer]
        write(tmp_path, trainer, 100)
        (spots_in(tmp_path)[1].folder / sign).unlink()
        with pytest.raises(HalfWrittenError, match=f"lacks .*{re.escape(sign)}"):
            find_checkpoints(str(tmp_path))


def test_two_trainings_in_one_folder_are_refused(tmp_path: Path) -> None:
    for name in ("a_checkpoints", "b_checkpoints"):
        for _ in trainers.sharded(tmp_path / name / "step_5", 1):
            pass
    with pytest.raises(InputError, match="holds two trainings, a_checkpoints and b_checkpoints: give one of them"):
        find_checkpoints(str(tmp_path))
    assert find_checkpoints(str(tmp_path / "a_checkpoints"))[0].step == 5


def test_a_trainer_that_keeps_two_forms_is_read_in_the_ready_one(tmp_path: Path) -> None:
    write(tmp_path, "prime-rl, DCP", 9)
    write(tmp_path, "prime-rl", 20)
    assert [(spot.layout, spot.step) for spot in spots_in(tmp_path)] == [(LAYOUTS["prime-rl"], 20)]
    trainers.prune(tmp_path / "broadcasts" / "step_20")
    assert [(spot.layout, spot.step) for spot in spots_in(tmp_path)] == [(LAYOUTS["prime-rl-dcp"], 9)]


OWN_COMMANDS = {
    "verl, FSDP": "python -m verl.model_merger merge --backend fsdp --local_dir {run}/global_step_9/actor "
    "--target_dir T",
    "verl, Megatron": "python -m verl.model_merger merge --backend megatron --local_dir {run}/global_step_9/actor "
    "--target_dir T",
    "NeMo-RL": "python examples/converters/convert_dcp_to_hf.py --config {run}/step_9/config.yaml --dcp-ckpt-path "
    "{run}/step_9/policy/weights --hf-ckpt-path T",
    "trl": "accelerate merge-weights {run}/checkpoint-9/pytorch_model_fsdp_0 T",
}


@pytest.mark.parametrize(
    "trainer", ["trl", "verl, FSDP", "verl, Megatron", "NeMo-RL", "SkyRL, shards", "torchtune, DCP"]
)
def test_the_trainers_own_converter_gets_its_arguments(trainer: str, tmp_path: Path) -> None:
    write(tmp_path, trainer, 9)
    [spot] = spots_in(tmp_path)
    converter = Converter(OWN, tmp_path / "converted")
    if trainer not in OWN_COMMANDS:
        with pytest.raises(InputError, match=f"no converter of {re.escape(spot.layout.title)} is known"):
            arguments(spot, converter, Path("T"))
    else:
        assert arguments(spot, converter, Path("T")) == OWN_COMMANDS[trainer].format(run=tmp_path).split(" ")


CONVERT = """
import json, pathlib, shutil, sys
target = pathlib.Path(sys.argv[2])
shutil.copytree(sys.argv[1], target)
with open(sys.argv[3], "a") as log:
    log.write(json.dumps(sys.argv[4:]) + chr(10))
"""


@pytest.fixture
def command(tmp_path: Path) -> str:
    """A converter that copies a ready model, and notes what it was called with."""
    for _ in trainers.sharded(tmp_path / "ready", 1):
        pass
    put(tmp_path / "convert.py", CONVERT)
    words = [sys.executable, str(tmp_path / "convert.py"), str(tmp_path / "ready")]
    log = shlex.quote(str(tmp_path / "log"))
    return f"{shlex.join(words)} {{target}} {log} {{source}} {{checkpoint}} {{step}} {{name}}"


@pytest.mark.parametrize("shell", [False, True])
@pytest.mark.parametrize("trainer", ["verl, FSDP", "NeMo-RL", "SkyRL, shards", "prime-rl, DCP", "tinker-cookbook"])
def test_a_users_converter_is_called_once_with_safe_arguments(
    trainer: str, shell: bool, tmp_path: Path, command: str
) -> None:
    run = tmp_path / "a run's; touch $(touch OUCH) {step} `touch OUCH`"
    run.mkdir()
    if trainer == "verl, FSDP":
        for rank in range(2):
            put(run / "global_step_9" / "actor" / f"model_world_size_2_rank_{rank}.pt")
        trainers.settings(run / "global_step_9" / "actor" / "huggingface")
    else:
        write(run, trainer, 9)
    converter = Converter(command, tmp_path / "converted", shell=shell)
    [source] = find_checkpoints(str(run), converter=converter)
    [spot] = spots_in(run)
    assert (source.step, source.model_id) == (9, spot.name)
    assert Path(source.folder).parent == tmp_path / "converted"
    assert find_checkpoints(str(run), converter=converter) == (source,), "kept, not made again"
    called = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert called == [[spot.source, str(spot.folder), "9", spot.name]]
    assert not list(tmp_path.rglob("OUCH"))
    assert not Path("OUCH").exists()
    if spot.remote is None:  # a checkpoint that was written again is converted again
        put(next(path for path in sorted(spot.folder.rglob("*")) if path.is_file()), b"other")
        [again] = find_checkpoints(str(run), converter=converter)
        assert again.folder != source.folder


@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        ("import sys; sys.exit('no such layer')", "ended with status 1: no such layer; it was run as "),
        ("pass", r"left no model in its \{target\}"),
        (
            "import sys, pathlib; t = pathlib.Path(sys.argv[1]); t.mkdir(); (t / 'config.json').write_text('{}')",
            "weights",
        ),
    ],
)
def test_a_converter_that_fails_leaves_nothing(script: str, sentence: str, tmp_path: Path) -> None:
    write(tmp_path / "run", "NeMo-RL", 9)
    converter = Converter(f"{sys.executable} -c {shlex.quote(script)} {{target}}", tmp_path / "converted")
    [spot] = spots_in(tmp_path / "run")
    with pytest.raises(ModelError, match=sentence):
        converted(spot, converter)
    assert list((tmp_path / "converted").iterdir()) == []


def test_converters_that_cannot_be_meant_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"the converter names \{folder\}: it may name \{source\}, \{target\}"):
        Converter("convert {folder} {target}", tmp_path)
    Converter("convert ${HOME} --settings {} {target}", tmp_path, shell=True)
    with pytest.raises(InputError, match=r"does not use \{target\}"):
        Converter("convert {source}", tmp_path)
    with pytest.raises(InputError, match="can't be split into arguments"):
        Converter("convert '{target}", tmp_path)
    write(tmp_path / "run", "NeMo-RL", 9)
    [spot] = spots_in(tmp_path / "run")
    with pytest.raises(InputError, match="the converter 'no-such-program-here' can't be run"):
        converted(spot, Converter("no-such-program-here {target}", tmp_path / "converted"))
