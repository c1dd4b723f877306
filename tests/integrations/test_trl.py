"""The callback in a real training: which steps it saves, what it keeps, what it reads, and what it never does."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, Trainer, TrainingArguments

from forewarn.errors import InputError
from forewarn.integrations.trl import EVENTS_FILE, ForewarnCallback
from forewarn.monitor.feed import ALERTS_FILE
from forewarn.monitor.pins import pins_in
from forewarn.monitor.sinks.jsonl import Jsonl
from forewarn.records import Alert
from tests.tiny_world import TinyWorld

ROWS = [{"input_ids": [5, 6, 7], "labels": [5, 6, 7], "attention_mask": [1, 1, 1]}] * 64


def trainer(model: Path, out: Path, callback: ForewarnCallback, steps: int = 12, **more: Any) -> Trainer:
    arguments = TrainingArguments(
        output_dir=str(out), max_steps=steps, per_device_train_batch_size=2, save_strategy="no", report_to=[],
        use_cpu=True, disable_tqdm=True, logging_strategy="no", **more,
    )  # fmt: skip
    return Trainer(
        model=AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32), args=arguments, train_dataset=ROWS,
        callbacks=[callback],
    )  # fmt: skip


def events(root: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (root / EVENTS_FILE).read_text().splitlines()]


def alarm(root: Path, *, raised: bool = True) -> None:
    Jsonl(str(root / ALERTS_FILE)).post(Alert("r", "t", 1, "forecast", "it rises.", raised=raised))


def test_checkpoints_are_saved_kept_and_told(world: TinyWorld, tmp_path: Path) -> None:
    root, out = tmp_path / "runs", tmp_path / "out"
    callback = ForewarnCallback(root, saves=4)
    trainer(world.subject, out, callback, save_total_limit=1).train()
    steps = [pin.step for pin in pins_in(root)]
    assert steps == [1, 2, 5, 12]
    assert [folder.name for folder in out.iterdir()] == ["checkpoint-12"]  # the trainer keeps one
    assert all((pin.weights / "model.safetensors").is_file() for pin in pins_in(root))
    told = events(root)
    assert [one["event"] for one in told] == ["begin", "saved", "saved", "saved", "saved", "end"]
    assert [one["step"] for one in told if one["event"] == "saved" and one["kept"]] == steps
    assert 0 < callback.seconds < 5


def test_the_training_is_as_it_would_be_without(world: TinyWorld, tmp_path: Path) -> None:
    alarm(tmp_path / "runs")
    ends = []
    for name, callback in (("with", ForewarnCallback(tmp_path / "runs", saves=4)), ("without", None)):
        one = trainer(world.subject, tmp_path / name, callback or ForewarnCallback(tmp_path / "x", steps=[99]))
        if callback is None:
            one.remove_callback(ForewarnCallback)
        one.train()
        ends.append(one.model.state_dict())
    assert all(torch.equal(ends[0][key], ends[1][key]) for key in ends[0])


@pytest.mark.parametrize(
    ("action", "raised", "last", "saved"),
    [
        ("nothing", True, 12, []),
        ("stop", True, 4, []),
        ("save and stop", True, 4, [4]),
        ("save", True, 12, [4]),
        ("stop", False, 12, []),
    ],
)
def test_what_an_alarm_does(
    world: TinyWorld, tmp_path: Path, action: Any, raised: bool, last: int, saved: list[int]
) -> None:
    root = tmp_path / "runs"
    alarm(root, raised=raised)
    callback = ForewarnCallback(root, steps=[99], on_alarm=action, check_every=4)
    one = trainer(world.subject, tmp_path / "out", callback)
    one.train()
    assert one.state.global_step == last
    assert [pin.step for pin in pins_in(root)] == saved
    assert callback.alarmed_step == (4 if raised else None)


def test_a_run_folder_that_cannot_be_written_is_said_once_and_the_training_goes_on(
    world: TinyWorld, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "runs").write_text("a file")
    one = trainer(world.subject, tmp_path / "out", ForewarnCallback(tmp_path / "runs", saves=3))
    one.train()
    assert one.state.global_step == 12
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("forewarn: ")]
    assert len(said) == len(set(said))
    assert any("can't be written" in line and line.endswith("the training goes on") for line in said)


def test_the_state_survives(tmp_path: Path) -> None:
    callback = ForewarnCallback(tmp_path, saves=3, on_alarm="stop")
    callback.alarmed_step = 7
    again = ForewarnCallback.from_state(json.loads(json.dumps(callback.state())))
    assert again.alarmed_step == 7
    assert again.state() == callback.state()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [({"saves": 0}, "saves = 0"), ({"steps": [0]}, r"steps = \[0\]"), ({"on_alarm": "pause"}, "on_alarm is 'pause'")],
)
def test_what_cannot_be_meant_is_refused(tmp_path: Path, arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        ForewarnCallback(tmp_path, **arguments)


TWO_RANKS = """
    import sys
    from pathlib import Path
    sys.path.insert(0, {repository!r})
    from forewarn.integrations.trl import ForewarnCallback
    from tests.integrations.test_trl import trainer
    callback = ForewarnCallback({root!r}, steps=[2, 4, 6, 8], on_alarm="save and stop", check_every=3)
    one = trainer(Path({model!r}), Path({out!r}), callback, ddp_backend="gloo")
    one.train()
    print("ended at", one.state.global_step, flush=True)
"""


def test_two_ranks_agree_and_write_once(world: TinyWorld, tmp_path: Path) -> None:
    """An alarm that the main process alone can read stops both, at one step, without a hang."""
    root, out, script = tmp_path / "runs", tmp_path / "out", tmp_path / "train.py"
    model = tmp_path / "model"
    shutil.copytree(world.subject, model)
    alarm(root)
    repository = str(Path(__file__).resolve().parents[2])
    text = TWO_RANKS.format(repository=repository, root=str(root), model=str(model), out=str(out))
    script.write_text(textwrap.dedent(text))
    started = time.monotonic()
    ended = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "0", "--rdzv-backend",
         "c10d", "--rdzv-endpoint", "localhost:0", str(script)],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert ended.stdout.count("ended at 3") == 2, ended.stdout
    assert [pin.step for pin in pins_in(root)] == [2, 3]
    assert [one["event"] for one in events(root)] == ["begin", "saved", "alarm read", "saved", "end"]
    assert time.monotonic() - started < 300
