"""One checkpoint measured while its training waits: `forewarn watch` in a process of its own, under a time limit."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from forewarn.errors import InputError
from forewarn.monitor.watched import watched_entry
from forewarn.study.config.file import read_study_file
from forewarn.study.config.load import placed

LOG_FILE = "inline.log"
"""in the run folder: what the measurements printed"""
ENDING_S = 10.0
"""how long a measurement that is told to end may take to do so"""
_LAUNCHER = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_RANK", "MASTER_ADDR", "MASTER_PORT")
_LAUNCHERS = ("TORCHELASTIC_", "ACCELERATE_", "PET_")
"""variables by which a launcher tells a process that it is one of many"""


@dataclass(frozen=True, slots=True)
class Measured:
    """How a measurement ended."""

    seconds: float
    status: int | None
    """the command's exit status; None: the time limit passed, and it was ended"""
    said: str
    """the last line that it printed"""


def check_inline(study: Path, output_dir: Path, *, time_limit_s: float, ddp_timeout_s: float | None) -> None:
    """Raise InputError where a study does not watch the training that writes to ``output_dir``, or where the training's
    other processes (``ddp_timeout_s``: how long they wait for this one; None: there are none) would not wait so long.
    """
    tables, _ = read_study_file(study)
    watched = Path(placed(watched_entry(tables, study).path, study.resolve().parent))
    if watched.resolve() != output_dir.resolve():
        raise InputError(
            f"{study} watches {watched}, and the training writes to {output_dir}: give that as its checkpoints' path"
        )
    if ddp_timeout_s is not None and time_limit_s >= ddp_timeout_s:
        raise InputError(
            f"time_limit_s is {time_limit_s:g}, and the training's other processes wait {ddp_timeout_s:g} s (its "
            "ddp_timeout) before they give up: give a lower time_limit_s or a higher ddp_timeout"
        )


def measure(study: Path, run_folder: Path, step: int, *, time_limit_s: float) -> Measured:
    """Measure the newest checkpoint that the run folder keeps, that of ``step``, and wait for it. Raises OSError where
    no process can be started or the log can't be written.

    What was measured until the limit is kept, and the next measurement goes on with it.
    """
    command = [sys.executable, "-m", "forewarn", "watch", str(study), "--run-folder", str(run_folder)]
    command += ["--once", "--until", str(step), "--every", "0.2"]
    start = time.monotonic()
    run_folder.mkdir(parents=True, exist_ok=True)
    log = run_folder / LOG_FILE
    with log.open("ab") as file:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=alone(os.environ), start_new_session=True
        )
        try:
            status: int | None = process.wait(time_limit_s)
        except subprocess.TimeoutExpired:
            status = None
        finally:
            _end(process)
    return Measured(time.monotonic() - start, status, _last_line(log))


def alone(variables: Mapping[str, str]) -> dict[str, str]:
    """An environment without what a launcher told this process of its place among others."""
    return {k: v for k, v in variables.items() if k not in _LAUNCHER and not k.startswith(_LAUNCHERS)}


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process and all that it started, if it is there still."""
    if process.poll() is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(ENDING_S)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else ""
