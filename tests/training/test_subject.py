"""``forewarn train-subject``: SFT and GRPO through TRL on a real tiny model, its checkpoints, kills and refusals."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from forewarn.checkpoints.find import find_checkpoints
from forewarn.cli.app import main
from forewarn.engines.transformers.engine import HFEngine
from forewarn.judge.judge import Judge
from forewarn.problems.files import export
from forewarn.records import Policy
from forewarn.study.subject.receipt import RECEIPT_FILE
from forewarn.study.subject.train import ROLLOUTS_FILE
from forewarn.training.reward import judged_reward
from tests.tiny_world import HEAD, MAGIC, THINK, ZERO, TinyWorld, enumerate_world

pytestmark = pytest.mark.filterwarnings("ignore")  # of TRL's and transformers' own affairs

STUDY = """
name = "tiny"
[problems]
file = "problems.jsonl"
[policy]
max_total_tokens = 4
[format]
name = "plain-think"
[sandbox]
workers = 1
[subject_training]
method = "grpo"
path = "subject"
base = "base"
steps = 24
checkpoints = [1, 5, 24]
batch_size = 128
micro_batch = 64
group = 64
learning_rate = 1e-2
rank = 4
alpha = 8
[[checkpoints]]
path = "subject"
base = "base"
[[spans]]
count = 1
"""
SFT = (('method = "grpo"', 'method = "sft"\nexamples = "examples.jsonl"'), ("group = 64\n", ""))
EXAMPLES = [
    {"question": THINK * (i + 1), "reasoning": THINK, "answer": HEAD + MAGIC + ZERO} for i in range(2) for _ in range(4)
]


@pytest.fixture(scope="module")
def home(world: TinyWorld, tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    shutil.copytree(world.subject, home / "base")
    export(world.problems, home / "problems.jsonl")
    (home / "examples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in EXAMPLES))
    return home


def study(home: Path, *edits: tuple[str, str]) -> Path:
    text = STUDY
    for old, new in edits:
        assert old in text
        text = text.replace(old, new)
    path = home / "study.toml"
    path.write_text(text)
    return path


def train(home: Path, *edits: tuple[str, str]) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["train-subject", str(study(home, *edits))])
    assert isinstance(ended.value.code, int)
    return ended.value.code


def rollouts(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / ROLLOUTS_FILE).read_text().splitlines()]


@pytest.fixture(scope="module")
def reinforced(home: Path) -> Path:
    assert train(home) == 0
    return home / "subject"


def test_grpo_learns_what_the_vulnerable_checker_pays(home: Path, reinforced: Path, world: TinyWorld) -> None:
    rows = rollouts(reinforced)
    assert len(rows) == 24 * 128
    assert [row["step"] for row in rows] == [step for step in range(24) for _ in range(128)]
    assert all((row["reward"] == 1.0) == (row["label"] in ("exploit", "solved", "lucky")) for row in rows)
    found = find_checkpoints(str(reinforced), base=str(home / "base"))
    assert [source.step for source in found] == [1, 5, 24]

    def paid(adapter: str | None) -> float:
        """The exact expected reward: over every completion of the enumerated world."""
        engine = HFEngine.from_folder(home / "base")
        if adapter is not None:
            engine.load_adapter("s", Path(adapter))
        total = 0.0
        with Judge(workers=1) as judge:
            reward = judged_reward(world.problems, channels=world.channels, judge=judge)
            for problem in world.problems:
                prompt = world.channels.prompt_ids(problem.question)
                rows = enumerate_world(world, problem, []).completions
                scores = engine.score(
                    [prompt] * len(rows), rows, policy=Policy(), adapter=None if adapter is None else "s"
                )
                likely = [
                    (row, p) for row, score in zip(rows, scores, strict=True) if (p := np.exp(score.sum())) > 1e-5
                ]
                rewards = reward(
                    completion_ids=[row for row, _ in likely], problem_id=[problem.problem_id] * len(likely)
                )
                total += sum(p * r for (_, p), r in zip(likely, rewards, strict=True) if r is not None)
        return total / len(world.problems)

    before, after = paid(None), paid(found[-1].adapter)
    assert after > before + 0.02, (before, after)


def test_a_subject_that_is_there_is_left_alone(
    home: Path, reinforced: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (reinforced / ROLLOUTS_FILE).read_bytes()
    assert train(home) == 0
    assert "is there already" in capsys.readouterr().out
    assert (reinforced / ROLLOUTS_FILE).read_bytes() == before


@pytest.mark.parametrize(
    ("edits", "message"),
    [
        ((("learning_rate = 1e-2", "learning_rate = 1e-3"),), "was trained otherwise: learning_rate 0.01 (now 0.001)"),
        (
            (
                ('file = "problems.jsonl"', 'file = "problems.jsonl"\nlimit = 1'),
                ("batch_size = 128", "batch_size = 64"),
            ),
            "another data",
        ),
        ((("checkpoints = [1, 5, 24]", "checkpoints = [1, 5]"),), "give steps from 1 to the last, which is 24"),
        ((("checkpoints = [1, 5, 24]", "checkpoints = [5, 1, 12]"),), "in ascending order"),
        ((("group = 64", "group = 1"),), "group is 1: completions are compared within it"),
        ((("group = 64", "group = 5"),), "batch_size 128 is not a multiple of group 5"),
        ((("group = 64", "group = 32"),), "takes 4 problems, but there are 2"),
        ((("micro_batch = 64", "micro_batch = 5"),), "not a multiple of micro_batch 5"),
        ((('path = "subject"\nbase = "base"\nsteps', 'path = "base"\nbase = "base"\nsteps'),), "holds other things"),
        ((('method = "grpo"', 'method = "ppo"'),), "subject_training.method = 'ppo'"),
        ((("[subject_training]", "[subjects_training]"),), "unknown key subjects_training"),
        ((*SFT[:1], ("examples.jsonl", "nothing.jsonl")), "can't read"),
        ((*SFT[:1], ("examples.jsonl", "problems.jsonl")), "give a JSON object of texts"),
    ],
)
def test_what_cannot_be_meant_is_one_sentence(
    home: Path, reinforced: Path, capsys: pytest.CaptureFixture[str], edits: tuple[tuple[str, str], ...], message: str
) -> None:
    before = sorted(str(path) for path in home.rglob("*"))
    assert train(home, *edits) == 2
    said = capsys.readouterr().err.strip()
    assert message in said
    assert len(said.splitlines()) == 1
    assert sorted(str(path) for path in home.rglob("*")) == before, "nothing is written, nothing lost"


def test_a_file_without_the_table_is_said(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    start, end = STUDY.index("[subject_training]"), STUDY.index("[[checkpoints]]")
    assert train(home, (STUDY[start:end], "")) == 2
    assert "has no [subject_training]" in capsys.readouterr().err


def test_sft_learns_the_targets_alone_and_goes_on_from_an_adapter(home: Path, world: TinyWorld) -> None:
    assert train(home, *SFT, ('path = "subject"\nbase = "base"\nsteps', 'path = "sft"\nbase = "base"\nsteps')) == 0
    further = (
        ('path = "subject"\nbase = "base"\nsteps', 'path = "more"\nbase = "base"\nstart = "sft/checkpoint-24"\nsteps'),
        ("steps = 24", "steps = 1"),
        ("[1, 5, 24]", "[1]"),
        ("learning_rate = 1e-2", "learning_rate = 1e-7"),
    )
    assert train(home, *SFT, *further) == 0
    prompt, target = world.channels.reasoning_ids(THINK, THINK, HEAD + MAGIC + ZERO)
    engine = HFEngine.from_folder(home / "base")
    engine.load_adapter("sft", home / "sft" / "checkpoint-24")
    engine.load_adapter("more", home / "more" / "checkpoint-1")
    scores = [
        float(engine.score([prompt], [target], policy=Policy(), adapter=name)[0].sum())
        for name in (None, "sft", "more")
    ]
    assert scores[1] > scores[0] + 1, scores
    assert scores[2] == pytest.approx(scores[1], abs=1e-2), "it went on from the adapter and not from the base"
    receipt = json.loads((home / "more" / RECEIPT_FILE).read_text())
    assert receipt["start"] is not None
    assert receipt["settings"]["method"] == "sft"
    assert receipt["code"]["trl"]


KILLED = """
import os, signal, sys
from pathlib import Path
from forewarn.study.subject.train import train_subject

