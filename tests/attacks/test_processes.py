"""Other processes and the network: none started, none reached, none left."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from forewarn.judge.sandbox import Sandbox, SandboxFault
from tests.attacks.conftest import Attack, returned, run_in

SPIN = "def solve():\n    while True:\n        pass"


def descendants(pid: int) -> list[int]:
    found = []
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        found += [int(child), *descendants(int(child))]
    return found


def gone(pid: int, within_s: float = 3.0) -> bool:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.02)
    return False


def test_no_process_is_started(attack: Attack) -> None:
    source = """
    import os, subprocess, ctypes
    def solve():
        started = []
        ways = {"fork": os.fork, "spawn": lambda: os.posix_spawn("/bin/true", ["true"], {}),
                "subprocess": lambda: subprocess.run(["true"]), "vfork": lambda: ctypes.CDLL(None).vfork(),
                "exec": lambda: os.execv("/bin/true", ["true"])}
        for name, way in ways.items():
            try:
                result = way()
                if name != "vfork" or result >= 0:
                    started.append(name)
            except OSError:
                pass
        return started
    """
    assert returned(attack(source)) == []


def test_a_fork_bomb_ends_with_its_run(attack: Attack, sandbox: Sandbox) -> None:
    source = """
    import os
    def solve():
        while True:
            try:
                os.fork()
            except OSError:
                pass
    """
    assert attack(source, timeout_s=0.5).ending == "deadline"
    assert sandbox.pid is not None
    assert descendants(sandbox.pid) == []


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


def test_the_parent_is_not_traced(attack: Attack) -> None:
    source = """
    import ctypes
    def solve(pid):
        libc = ctypes.CDLL(None, use_errno=True)
        buffer = ctypes.create_string_buffer(8)
        vector = (ctypes.c_void_p * 2)(ctypes.addressof(buffer), 8)
        return [libc.ptrace(16, pid, 0, 0), libc.process_vm_readv(pid, vector, 1, vector, 1, 0)]
    """
    assert returned(attack(source, os.getpid())) == [-1, -1]


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


@pytest.mark.parametrize("kind", ["tcp", "udp", "unix", "abstract"])
def test_no_socket(attack: Attack, kind: str, tmp_path: Path) -> None:
    family = socket.AF_INET if kind in ("tcp", "udp") else socket.AF_UNIX
    address = {"unix": str(tmp_path / "s"), "abstract": f"\0forewarn{os.getpid()}"}.get(kind, ("127.0.0.1", 0))
    with socket.socket(family, socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM) as server:
        server.bind(address)
        if kind != "udp":
            server.listen()
        source = """
        import socket
        def solve(family, datagram, address):
            try:
                client = socket.socket(family, socket.SOCK_DGRAM if datagram else socket.SOCK_STREAM)
                client.connect(address)
                client.send(b"hello")
                return "sent"
            except OSError:
                return "refused"
        """
        assert returned(attack(source, int(family), kind == "udp", server.getsockname())) == "refused"
        server.settimeout(0.1)
        with pytest.raises(TimeoutError):
            server.recv(1) if kind == "udp" else server.accept()


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
    import os, socket
    def solve():
        return [os.getpid(), [name for _, name in socket.if_nameindex()] if False else os.listdir("/"), os.getuid()]
    """
    try:
        pid, listing, _ = returned(run_in(sandbox, source))  # type: ignore[misc]
        assert pid == 1
        assert "home" not in listing
        assert "proc" not in listing
    finally:
        sandbox.close()


def test_power_is_not_regained(attack: Attack) -> None:
    source = """
    import os, ctypes
    def solve():
        libc = ctypes.CDLL(None)
        tried = [libc.unshare(0x10000000), libc.chroot(b"/"), libc.mount(b"none", b"/work", b"tmpfs", 0, None),
                 libc.setns(3, 0), libc.prctl(22, 0, 0, 0, 0), libc.syscall(317, 0, 0, 0), libc.umount2(b"/work", 2)]
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
while not path.read_text().split():
    time.sleep(0.01)
time.sleep(0.2)
os.kill(int(path.read_text().split()[0]), 9)
"""
    killer = subprocess.Popen([sys.executable, "-c", script])
    with pytest.raises(SandboxFault, match="killed from outside"):
        attack(SPIN, timeout_s=8.0)
    killer.wait()


def test_nothing_outlives_a_killed_parent(tmp_path: Path) -> None:
    script = f"""
import sys
from forewarn.judge.sandbox import Sandbox
sandbox = Sandbox(sys.argv[1], 512)
sandbox.execute({{"code": "def solve(): pass", "entry_point": "solve", "cases": [["t"]], "child": ""}}, None, 5.0)
print(sandbox.pid, flush=True)
sandbox.execute({{"code": {SPIN!r}, "entry_point": "solve", "cases": [["t"]], "child": ""}}, None, 60.0)
"""
    for level in ("strict", "hardened"):
        parent = subprocess.Popen(
            [sys.executable, "-c", script, level], stdout=subprocess.PIPE, text=True, env={"TMPDIR": str(tmp_path)}
        )
        assert parent.stdout is not None
        with parent, parent.stdout:
            zygote = int(parent.stdout.readline())
            while not (children := descendants(zygote)):
                time.sleep(0.01)
            parent.kill()
        assert all(gone(pid) for pid in [zygote, *children])


def test_close_leaves_no_process_and_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for level in ("strict", "hardened"):
        sandbox = Sandbox(level, 512)  # type: ignore[arg-type]
        returned(run_in(sandbox, "def solve():\n    open('left', 'w').close()\n    return 1"))
        pid = sandbox.pid
        assert pid is not None
        sandbox.close()
        assert gone(pid)
        assert list(tmp_path.iterdir()) == []
