"""The system call filter: what is not on the list is refused, on this kernel and in the table of either machine."""

from __future__ import annotations

import platform
import re
import struct
from pathlib import Path

import pytest

from forewarn.sandbox.inside import seccomp
from forewarn.sandbox.inside.seccomp import ALLOWED, CONDITIONS, DONE
from tests.attacks.conftest import Attack, returned

PAGE = Path(__file__).resolve().parents[2] / "docs" / "sandbox-calls.md"
UNFILTERED = {335: "uretprobe", 336: "uprobe"}
"""the kernel passes these by every filter; outside the trampolines of a probe they do nothing but fail"""
FEATURES = {
    "files": "import os, shutil, tempfile\nwith tempfile.TemporaryDirectory() as d:\n    p = os.path.join(d, 'a')\n"
    "    open(p, 'w').write('x')\n    os.rename(p, p + 'b')\n    shutil.copyfile(p + 'b', p)",
    "threads": "import threading\nt = threading.Thread(target=len, args=('',))\nt.start()\nt.join()",
    "a pool": "from concurrent.futures import ThreadPoolExecutor\n"
    "with ThreadPoolExecutor(3) as p:\n    assert list(p.map(abs, [-1, 2])) == [1, 2]",
    "random numbers": "import os, random, secrets, uuid\nos.urandom(8), random.random()\n"
    "secrets.randbits(9), uuid.uuid4()",
    "time": "import datetime, time\ntime.sleep(0.001), datetime.datetime.now(), time.perf_counter(), time.localtime()",
    "an alarm": "import signal\nsignal.signal(signal.SIGALRM, lambda *_: None)\nsignal.alarm(1)",
    "large arrays": "x = bytearray(100_000_000)\ndel x",
    "modules": "import sqlite3, csv, email, http.client, xml.etree.ElementTree, zoneinfo, bz2, lzma, difflib, numbers",
    "a database": "import sqlite3\nc = sqlite3.connect('d.db')\nc.execute('create table t(a)')\nc.commit()\nc.close()",
    "ctypes": "import ctypes\nctypes.CFUNCTYPE(ctypes.c_int)(lambda: 3)()",
    "limits": "import os, platform, resource\nresource.getrlimit(0), os.cpu_count(), platform.platform(), os.getpid()",
    "recursion": "import sys\nsys.setrecursionlimit(5000)\ndef f(n): return n and f(n - 1)\nf(4000)",
    "waiting": "import select\nselect.select([], [], [], 0.01)",
    "a stack of another size": "import resource\nsoft, hard = resource.getrlimit(resource.RLIMIT_STACK)\n"
    "resource.setrlimit(resource.RLIMIT_STACK, (1 << 20, hard))",
    "locks of its own files": "import fcntl\nwith open('f', 'w') as f:\n    fcntl.flock(f, fcntl.LOCK_EX)\n"
    "    fcntl.lockf(f, fcntl.LOCK_EX)",
    "flushing": "import os\nwith open('f', 'w') as f:\n    f.write('x')\n    f.flush()\n    os.fsync(f.fileno())",
    "memory maps": "import mmap\nm = mmap.mmap(-1, 10_000, mmap.MAP_PRIVATE)\nm.write(b'x')\nm.close()",
}


@pytest.mark.parametrize("name", FEATURES)
def test_what_honest_programs_use_works(attack: Attack, name: str) -> None:
    body = "\n".join(f"    {line}" for line in FEATURES[name].splitlines())
    assert returned(attack(f"def solve():\n{body}\n    return 'done'")) == "done"


def test_every_call_that_is_not_listed_is_refused(attack: Attack) -> None:
    column = seccomp.column()
    if column != 0:
        pytest.skip("numbers of unfiltered calls are those of x86-64")
    conditional = {numbers[column] for numbers, _ in CONDITIONS.values()}
    done = {numbers[column] for numbers in DONE.values()}
    listed = {numbers[column] for numbers in ALLOWED.values()} | conditional | done | UNFILTERED.keys()
    unlisted = [number for number in range(600) if number not in listed]
    source = """
    import ctypes
    def solve(numbers):
        libc = ctypes.CDLL(None, use_errno=True)
        answered = []
        for number in numbers:
            ctypes.set_errno(0)
            if libc.syscall(number, -1, -1, -1, -1, -1, -1) != -1 or ctypes.get_errno() not in (1, 38):
                answered.append(number)
        return answered
    """
    assert len(unlisted) > 400
    assert returned(attack(source, unlisted)) == []


def test_the_call_above_would_get_an_answer_where_it_is_listed(attack: Attack) -> None:
    source = "import ctypes\ndef solve(number):\n    return ctypes.CDLL(None).syscall(number) > 0"
    assert returned(attack(source, ALLOWED["getpid"][seccomp.column()])) is True


def test_the_page_goes_through_every_call() -> None:
    table = PAGE.read_text().partition("## The calls")[2].partition("## What is left")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    named = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    assert sorted(named) == sorted([*ALLOWED, *CONDITIONS, *DONE])