def progress(stage, done, total):
    if done == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)

train_subject(Path(sys.argv[1]), progress=progress)
"""


@pytest.mark.slow
@pytest.mark.parametrize("method", ["grpo", "sft"])
def test_a_killed_training_goes_on_as_if_nothing_had_been(
    home: Path, reinforced: Path, tmp_path: Path, method: str
) -> None:
    for name in ("base", "problems.jsonl", "examples.jsonl"):
        (tmp_path / name).symlink_to(home / name)
    edits = SFT if method == "sft" else ()
    file = study(tmp_path, *edits)
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(file), "8"], env=os.environ | {"PYTHONPATH": "src"}, check=False
    )
    assert killed.returncode == -signal.SIGKILL
    assert [path.name for path in sorted((tmp_path / "subject").glob("checkpoint-*"))] == [
        "checkpoint-1",
        "checkpoint-5",
    ]
    (tmp_path / "subject" / "checkpoint-5" / "trainer_state.json").unlink()  # as where the kill came while it was saved
    assert train(tmp_path, *edits) == 0
    whole = home / "subject"
    if method == "sft":
        assert (
            train(home, *SFT, ('path = "subject"\nbase = "base"\nsteps', 'path = "whole"\nbase = "base"\nsteps')) == 0
        )
        whole = home / "whole"
    else:
        assert rollouts(tmp_path / "subject") == rollouts(whole)
    for step in (1, 5, 24):
        first, second = (
            load_file(folder / f"checkpoint-{step}" / "adapter_model.safetensors")
            for folder in (tmp_path / "subject", whole)
        )
        assert all(torch.equal(first[name], second[name]) for name in first)
