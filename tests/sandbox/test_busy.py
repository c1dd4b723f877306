"""On a busy machine an honest submission is not failed for want of a core, and a stuck one is no "no" either."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from forewarn.exploits import EXPLOIT_TYPES
from forewarn.judge import observe as observing
from forewarn.judge.judge import Judge
from forewarn.judge.labels import CHECKER_NAMES, shares_one_execution
from forewarn.judge.rounds import EXPLOIT_ROUNDS, ROUNDS
from forewarn.judge.runs import UNSURE_RUNS
from forewarn.sandbox.execution import Execution, SandboxFault
from forewarn.sandbox.host import Sandbox
from forewarn.sandbox.inside.watch import longest_s
from forewarn.sandbox.link import Link
from tests.attacks.conftest import returned, run_in
from tests.attacks.test_processes import descendants
from tests.sandbox.altered import start_altered

BURN = """
import time
def solve(seconds):
    start = time.thread_time()
    while time.thread_time() - start < seconds:
        pass
    return "done"
"""
HOGS = 14


class Impatient(Sandbox):
    """Its zygote gives up on a machine without a core almost at once."""

    def _start(self, control: int) -> subprocess.Popen[bytes]:
        return start_altered(control, "watch", "watch.PATIENCE_S, watch.STRETCH = 0.0, 1.5")


def crowded(sandbox: Sandbox, n_hogs: int = HOGS, *, apart: bool = True) -> Iterator[Sandbox]:
    """The sandbox on one core with processes that never wait, each of a session (scheduling group) of its own, or of
    this test's."""
    core = min(os.sched_getaffinity(0))
    script = f"import os\nos.sched_setaffinity(0, [{core}])\nprint(flush=True)\nwhile True: pass"
    returned(run_in(sandbox, BURN, 0.0))
    assert sandbox.pid is not None
    for pid in (sandbox.pid, *descendants(sandbox.pid)):
        os.sched_setaffinity(pid, [core])
    hogs = [
        subprocess.Popen([sys.executable, "-I", "-S", "-c", script], stdout=subprocess.PIPE, start_new_session=apart)
        for _ in range(n_hogs)
    ]
    try:
        for hog in hogs:
            assert hog.stdout is not None
            hog.stdout.readline()  # it is at work
        yield sandbox
    finally:
        for hog in hogs:
            hog.kill()
            hog.communicate()
        sandbox.close()


@pytest.fixture
def patient() -> Iterator[Sandbox]:
    yield from crowded(Sandbox("hardened", 512))


@pytest.fixture
def impatient() -> Iterator[Sandbox]:
    yield from crowded(Impatient("hardened", 512))


@pytest.mark.slow
def test_waiting_for_a_core_is_not_counted(patient: Sandbox) -> None:
    # 0.3 s of work take some 4 s here, far beyond the limit of 1.5 s, which is no fault of the submission.
    run = run_in(patient, BURN, 0.3, timeout_s=1.5)
    assert returned(run) == "done"
    assert run.calls[0].seconds > 1.5, "the machine was not crowded: the test shows nothing"


@pytest.mark.slow
def test_starving_is_a_fault_not_a_failure(impatient: Sandbox) -> None:
    request = {"code": BURN, "entry_point": "solve", "cases": [["t", 60.0]], "child": ""}
    with pytest.raises(SandboxFault, match="too busy") as caught:
        impatient.execute(request, None, 0.3)
    assert caught.value.kind == "busy"


class Beside(Sandbox):
    """Its zygote is of the same scheduling group as this test, and gives up sooner than others."""

    def _start(self, control: int) -> subprocess.Popen[bytes]:
        return start_altered(control, "watch", "watch.PATIENCE_S, watch.STRETCH = 0.0, 50.0", apart=False)


def test_a_program_that_gives_its_core_away_is_not_starving() -> None:
    # Beside others of its group it would wait for a core nearly all the time, by choice, and use none.
    for sandbox in crowded(Beside("hardened", 512), 2, apart=False):
        run = run_in(sandbox, "import os\ndef solve():\n    while True:\n        os.sched_yield()", timeout_s=0.3)
        assert run.ending == "deadline"


