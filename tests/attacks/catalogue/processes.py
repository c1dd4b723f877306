"""Other processes: started, signalled, traced, outliving the run."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.attacks.attack import Attack, Outcome, Stage, by_evidence, by_fault, by_its_word, needs_root

FAMILY = "processes"
FILTER = ("system call filter",)
SIGNALS = ("system call filter", "process namespace", "Landlock")
TRACING = (*SIGNALS, "user namespace", "no capabilities")
LEFT_OVER = ("system call filter", "process namespace", "killed whole")
DAEMON = "fw-daemon"


def libc(*calls: str, header: str = "") -> str:
    """A submission that says "through" if any of these expressions in ``libc`` is not negative."""
    return f"""
import ctypes, glob, os
libc = ctypes.CDLL(None, use_errno=True)
{header}
def solve(*args):
    return "through" if any(result >= 0 for result in ({", ".join(calls)},)) else "stopped"
"""


def attempt(action: str) -> str:
    return f"""
import os, signal, time
def solve(*args):
    try:
        {action}
    except (OSError, AssertionError):
        return "stopped"
    return "through"
"""


READS_MEMORY = """
def read(pid, address):
    buffer = ctypes.create_string_buffer(4)
    ours = (ctypes.c_void_p * 2)(ctypes.addressof(buffer), 4)
    theirs = (ctypes.c_void_p * 2)(address, 4)
    libc.process_vm_readv(pid, ours, ctypes.c_ulong(1), theirs, ctypes.c_ulong(1), ctypes.c_ulong(0))
    return 0 if buffer.raw == b"4711" else -1
"""


def daemon(holds_channel: bool) -> str:
    return f"""
import ctypes, os, time
def solve():
    try:
        if os.fork() == 0:
            if os.fork():
                os._exit(0)
            os.setsid()
            ctypes.CDLL(None).prctl(15, b"{DAEMON}", 0, 0, 0)
            {"" if holds_channel else "os.close(3)"}
            time.sleep(30)
            os._exit(0)
        time.sleep(0.3)
    except OSError:
        pass
    return 0
"""


def named(name: str) -> list[int]:
    found = []
    for comm in Path("/proc").glob("[0-9]*/comm"):
        with contextlib.suppress(OSError):
            if comm.read_text().strip() == name and " Z " not in comm.with_name("stat").read_text():
                found.append(int(comm.parent.name))
    return found


@contextlib.contextmanager
def no_daemon(folder: Path) -> Iterator[Stage]:
    try:
        yield Stage((), lambda: named(DAEMON))
    finally:
        for pid in named(DAEMON):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@contextlib.contextmanager
def victim(folder: Path) -> Iterator[Stage]:
    """Another process of the user, its id and the address of a variable in it; dead is evidence."""
    script = (
        "import ctypes, time; b = ctypes.create_string_buffer(b'4711'); "
        "print(ctypes.addressof(b), flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            address = int(process.stdout.readline())
            yield Stage((process.pid, address), lambda: process.poll() is not None)
        finally:
            process.kill()


def loaders() -> list[str]:
    """The one program among the files that a submission may read: the loader of shared libraries."""
    return [str(path.resolve()) for path in Path("/").glob("lib*/ld-linux*.so.*")]


def has_loader() -> str | None:
    return None if loaders() else "the loader of this machine is of another name"


@contextlib.contextmanager
def loader(folder: Path) -> Iterator[Stage]:
    yield Stage(tuple(loaders()[:1]))


@contextlib.contextmanager
def own_process(folder: Path) -> Iterator[Stage]:
    yield Stage((os.getpid(),))


def killed_itself(outcome: Outcome) -> bool:
    return outcome.fault is not None and outcome.fault.kind == "killed"


ATTACKS = (
    Attack(
        "starts a process", FAMILY,
        attempt("pid = os.fork(); pid or os._exit(0); os.waitpid(pid, 0)"),
        by_its_word, FILTER,
    ),
    Attack(
        "runs another program", FAMILY,
        attempt('assert os.waitpid(os.posix_spawn(args[0], [args[0], "--help"], {}), 0)[1] == 0'),
        by_its_word, ("system call filter", "Landlock"), stage=loader, possible=has_loader,
    ),
    Attack(
        "is a fork bomb", FAMILY,
        """
        import os, time
        def solve():
            count = 0
            try:
                while count < 20:
                    if os.fork() == 0:
                        time.sleep(5)
                        os._exit(0)
                    count += 1
            except OSError:
                pass
            return "through" if count else "stopped"
        """,
        by_its_word, FILTER,
    ),
    Attack(
        "leaves a daemon behind", FAMILY, daemon(holds_channel=False),
        by_evidence, LEFT_OVER, stage=no_daemon,
    ),
    Attack(
        "leaves a daemon that holds the channel open", FAMILY, daemon(holds_channel=True),
        by_fault, LEFT_OVER, stage=no_daemon, wait_s=6.0,
    ),
    Attack(
        "signals the parent", FAMILY, attempt("os.kill(args[0], 0)"),
        by_its_word, SIGNALS, stage=own_process,
    ),
    Attack(
        "kills a sibling", FAMILY, attempt("os.kill(args[0], signal.SIGKILL); time.sleep(0.5)"),
        by_evidence, SIGNALS, stage=victim,
    ),
    Attack(
        "reaches its zygote", FAMILY, attempt("assert os.getppid() > 0; os.kill(os.getppid(), 0)"),
        by_its_word, SIGNALS,
    ),
    Attack(
        "kills itself to feign a fault of the sandbox", FAMILY,
        attempt("os.kill(os.getpid(), signal.SIGKILL)"),
        killed_itself, ("system call filter", "process namespace"),
    ),
    Attack(
        "traces another process", FAMILY, libc("libc.ptrace(0x4206, args[0], None, None)"),
        by_its_word, TRACING, stage=victim, possible=needs_root,
    ),
    Attack(
        "reads another process's memory", FAMILY, libc("read(*args)", header=READS_MEMORY),
        by_its_word, TRACING, stage=victim, possible=needs_root,
    ),
    Attack(
        "takes another process's descriptor", FAMILY,
        libc("libc.syscall(438, libc.syscall(434, args[0], 0), 1, 0)"),
        by_its_word, TRACING, stage=victim, possible=needs_root,
    ),
)  # fmt: skip
