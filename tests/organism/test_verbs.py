"""``forewarn organism`` on the command line: mistakes in one sentence, and a measurement that stops when asked."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest

from forewarn.cli.app import main
from forewarn.organism.shipped import shipped_folder

COMMAND = [sys.executable, "-m", "forewarn", "organism"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["train", "--run", "nonsense"], "no run 'nonsense': choose among rl, control"),
        (["train", "--folder", "nowhere"], "nowhere has no organism"),
        (["truth", "--folder", "nowhere"], "nowhere has no organism"),
        (["truth", "--run", "nonsense"], "no run 'nonsense'"),
        (["truth", "--type", "nonsense"], "knows no exploit type 'nonsense'"),
        (["truth", "--step", "5"], "no checkpoint at step 5"),
        (["train", "--seed", "1"], "holds an organism whose seed is 0, not 1"),
        (["build", "--seed", "1"], "holds an organism whose seed is 0, not 1"),
    ],
)
def test_mistakes_are_one_sentence(
    arguments: list[str],
    sentence: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    if "--folder" not in arguments:
        arguments = [*arguments, "--folder", str(shipped_folder())]
    with pytest.raises(SystemExit) as stop:
        main(["organism", *arguments])
    said = capsys.readouterr()
    assert stop.value.code == 2
    assert said.out == ""
    assert said.err.startswith("forewarn: ")
    assert said.err.count("\n") == 1
    assert sentence in said.err
    assert list(tmp_path.iterdir()) == [], "nothing is left behind"


def test_a_nonsense_run_in_a_process_of_its_own(tmp_path: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "train", "--run", "nonsense"], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "forewarn: no run 'nonsense': choose among rl, control\n"


@pytest.mark.slow
def test_truth_is_measured_interrupted_and_gone_on_with(tmp_path: Path) -> None:
    """Ctrl-C ends it within a chunk, with nothing left in /tmp; the same command then gives the shipped rate."""
    folders = [tmp_path / name for name in ("scratch", "shards", "out")]
    scratch, shards, out = folders
    scratch.mkdir()
    cells = ["--folder", str(shipped_folder()), "--run", "rl", "--step", "4", "--type", "error_code_abuse"]
    cells += ["--shards", str(shards), "--out", str(out), "--completions", "20480", "--workers", "2"]
    environment = {**os.environ, "TMPDIR": str(scratch)}
    process = subprocess.Popen(
        [*COMMAND, "truth", *cells], stderr=subprocess.PIPE, text=True, start_new_session=True, env=environment
    )
    try:
        deadline = time.monotonic() + 200
        while not list(shards.glob("*.parquet")):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.2)
        os.killpg(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=100)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "Traceback" not in said
    assert "the same command resumes" in said
    assert list(scratch.glob("forewarn-*")) == []
    kept = {path: path.stat().st_mtime_ns for path in shards.glob("*.parquet")}
    assert not (out / "truth.parquet").exists()

    subprocess.run([*COMMAND, "truth", *cells], check=True, env=environment, capture_output=True)
    assert all(path.stat().st_mtime_ns == before for path, before in kept.items())
    [row] = pl.read_parquet(out / "truth.parquet").to_dicts()
    assert row["hits"] >= 200
    assert row["lo"] < row["hits"] / row["n"] < row["hi"]
    assert list(scratch.glob("forewarn-*")) == []
