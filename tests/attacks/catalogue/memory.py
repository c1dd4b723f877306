"""Memory, disk, files and descriptors: more than its share."""

from __future__ import annotations

import os
from pathlib import Path

from tests.attacks.attack import Attack, by_its_word

FAMILY = "memory and disk"


def counts(action: str, n: int, enough: int, header: str = "") -> str:
    """A submission that does ``action`` ``n`` times, and gets through if it could ``enough`` times."""
    return f"""
import os
{header}
def solve():
    kept = []
    try:
        for number in range({n}):
            {action}
            kept.append(number)
    except (OSError, MemoryError, RuntimeError):
        pass
    return "through" if len(kept) >= {enough} else "stopped"
"""


# mov eax, 56 (clone); mov edi, VM|FS|FILES|SIGHAND|THREAD|SYSVSEM; no stack of its own; syscall; the parent returns;
# the new thread waits: mov eax, 34 (pause); syscall; again
_CODE = bytes.fromhex("b838000000 bf000f0500 31f6 31d2 4d31d2 4d31c0 0f05 85c0 7401 c3 b822000000 0f05 ebf7")
ONE_STACK = f"""
import ctypes, mmap
page = mmap.mmap(-1, 4096, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
def solve():
    page.write({_CODE!r})
    begin = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
    count = 0
    while count < 200 and begin() > 0:
        count += 1
    return "through" if count == 200 else "stopped"
"""
"""200 threads: a few fewer than RLIMIT_NPROC allows where it counts"""


MAPS = """import ctypes
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
def all_but_a_page(n):
    start = libc.mmap(None, n, 3, 0x21, -1, 0)
    if start == ctypes.c_void_p(-1).value:
        raise MemoryError
    ctypes.memset(start, 1, n)
    libc.munmap(start + 4096, n - 4096)
"""
HUGE_PAGE = """
import mmap, resource
SIZE = 1 << 21
held = mmap.mmap(-1, 8 * SIZE, mmap.MAP_PRIVATE)
held.madvise(mmap.MADV_HUGEPAGE)
def solve():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for place in range(0, 8 * SIZE, 4096):
        held[place] = 1
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    return "through" if faults < 8 * SIZE // 4096 - 100 else "stopped"
"""
"""The first touch takes a whole huge page at once. There is room for several, since a full machine may lack some."""


TABLES = """
import ctypes, os, threading, time
libc = ctypes.CDLL(None)
threading.stack_size(1 << 17)
opened, full, done = [], [], threading.Event()
def fill():
    libc.syscall(436, 1000, 1001, 2)
    try:
        while True:
            opened.append(os.open(".", 0))
    except OSError:
        full.append(1)
        done.wait(5)
def solve():
    for _ in range(4):
        threading.Thread(target=fill).start()
    while len(full) < 4:
        time.sleep(0.01)
    done.set()
    return "through" if len(opened) > 64 else "stopped"
"""


def with_huge_pages() -> str | None:
    try:
        said = Path("/sys/kernel/mm/transparent_hugepage/enabled").read_text()
    except OSError:
        said = "[never]"
    return "the kernel gives no huge pages" if "[never]" in said else None


def on_x86() -> str | None:
    return None if os.uname().machine == "x86_64" else "written for x86"


ATTACKS = (
    Attack(
        "takes a gigabyte", FAMILY,
        counts("held.append(bytearray(1 << 26))", 16, 16, "held = []"), by_its_word, ("memory limit",),
    ),
    Attack(
        "takes a gigabyte in processes of its own", FAMILY,
        counts(
            "os.fork() or (bytearray(1 << 28), time.sleep(1), os._exit(0))", 4, 4, "import time"
        ), by_its_word, ("system call filter",),
    ),
    Attack(
        "takes memory that counts as files", FAMILY,
        counts("os.ftruncate(memory(), 1 << 23)", 10, 10,
               "def memory():\n    handle = os.memfd_create('m')\n    os.write(handle, b'x' * (1 << 22))\n"
               "    return handle"),
        by_its_word, ("system call filter",),
    ),
    Attack(
        "takes shared memory and unmaps all but a page of it", FAMILY,
        counts("all_but_a_page(1 << 23)", 10, 10, MAPS), by_its_word, ("system call filter",),
    ),
    Attack(
        "takes huge pages, whose parts it could unmap", FAMILY, HUGE_PAGE, by_its_word, ("memory limit",),
        possible=with_huge_pages,
    ),
    Attack(
        "is a thread bomb", FAMILY,
        counts("threading.Thread(target=event.wait, args=(2,), daemon=True).start()", 300, 300,
               "import threading\nevent = threading.Event()"),
        by_its_word, ("memory limit", "counted threads"),
    ),
    Attack(
        "is a thread bomb on one stack", FAMILY, ONE_STACK, by_its_word, ("counted threads",), possible=on_x86,
    ),
    Attack(
        "fills the disk", FAMILY, counts("open(str(number), 'wb').write(b'x' * (1 << 20))", 40, 40),
        by_its_word, ("small disk",),
    ),
    Attack(
        "fills the disk with names", FAMILY, counts("open(str(number), 'wb').close()", 1000, 1000),
        by_its_word, ("small disk",),
    ),
    Attack(
        "fills the disk with folders", FAMILY, counts("os.mkdir('d'); os.chdir('d')", 300, 300),
        by_its_word, ("small disk",),
    ),
    Attack(
        "makes one huge file", FAMILY,
        counts("os.ftruncate(handle, 1 << 30)", 1, 1,
               "import signal\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
               "handle = os.open('f', os.O_CREAT | os.O_WRONLY)"),
        by_its_word, ("file size limit",),
    ),
    Attack(
        "opens files without end", FAMILY, counts("os.open('.', 0)", 200, 200), by_its_word, ("open files limit",),
    ),
    Attack(
        "opens files in tables of its threads' own", FAMILY, TABLES, by_its_word, ("system call filter",),
    ),
)  # fmt: skip
