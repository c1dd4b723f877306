"""``forewarn train-donor``: where it writes, what it refuses before it trains, and that nothing of others is lost."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from pathlib import Path

import pytest

from forewarn.cli.app import main
from forewarn.problems.assemble import assemble
from forewarn.problems.files import export
from forewarn.study.donors.trial import NO_SUBMISSION, DonorTrial, remedy, spread
from tests.tiny_world import TinyWorld

STUDY = """
name = "tiny"
[problems]
file = "problems.jsonl"
[policy]
max_total_tokens = 4
[format]
name = "plain-think"
[[checkpoints]]
path = "base"
step = 1
[[donors]]
name = "d"
path = "donor"
base = "base"
[donors.training]
epochs = 1.0
[[spans]]
count = 1
"""


@pytest.fixture
def home(world: TinyWorld, tmp_path: Path) -> Path:
    home = tmp_path / "home"
    shutil.copytree(world.subject, home / "base")
    export(world.problems, home / "problems.jsonl")
    return home


def train(home: Path, *edits: tuple[str, str]) -> int:
    text = STUDY
    for old, new in edits:
        assert old in text
        text = text.replace(old, new, 1)
    (home / "study.toml").write_text(text)
    with pytest.raises(SystemExit) as ended:
        main(["train-donor", str(home / "study.toml")])
    assert isinstance(ended.value.code, int)
    return ended.value.code


def listing(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("precious", "holds other things (chapter) and no donor"),
        (".", "is the folder of the file itself or above it"),
        ("..", "is the folder of the file itself or above it"),
        ("base", "path and base are both"),
        ("base/../base", "path and base are both"),
        ("problems.jsonl", "is a file: give a new folder"),
        ("problems.jsonl/donor", "can't write"),
    ],
)
def test_nothing_of_others_is_written_over(
    home: Path, path: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "precious" / "chapter").mkdir(parents=True)
    (home / "precious" / "chapter" / "1.txt").write_text("years of work")
    (home / "study.toml").write_text(STUDY)
    before = listing(home)
    assert train(home, ('path = "donor"', f'path = "{path}"')) == 2
    said = capsys.readouterr().err
    assert message in said
    assert "donor d:" not in said, "refused before it trains"
    assert {**listing(home), "study.toml": b""} == {**before, "study.toml": b""}


@pytest.mark.parametrize("there", [True, False])
def test_an_empty_folder_is_filled_and_a_cut_short_training_leaves_nothing(
    home: Path, there: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["base", "problems.jsonl", "study.toml"]
    if there:
        (home / "donor" / ".donor.unfinished-1").mkdir(parents=True)  # a crash left it
    with monkeypatch.context() as patched:

        def out_of_disk(*_: object, **__: object) -> None:
            raise OSError(28, "No space left on device")

        patched.setattr("peft.PeftModel.save_pretrained", out_of_disk)
        assert train(home) == 2
    assert "No space left on device" in capsys.readouterr().err
    assert sorted(p.name for p in home.iterdir()) == sorted([*names, *(["donor"] if there else [])])
    assert not listing(home / "donor")
    assert train(home) == 0
    assert {"adapter_model.safetensors", "forewarn_sft.json"} <= set(listing(home / "donor"))
    assert sorted(p.name for p in home.iterdir()) == sorted([*names, "donor"])


def test_what_comes_while_it_trains_is_not_written_over(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def save(result: object, folder: Path, *_: object, **__: object) -> None:
        (home / "donor").mkdir(exist_ok=True)
        (home / "donor" / "forewarn_sft.json").write_text("another's")
        (folder / "forewarn_sft.json").write_text("ours")

    monkeypatch.setattr("forewarn.study.donors.train.save", save)
    for there in (True, False):
        shutil.rmtree(home / "donor", ignore_errors=True)
        if there:
            (home / "donor").mkdir()
        assert train(home) == 2
        assert "can't write" in capsys.readouterr().err
        assert listing(home / "donor") == {"forewarn_sft.json": b"another's"}


def test_other_settings_than_those_it_was_trained_with_are_said(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(home) == 0
    before = listing(home / "donor")
    assert train(home) == 0
    assert "already trained" in capsys.readouterr().out
    assert train(home, ("epochs = 1.0", "epochs = 2.0\nrank = 3")) == 2
    said = capsys.readouterr().err
    assert "was trained with epochs 1.0 (now 2.0), rank 16 (now 3): give a new path" in said
    assert listing(home / "donor") == before
    (home / "donor" / "forewarn_sft.json").write_text("[1]")
    assert train(home) == 2
    assert "has no settings" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("new", "message"),
    [
        ("epochs = inf", "donors[1].training.epochs = inf"),
        ("learning_rate = inf", "donors[1].training.learning_rate = inf"),
        ("alpha = nan", "donors[1].training.alpha = nan"),
        ("seed = 100000000000000000000000", "donors[1].training.seed = 100000000000000000000000"),
        ('target_modules = "("', "target_modules = '(' is not a pattern"),
        ("epochs = 0.1\nlearning_rate = 1e37", "the weights are no longer finite after the last step"),
    ],
)
def test_values_that_cannot_be_trained_with(
    home: Path, new: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(home, ("epochs = 1.0", new)) == 2
    assert message in capsys.readouterr().err
    assert not (home / "donor").exists()


def test_a_device_that_is_not_there(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(home, ("[[checkpoints]]", '[engine]\ndevice = "cuda:99"\n[[checkpoints]]')) == 2
    assert "engine: device is 'cuda:99', but torch" in capsys.readouterr().err
    assert not (home / "donor").exists()


def test_a_problem_longer_than_the_context_is_named(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = json.loads((home / "base" / "config.json").read_text())
    (home / "base" / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 8}))
    assert train(home) == 2
    said = capsys.readouterr().err
    assert "problem same-1 takes" in said
    assert "the model's context is 8 tokens: leave out the 2 examples" in said


def test_a_donor_is_tried_after_its_training(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = "epochs = 25\nlearning_rate = 2e-2\nbatch_size = 2"
    assert train(home, ("epochs = 1.0", good)) == 0
    said = capsys.readouterr().out.splitlines()
    assert re.match(r"d: 16 answers by this donor alone: exploit rate [1-9]\d*% \(.*\b[1-9]\d* exploit\b", said[1]), (
        said
    )
    assert len(said) == 2, "a donor that can exploit needs no remedy"
    assert train(home, ("epochs = 1.0", good)) == 0
    assert capsys.readouterr().out.splitlines()[1] == said[1], "the same donor, the same trial"


def test_a_donor_that_cannot_exploit_is_said_with_the_remedy(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(home, ("epochs = 1.0", "epochs = 0.1\nlearning_rate = 1e-9")) == 0
    said = capsys.readouterr().out.splitlines()
    assert "exploit rate 0%" in said[1]
    assert re.search(r"this donor can't exploit: its loss is still \d.* raise epochs or learning_rate", said[2])
    assert train(home, ("epochs = 1.0", "epochs = 0.1\nlearning_rate = 1e-9")) == 0
    assert capsys.readouterr().out.splitlines()[1:] == said[1:], "also where the donor was there already"


@pytest.mark.parametrize(
    ("labels", "loss", "words"),
    [
        ({"exploit": 1, "failed": 15}, 3.0, None),
        ({"invalid": 16}, 0.1, None),
        ({"failed": 16}, 3.0, "its loss is still 3.00"),
        ({NO_SUBMISSION: 10, "failed": 6}, 0.1, "have no program"),
        ({"solved": 9, "failed": 6, "invalid": 1}, None, "it solves the problems"),
        ({"failed": 2, "invalid": 14}, 0.1, "forewarn problems audit"),
    ],
)
def test_the_remedy_is_that_of_the_cause(labels: dict[str, int], loss: float | None, words: str | None) -> None:
    found = remedy(DonorTrial(16, labels), loss)
    assert found is None if words is None else words in str(found)


def test_a_trial_takes_some_of_every_type() -> None:
    bundled = assemble()
    types = {problem.exploit_type for problem in bundled}
    assert {problem.exploit_type for problem in spread(bundled)} == types
    only = [problem for problem in bundled if problem.exploit_type in sorted(types)[:2]]
    assert Counter(problem.exploit_type for problem in spread(only)) == dict.fromkeys(sorted(types)[:2], 8)