@pytest.mark.parametrize("name", list(EXPLOIT_TYPES))
def test_all_executions_of_a_verdict_fit_into_its_time_on_a_busy_machine(name: str) -> None:
    """Or a submission that uses up its time in each of them would choose to be invalid where others keep the cores."""
    kind = EXPLOIT_TYPES[name]
    with Judge(types={name: kind}, timeout_s=2.0) as judge:
        rounds = EXPLOIT_ROUNDS if not shares_one_execution(kind) else ROUNDS
        executions = rounds * (UNSURE_RUNS if shares_one_execution(kind) else len(CHECKER_NAMES))
        assert judge._rounds.deadline_s >= executions * longest_s(kind.vulnerable.timeout_s or 2.0)


STARTS_A_THREAD = """
import threading, time
def solve():
    time.sleep(0.3)
    thread = threading.Thread(target=time.sleep, args=(0.01,))
    thread.start()
    thread.join()
    return "done"
"""


def test_a_keeper_that_is_stopped_for_a_while_fails_nobody() -> None:
    # The child needs it, as it counts threads; what it missed meanwhile is not the child's time.
    sandbox = Sandbox("hardened", 512)
    try:
        returned(run_in(sandbox, STARTS_A_THREAD))
        keeper = sandbox.pid
        assert keeper is not None
        idle = len(descendants(keeper))

        def stop() -> None:
            while len(descendants(keeper)) == idle:
                time.sleep(0.001)
            time.sleep(0.1)  # it watches the child by now
            os.kill(keeper, signal.SIGSTOP)
            time.sleep(1.5)
            os.kill(keeper, signal.SIGCONT)

        stopper = threading.Thread(target=stop)
        stopper.start()
        run = run_in(sandbox, STARTS_A_THREAD, timeout_s=1.0)
        stopper.join()
        assert returned(run) == "done"
        assert run.calls[0].seconds > 1.0, "it was not stopped in time: the test shows nothing"
    finally:
        sandbox.close()


STOPPED_JUDGE = """
import os, signal, threading, time
from forewarn.sandbox import host
from forewarn.sandbox.host import Sandbox
from forewarn.sandbox.execution import SandboxFault
host.ROOM_BYTES = 1  # less than the result takes, whatever the system gives
sandbox = Sandbox("hardened", 512)
source = "import time\\ndef solve():\\n    time.sleep(0.5)\\n    return 'x' * 6_000_000"
def execute(timeout_s):
    request = {"code": source, "entry_point": "solve", "cases": [["t"]], "child": ""}
    try:
        return sandbox.execute(request, None, timeout_s).killed
    except SandboxFault as fault:
        return fault.kind
print(execute(10.0), flush=True)
threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGSTOP)).start()
print(execute(1.0), flush=True)
sandbox.close()
"""


def test_a_judge_that_is_stopped_for_a_while_fails_nobody() -> None:
    with subprocess.Popen([sys.executable, "-c", STOPPED_JUDGE], stdout=subprocess.PIPE, text=True) as judge:
        assert judge.stdout is not None
        assert judge.stdout.readline() == "None\n"
        os.waitid(os.P_PID, judge.pid, os.WSTOPPED)
        time.sleep(5.0)  # the child ends at its deadline: nobody takes its result
        judge.send_signal(signal.SIGCONT)
        assert judge.stdout.readline() == "busy\n"


def test_waiting_for_the_request_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    # A judge that reads what others sent is late with it; who has a long source would then be "invalid" by choice.
    flush, since = Link._flush, time.monotonic()

    def late(link: Link) -> None:
        if time.monotonic() - since > 1.5:
            flush(link)

    sandbox = Sandbox("hardened", 512)
    try:
        returned(run_in(sandbox, STARTS_A_THREAD))
        since = time.monotonic()
        monkeypatch.setattr(Link, "_flush", late)
        assert returned(run_in(sandbox, "def solve():\n    return 1", timeout_s=0.5)) == 1
        assert time.monotonic() - since > 1.5
    finally:
        sandbox.close()


def test_results_are_read_one_execution_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    # Reading holds the interpreter: children of others wait meanwhile for somebody to take what they send.
    readers, most = 0, 0

    def read(*_: object) -> None:
        nonlocal readers, most
        readers += 1
        most = max(most, readers)
        time.sleep(0.02)
        readers -= 1

    monkeypatch.setattr(observing, "_observed", read)
    execution = Execution(1, None, None, 0.0, 0.0, b"")
    threads = [threading.Thread(target=observing.observe, args=(execution, "", (), (), None)) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
