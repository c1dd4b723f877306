"""Other processes and the network: none started, none reached, none left."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from forewarn.sandbox.execution import SandboxFault
from forewarn.sandbox.host import Sandbox
from forewarn.sandbox.levels import LEVELS
from tests.attacks.conftest import Attack, returned, run_in

SPIN = "def solve():\n    while True:\n        pass"


def descendants(pid: int) -> list[int]:
    found = []
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        found += [int(child), *descendants(int(child))]
    return found


def children_of(pid: int) -> list[int]:
    """Children of a zygote but for its template, which comes first."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()][1:]


def gone(pid: int, within_s: float = 60.0) -> bool:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.02)
    return False


def test_a_thread_bomb_is_bounded(attack: Attack) -> None:
    source = """
    import threading, time
    def solve():
        count = 0
        try:
            while count < 5000:
                threading.Thread(target=time.sleep, args=(5,), daemon=True).start()
                count += 1
        except (RuntimeError, MemoryError):
            pass
        return count
    """
    count = returned(attack(source, timeout_s=5.0))
    assert isinstance(count, int)
    assert count < 512


def test_a_daemon_does_not_outlive_its_run() -> None:
    # Level weak has no filter, so the process group is all there is; the others refuse the fork in the first place.
    sandbox = Sandbox("weak", 512)
    source = (
        "import os, time\ndef solve():\n    pid = os.fork()\n    if pid == 0:\n        time.sleep(60)\n    return pid"
    )
    try:
        pid = returned(run_in(sandbox, source))
        assert isinstance(pid, int)
        assert gone(pid)
    finally:
        sandbox.close()


def test_signals_do_not_reach_the_parent(attack: Attack) -> None:
    heard: list[int] = []
    old = signal.signal(signal.SIGUSR1, lambda *_: heard.append(1))
    source = """
    import os, signal, ctypes
    def solve(pid):
        libc = ctypes.CDLL(None)
        libc.kill(pid, 10), libc.syscall(200, pid, 10), libc.syscall(234, pid, pid, 10), libc.sigqueue(pid, 10, 0)
        try:
            os.kill(pid, 0)
            return "reached"
        except OSError:
            return "refused"
    """
    try:
        assert returned(attack(source, os.getpid())) == "refused"
        time.sleep(0.05)
        assert heard == []
    finally:
        signal.signal(signal.SIGUSR1, old)


def test_limits_and_priorities_of_the_parent_stay(attack: Attack) -> None:
    before = os.getpriority(os.PRIO_PROCESS, 0), os.sched_getaffinity(0)
    source = """
    import os, resource
    def solve(pid):
        done = []
        for name, change in {
            "limit": lambda: resource.prlimit(pid, resource.RLIMIT_CORE, (0, 0)),
            "nice": lambda: os.setpriority(os.PRIO_PROCESS, pid, 5),
            "affinity": lambda: os.sched_setaffinity(pid, {0}),
        }.items():
            try:
                change()
                done.append(name)
            except OSError:
                pass
        return done
    """
    assert returned(attack(source, os.getpid())) == []
    assert (os.getpriority(os.PRIO_PROCESS, 0), os.sched_getaffinity(0)) == before


def test_its_own_limits_are_not_raised(attack: Attack) -> None:
    source = """
    import resource
    def solve():
        try:
            resource.setrlimit(resource.RLIMIT_AS, (2**40, 2**40))
            return "raised"
        except (OSError, ValueError):
            return "refused"
    """
    assert returned(attack(source)) == "refused"


def test_names_are_not_resolved(attack: Attack) -> None:
    source = """
    import socket
    def solve():
        try:
            return socket.getaddrinfo("example.com", 80)[0][0].name
        except OSError:
            return "refused"
    """
    assert returned(attack(source)) == "refused"


