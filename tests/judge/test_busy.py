"""On a busy machine an honest submission is not failed for want of a core, and a stuck one is no "no" either."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from forewarn.judge.sandbox import Sandbox, SandboxFault
from tests.attacks.conftest import returned, run_in

BURN = """
import time
def solve(seconds):
    start = time.thread_time()
    while time.thread_time() - start < seconds:
        pass
    return "done"
"""


@pytest.fixture
def crowded() -> Iterator[Sandbox]:
    """A sandbox on one core with fourteen processes that never wait."""
    core = min(os.sched_getaffinity(0))
    script = (
        f"import os, time\nos.sched_setaffinity(0, [{core}])\nend = time.time() + 20\nwhile time.time() < end: pass"
    )
    sandbox = Sandbox("hardened", 512)
    returned(run_in(sandbox, BURN, 0.0))
    assert sandbox.pid is not None
    os.sched_setaffinity(sandbox.pid, [core])
    hogs = [subprocess.Popen([sys.executable, "-I", "-S", "-c", script]) for _ in range(14)]
    time.sleep(0.5)
    yield sandbox
    for hog in hogs:
        hog.kill()
        hog.wait()
    sandbox.close()


@pytest.mark.slow
def test_waiting_for_a_core_is_not_counted(crowded: Sandbox) -> None:
    # 0.3 s of work take some 4 s here, far beyond the limit of 1.5 s, which is no fault of the submission.
    start = time.monotonic()
    assert returned(run_in(crowded, BURN, 0.3, timeout_s=1.5)) == "done"
    assert time.monotonic() - start > 1.5, "the machine was not crowded: the test shows nothing"


@pytest.mark.slow
def test_starving_is_a_fault_not_a_failure(crowded: Sandbox) -> None:
    with pytest.raises(SandboxFault, match="too busy"):
        run_in(crowded, BURN, 60.0, timeout_s=0.3)
