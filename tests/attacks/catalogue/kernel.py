"""Powers over the machine, and the kernel's wide interfaces, where its flaws are found."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.attacks.attack import Attack, Outcome, Stage, by_its_word, needs_root
from tests.attacks.catalogue.processes import attempt, libc, own_process

FAMILY = "kernel"
FILTER = ("system call filter",)
OTHERS = ("system call filter", "process namespace")
POWER = ("system call filter", "no capabilities", "user namespace")
I386_GETPID = """
import ctypes, mmap
def solve():
    # mov eax, 20 (getpid of the 32-bit table); int 0x80; ret
    page = mmap.mmap(-1, 4096, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(b"\\xb8\\x14\\x00\\x00\\x00\\xcd\\x80\\xc3")
    code = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
    return "through" if code() > 0 else "stopped"
"""


LOCKS = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
def lock_of(process):
    number = 202 if os.uname().machine == "x86_64" else 98
    libc.syscall(number, ctypes.byref(ctypes.c_uint32(process)), 128 | 6, 0, (ctypes.c_long * 2)(0, 1), None, 0)
    return ctypes.get_errno()
def solve(other):
    return "through" if lock_of(other) != lock_of(1 << 29) else "stopped"
"""


def system_call(x86: int, arm: int, *args: str) -> str:
    """``libc`` of a raw system call by its number on either machine."""
    given = "".join(f", {arg}" for arg in args)
    return libc(f"libc.syscall({x86} if os.uname().machine == 'x86_64' else {arm}{given})")


PAGE_OF_LIBC = """def page():
    return ctypes.c_void_p(ctypes.cast(libc.getpid, ctypes.c_void_p).value & ~4095)
def solve"""
OWN_PAGE = """def page():
    import mmap
    held.append(mmap.mmap(-1, 8192, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
    return ctypes.addressof(ctypes.c_char.from_buffer(held[0]))
held = []
def solve"""


def alone(source: str) -> Callable[[], str | None]:
    """Whether the same submission gets through as a program of its own, without any sandbox."""

    def check() -> str | None:
        script = f"{source}\nimport sys\nsys.exit(solve() != 'through')"
        done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True)
        return None if done.returncode == 0 else "this machine does not offer it to any program"

    return check


def kernel_attack(name: str, source: str, without: tuple[str, ...] = FILTER) -> Attack:
    return Attack(name, FAMILY, source, by_its_word, without, possible=alone(source))


def got_its_number(outcome: Outcome) -> bool:
    """It got an answer, or was killed for asking."""
    assert outcome.run is not None, outcome.fault
    return outcome.run.calls[0].outcome == "returned"


@contextlib.contextmanager
def host_name(folder: Path) -> Iterator[Stage]:
    yield Stage((socket.gethostname(),))


ATTACKS = (
    Attack(
        "makes system calls by another table's numbers", FAMILY, I386_GETPID,
        got_its_number, FILTER, possible=alone(I386_GETPID) if os.uname().machine == "x86_64" else lambda: "x86 only",
    ),
    Attack(
        "makes a user namespace to regain capabilities", FAMILY, libc("libc.unshare(0x10000000)"),
        by_its_word, FILTER,
    ),
    Attack(
        "mounts a file system", FAMILY, libc('libc.mount(b"none", os.getcwd().encode(), b"tmpfs", 0, None)'),
        by_its_word, ("system call filter", "no capabilities", "Landlock"),
    ),
    Attack(
        "changes its root", FAMILY, libc("libc.chroot(os.getcwd().encode())"),
        by_its_word, ("system call filter", "no capabilities"),
    ),
    Attack(
        "sets the machine's name", FAMILY,
        libc("libc.sethostname(os.uname().nodename.encode(), len(os.uname().nodename))"),
        by_its_word, ("system call filter", "no capabilities", "user namespace"), possible=needs_root,
    ),
    Attack(
        "reads the machine's name", FAMILY,
        'import os\ndef solve(name):\n    return "through" if os.uname().nodename == name else "stopped"',
        by_its_word, ("host name namespace",), hardened="got through", stage=host_name,
    ),
    kernel_attack("pins itself to a core", attempt("os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})")),
    kernel_attack("sets up an io_uring", system_call(425, 425, "4", "ctypes.create_string_buffer(256)")),
    kernel_attack("handles page faults itself", system_call(323, 282, "1")),
    kernel_attack("asks for a keyring", system_call(250, 219, "0", "-3", "1")),
    kernel_attack("watches for changes of files", system_call(294, 26, "0")),
    kernel_attack("changes its personality", system_call(135, 92, "0x0040000")),
    kernel_attack(
        "counts the machine's events",
        system_call(298, 241, "(ctypes.c_uint32 * 32)(1, 128, 1, 0, 0, 0, 0, 0, 0, 0, 0x60)", "0", "-1", "-1", "0"),
    ),
    kernel_attack(
        "asks which pages of a library are in memory",
        system_call(27, 232, "page()", "4096", "ctypes.create_string_buffer(1)").replace("def solve", PAGE_OF_LIBC),
    ),
    kernel_attack(
        "asks for pages to be merged with those of others",
        system_call(28, 233, "ctypes.c_void_p(page())", "4096", "12").replace("def solve", OWN_PAGE),
    ),
    kernel_attack(
        "counts who waits at a page of a library",
        system_call(202, 98, "page()", "1", "0", "0", "0", "0").replace("def solve", PAGE_OF_LIBC),
    ),
    kernel_attack(
        "drops a shared file from memory", attempt("os.posix_fadvise(os.open(os.__file__, 0), 0, 0, 4)")
    ),
    kernel_attack("asks how busy the machine is", system_call(99, 179, "ctypes.create_string_buffer(256)")),
    kernel_attack("makes pipes, which the machine numbers", attempt("os.pipe()")),
    kernel_attack("asks how full a disk is", attempt('os.statvfs("/usr")')),
    Attack(
        "reads another process's CPU time", FAMILY, attempt("time.clock_gettime((~args[0] << 3) | 2)"),
        by_its_word, OTHERS, stage=own_process,
    ),
    Attack(
        "asks which session another process is in", FAMILY, attempt("os.getsid(args[0])"),
        by_its_word, OTHERS, stage=own_process,
    ),
    Attack(
        "locks in another process's name to learn whether it exists", FAMILY, LOCKS, by_its_word, OTHERS,
        stage=own_process,
    ),
    kernel_attack(
        "makes a BPF map", system_call(321, 280, "0", "(ctypes.c_uint32 * 18)(1, 4, 4, 1)", "72"), POWER
    ),
)  # fmt: skip