ALLOWED_ANSWER, REFUSED, DONE_ANSWER, ABSENT = 0x7FFF0000, 0x00050001, 0x00050000, 0x00050026
DECISIONS = [
    ("openat", (0, 0, 0o100000), ALLOWED_ANSWER),
    ("openat", (0, 0, 3), ALLOWED_ANSWER),
    ("openat", (0, 0, 0o1000 | 1), ALLOWED_ANSWER),
    ("openat", (0, 0, 0o1000 | 2), ALLOWED_ANSWER),
    ("openat", (0, 0, 0o1000), REFUSED),
    ("openat", (0, 0, 0o1000 | 3), REFUSED),
    ("openat", (0, 0, 0o1100 | 1 << 19), REFUSED),
    ("fcntl", (0, 3), ALLOWED_ANSWER),
    ("fcntl", (0, 37), REFUSED),
    ("fcntl", (0, 6), DONE_ANSWER),
    ("fcntl", (0, 5), REFUSED),
    ("fcntl", (0, 1031), REFUSED),
    ("fcntl", (0, 1032), REFUSED),
    ("flock", (0, 2), DONE_ANSWER),
    ("sched_yield", (), DONE_ANSWER),
    ("prlimit64", (0, 0, 0, 1 << 40), ALLOWED_ANSWER),
    ("prlimit64", (0, 0, 1, 0), REFUSED),
    ("prlimit64", (0, 0, 1 << 32, 0), REFUSED),
    ("prlimit64", (0, 3, 1 << 33, 0), ALLOWED_ANSWER),
    ("prlimit64", (1, 3, 0, 0), REFUSED),
    ("madvise", (0, 0, 4), ALLOWED_ANSWER),
    ("madvise", (0, 0, 21), REFUSED),
    ("futex", (0, 129), ALLOWED_ANSWER),
    ("futex", (0, 1), REFUSED),
    ("futex", (0, 128 | 3), ALLOWED_ANSWER),
    ("futex", (0, 128 | 256 | 9), ALLOWED_ANSWER),
    *[("futex", (0, 128 | command), REFUSED) for command in (2, 6, 7, 8, 11, 12, 13)],
    ("futex", (0, 256 | 9), ALLOWED_ANSWER),
    ("futex", (0, 256 | 10), REFUSED),
    ("clone", (0x3D0F00,), ALLOWED_ANSWER),
    ("clone", (0x3D0F00 | 0x10000000,), REFUSED),
    ("clone", (0x3D0B00,), REFUSED),
    ("clone", (17,), REFUSED),
    ("mmap", (0, 0, 0, 0x22), ALLOWED_ANSWER),
    ("close_range", (0, 0, 4), ALLOWED_ANSWER),
    ("close_range", (0, 0, 2), REFUSED),
    ("mmap", (0, 0, 0, 0x40022), REFUSED),
    ("mmap", (0, 0, 0, 0x1), ALLOWED_ANSWER),
    ("mmap", (0, 0, 0, 0x21), REFUSED),
    ("mmap", (0, 0, 0, 0x23), REFUSED),
    ("clock_gettime", (1,), ALLOWED_ANSWER),
    ("clock_gettime", ((1 << 32) - 6,), REFUSED),
    ("getpriority", (0, 0), ALLOWED_ANSWER),
    ("getpriority", (0, 7), REFUSED),
    ("getpriority", (1, 0), REFUSED),
    ("getpgid", (7,), REFUSED),
    ("ioctl", (0, 0x5412), REFUSED),
    ("read", (0,), ALLOWED_ANSWER),
]


def answer(program: bytes, number: int, arguments: tuple[int, ...]) -> int:
    """What a filter says of a call, by the kernel's rules for classic BPF."""
    lines = list(struct.iter_unpack("=HBBI", program))
    arch = seccomp._MACHINES[platform.machine()][1]
    data = struct.pack("=IIQ6Q", number, arch, 0, *arguments, *[0] * (6 - len(arguments)))
    at, value = 0, 0
    while True:
        code, true, false, k = lines[at]
        at += 1
        if code == seccomp._RET:
            return int(k)
        if code == seccomp._LOAD:
            (value,) = struct.unpack_from("=I", data, k)
        elif code == seccomp._AND:
            value &= k
        else:
            tests = {seccomp._JEQ: value == k, seccomp._JGE: value >= k, seccomp._JSET: bool(value & k)}
            at += true if tests[code] else false


@pytest.mark.parametrize(("name", "arguments", "wanted"), DECISIONS)
def test_arguments_decide(name: str, arguments: tuple[int, ...], wanted: int) -> None:
    numbers = {**ALLOWED, **DONE, **{each: found for each, (found, _) in CONDITIONS.items()}}
    number = numbers[name][seccomp.column()]
    assert number is not None
    assert answer(seccomp.program(), number, arguments) == wanted


def test_no_thread_is_begun_where_nobody_counts_them() -> None:
    numbers, _ = CONDITIONS["clone"]
    number = numbers[seccomp.column()]
    assert number is not None
    assert answer(seccomp.program(threads=False), number, (0x3D0F00,)) == REFUSED
    assert answer(seccomp.asking_program(), number, (0,)) == 0x7FC00000
    assert answer(seccomp.asking_program(), number + 1, (0,)) == ALLOWED_ANSWER
    assert answer(seccomp.program(), 435, (0,)) == ABSENT


def test_no_folder_is_made_where_nobody_counts_them() -> None:
    for number in seccomp.folder_calls():
        assert answer(seccomp.program(), number, (0, 0)) == ALLOWED_ANSWER
        assert answer(seccomp.program(folders=False), number, (0, 0)) == REFUSED
        assert answer(seccomp.asking_program(folders=True), number, (0, 0)) == 0x7FC00000
        assert answer(seccomp.asking_program(), number, (0, 0)) == ALLOWED_ANSWER


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_search_finds_what_the_table_says(machine: str) -> None:
    column = list(seccomp._MACHINES).index(machine)
    lines = seccomp._search(seccomp._borders(column))
    assert all(skip < 256 for _, skip, _, _ in lines)
    allowed = {numbers[column] for numbers in ALLOWED.values()}
    for number in range(seccomp._LAST_KNOWN + 1):
        at = 0
        while lines[at][0] != seccomp._RET:
            _, above, below, border = lines[at]
            at += 1 + (above if number >= border else below)
        assert (lines[at][3] == seccomp._ALLOW) == (number in allowed), number