def test_strict_has_namespaces_of_its_own() -> None:
    sandbox = Sandbox("strict", 512)
    source = """
    import os, tempfile
    def solve():
        with tempfile.NamedTemporaryFile() as file:
            return [os.getpid(), os.listdir("/"), os.path.dirname(file.name), os.uname().nodename]
    """
    try:
        pid, listing, temporary, name = returned(run_in(sandbox, source))  # type: ignore[misc]
        assert (pid, temporary, name) == (1, "/tmp", "sandbox")
        assert {"home", "proc", "sys", "var"} & set(listing) == set()
    finally:
        sandbox.close()


def test_power_is_not_regained(attack: Attack) -> None:
    source = """
    import os, ctypes
    def solve():
        libc = ctypes.CDLL(None)
        tried = [libc.unshare(0x10000000), libc.chroot(b"/"), libc.mount(b"none", b"/box/work", b"tmpfs", 0, None),
                 libc.setns(3, 0), libc.prctl(22, 0, 0, 0, 0), libc.syscall(317, 0, 0, 0),
                 libc.umount2(b"/box/work", 2)]
        return tried
    """
    assert returned(attack(source)) == [-1] * 7


def test_killing_the_zygote_is_a_fault_and_the_next_run_works(attack: Attack, sandbox: Sandbox) -> None:
    returned(attack("def solve():\n    return 1"))
    assert sandbox.pid is not None
    os.kill(sandbox.pid, signal.SIGSTOP)  # so that it can't answer first
    killer = subprocess.Popen([sys.executable, "-c", f"import os,time;time.sleep(0.3);os.kill({sandbox.pid},9)"])
    with pytest.raises(SandboxFault):
        attack("def solve():\n    return 2")
    killer.wait()
    assert returned(attack("def solve():\n    return 3")) == 3


def test_a_hung_zygote_is_a_fault_when_the_verdict_is_due(sandbox: Sandbox) -> None:
    returned(run_in(sandbox, "def solve():\n    return 1"))
    assert sandbox.pid is not None
    os.kill(sandbox.pid, signal.SIGSTOP)
    request = {"code": "def solve():\n    return 2", "entry_point": "solve", "cases": [["t"]], "child": ""}
    with pytest.raises(SandboxFault, match="deadline") as caught:
        sandbox.execute(request, None, 10.0, until=time.monotonic() + 0.5)
    assert caught.value.kind == "time"
    assert returned(run_in(sandbox, "def solve():\n    return 3")) == 3


def test_killing_the_child_from_outside_is_a_fault(attack: Attack, sandbox: Sandbox) -> None:
    returned(attack("def solve():\n    return 1"))
    script = f"""
import os, time, pathlib
path = pathlib.Path("/proc/{sandbox.pid}/task/{sandbox.pid}/children")
while len(path.read_text().split()) < 2:
    time.sleep(0.01)
time.sleep(0.2)
os.kill(int(path.read_text().split()[1]), 9)
"""
    killer = subprocess.Popen([sys.executable, "-c", script])
    with pytest.raises(SandboxFault, match="killed from outside"):
        attack(SPIN, timeout_s=8.0)
    killer.wait()


KILLED_PARENT = f"""
import sys
from forewarn.sandbox.host import Sandbox
sandbox = Sandbox(sys.argv[1], 512)
sandbox.execute({{"code": "def solve(): pass", "entry_point": "solve", "cases": [["t"]], "child": ""}}, None, 5.0)
print(sandbox.pid, flush=True)
sandbox.execute({{"code": {SPIN!r}, "entry_point": "solve", "cases": [["t"]], "child": ""}}, None, 60.0)
"""


@contextlib.contextmanager
def a_parent_at_work(level: str, folder: Path) -> Iterator[tuple[subprocess.Popen[str], int, list[int]]]:
    """A process that judges, with its zygote and the zygote's children."""
    arguments = [sys.executable, "-c", KILLED_PARENT, level]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, env={"TMPDIR": str(folder)}) as parent:
        assert parent.stdout is not None
        zygote = int(parent.stdout.readline())
        while not children_of(zygote):
            time.sleep(0.01)
        children = descendants(zygote)
        try:
            yield parent, zygote, children
        finally:
            parent.kill()


@pytest.mark.parametrize("level", ["strict", "hardened", "weak"])
def test_nothing_outlives_a_killed_parent(level: str, tmp_path: Path) -> None:
    with a_parent_at_work(level, tmp_path) as (parent, zygote, children):
        assert bool(list(tmp_path.iterdir())) == (level == "weak")  # the others have no folder on disk
        parent.kill()
    assert all(gone(pid) for pid in [zygote, *children])
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_zygote_leaves_the_next_one_removes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with a_parent_at_work("weak", tmp_path) as (parent, zygote, children):
        parent.send_signal(signal.SIGSTOP)
        os.kill(zygote, signal.SIGKILL)
        parent.kill()
    assert all(gone(pid) for pid in children)
    (left,) = tmp_path.iterdir()
    (left / "deep").mkdir(mode=0)
    (tmp_path / "forewarn-work-of-mine").write_text("a file of somebody else's")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    sandbox = Sandbox("weak", 512)
    other = Sandbox("weak", 512)
    try:
        returned(run_in(sandbox, "def solve():\n    return 1"))
        assert not left.exists()
        returned(run_in(other, "def solve():\n    return 1"))
        assert len(list(tmp_path.iterdir())) == 3  # one in use does not remove another in use
        assert returned(run_in(sandbox, "def solve():\n    return 2")) == 2
    finally:
        sandbox.close()
        other.close()
    assert [path.name for path in tmp_path.iterdir()] == ["forewarn-work-of-mine"]


def test_a_process_that_the_parent_forked_off_keeps_no_zygote_alive() -> None:
    # It holds a copy of the control socket, which therefore never closes.
    script = f"{KILLED_PARENT.rsplit(chr(10), 2)[0]}\nimport os, time\nif os.fork() == 0: time.sleep(60)\nos._exit(0)"
    with subprocess.Popen([sys.executable, "-c", script, "strict"], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        zygote = int(parent.stdout.readline())
        parent.wait()
        assert gone(zygote)
        for pid in orphans_of(script):
            os.kill(pid, signal.SIGKILL)


def orphans_of(script: str) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if script.encode() in path.read_bytes():
                found.append(int(path.parent.name))
    return found


def test_out_of_memory_a_child_is_ended_before_the_judge(attack: Attack, sandbox: Sandbox) -> None:
    assert returned(attack("def solve():\n    return 1")) == 1
    mine = int(Path("/proc/self/oom_score_adj").read_text())
    children = Path(f"/proc/{sandbox.pid}/task/{sandbox.pid}/children").read_text().split()
    assert children  # the template, whose own children inherit its score
    for pid in (sandbox.pid, *children):
        assert int(Path(f"/proc/{pid}/oom_score_adj").read_text()) == max(mine, 500)


def test_closing_in_the_middle_of_a_run_ends_what_it_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Level weak, where a submission can start processes, also in sessions of their own.
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    source = "import os, time\ndef solve():\n    os.fork() or os.setsid()\n    time.sleep(60)"
    sandbox = Sandbox("weak", 512)
    returned(run_in(sandbox, "def solve():\n    return 1"))
    assert sandbox.pid is not None

    def run() -> None:
        with contextlib.suppress(SandboxFault):
            run_in(sandbox, source, timeout_s=60.0)

    running = threading.Thread(target=run)
    running.start()
    while len(processes := descendants(sandbox.pid)) < 3:
        time.sleep(0.01)
    sandbox.close()
    running.join()
    assert all(gone(pid) for pid in processes)
    sandbox.close()
    assert list(tmp_path.iterdir()) == []


def test_close_leaves_no_process_and_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for level in LEVELS:
        sandbox = Sandbox(level, 512)
        returned(run_in(sandbox, "def solve():\n    open('left', 'w').close()\n    return 1"))
        pid = sandbox.pid
        assert pid is not None
        sandbox.close()
        assert gone(pid)
        assert list(tmp_path.iterdir()) == []
