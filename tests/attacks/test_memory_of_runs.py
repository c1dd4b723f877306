"""What is left of one execution for the next: nothing in the template, nothing in descriptors, nothing that grows."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from forewarn.sandbox.execution import Level, SandboxFault
from forewarn.sandbox.host import Sandbox
from forewarn.sandbox.inside.counter import AT_ONCE, IN_ALL
from tests.attacks.arena import Weakened
from tests.attacks.catalogue.memory import ONE_STACK, on_x86
from tests.attacks.conftest import Attack, execute_in, returned, run_in
from tests.attacks.test_processes import SPIN, children_of, gone

HONEST = "def solve():\n    return 1"
# Each would have left something behind in the parent, the keeper or the template.
HOSTILE = (
    SPIN,
    ONE_STACK if on_x86() is None else SPIN,
    "import os\ndef solve():\n    os._exit(77)",
    "import os\ndef solve():\n    while True:\n        os.write(3, b'x' * 65536)",
    "import ctypes\ndef solve():\n    ctypes.string_at(0)",
    "import threading\ndef solve():\n    while True:\n        threading.Thread(target=len, args=('',)).start()",
    "class E(Exception): pass\nE.__qualname__ = 'x' * 1_000_000\ndef solve():\n    raise E('y' * 1_000_000)",
    "def solve():\n    return [{} for _ in range(100_000)]",
    "import os\nfor n in range(300):\n    open(str(n), 'w').write('x' * 100_000)\ndef solve():\n    return 1",
)


def template_of(sandbox: Sandbox) -> int:
    assert sandbox.pid is not None
    first, *_ = Path(f"/proc/{sandbox.pid}/task/{sandbox.pid}/children").read_text().split()
    return int(first)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may read another process's memory")
@pytest.mark.parametrize("level", ["strict", "hardened"])
def test_the_template_does_not_know_the_numbers_of_its_children(level: Level) -> None:
    sandbox = Sandbox(level, 512)
    always: set[int] | None = None
    control: set[int] | None = None
    try:
        execute_in(sandbox, HONEST)
        for _ in range(4):
            running = threading.Thread(target=execute_in, args=(sandbox, SPIN), kwargs={"timeout_s": 0.5})
            running.start()
            assert sandbox.pid is not None
            while not (children := children_of(sandbox.pid)):
                time.sleep(0.01)
            template = template_of(sandbox)
            time.sleep(0.1)  # it waits for its next order
            memory = writable_memory(template)
            running.join()
            found, own = (places(memory, pid) for pid in (children[0], template))
            always = found if always is None else always & found
            control = own if control is None else control & own
        assert control, "its own number must be found, or the search is broken"
        assert always == set()
    finally:
        sandbox.close()


def writable_memory(pid: int) -> dict[int, bytes]:
    found = {}
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in maps:
            span, rights, *_ = line.split()
            start, end = (int(part, 16) for part in span.split("-"))
            if "w" in rights and end - start < 1 << 26:
                with contextlib.suppress(OSError):
                    memory.seek(start)
                    found[start] = memory.read(end - start)
    return found


def places(memory: dict[int, bytes], number: int) -> set[int]:
    wanted = re.escape(struct.pack("<i", number))
    return {start + match.start() for start, data in memory.items() for match in re.finditer(wanted, data)}


@pytest.mark.parametrize("level", ["strict", "hardened", "weak"])
def test_a_template_that_dies_is_replaced_with_its_keeper(level: Level) -> None:
    sandbox = Sandbox(level, 512)
    try:
        returned(run_in(sandbox, HONEST))
        keeper, template = sandbox.pid, template_of(sandbox)
        assert keeper is not None
        os.kill(template, signal.SIGKILL)
        with pytest.raises(SandboxFault):
            run_in(sandbox, HONEST)
        assert returned(run_in(sandbox, HONEST)) == 1
        assert sandbox.pid != keeper
        assert gone(keeper)
        assert gone(template)
    finally:
        sandbox.close()


def test_a_template_that_dies_during_a_run_spoils_neither_that_nor_the_next() -> None:
    sandbox = Sandbox("strict", 512)
    try:
        returned(run_in(sandbox, HONEST))
        slow = "import time\ndef solve():\n    time.sleep(0.5)\n    return 1"
        killer = threading.Timer(0.2, os.kill, (template_of(sandbox), signal.SIGKILL))
        killer.start()
        assert returned(run_in(sandbox, slow)) == 1
        killer.join()
        assert returned(run_in(sandbox, HONEST)) == 1
        assert sandbox.starts == 2
    finally:
        sandbox.close()


@pytest.mark.parametrize("level", ["strict", "hardened", "weak"])
def test_a_killed_keeper_takes_template_and_child_along(level: Level) -> None:
    sandbox = Sandbox(level, 512)
    returned(run_in(sandbox, HONEST))
    assert sandbox.pid is not None

    def run() -> None:
        with contextlib.suppress(SandboxFault):
            run_in(sandbox, SPIN, timeout_s=60.0)

    running = threading.Thread(target=run)
    running.start()
    while not (children := children_of(sandbox.pid)):
        time.sleep(0.01)
    template = template_of(sandbox)
    os.kill(sandbox.pid, signal.SIGKILL)
    running.join()
    assert all(gone(pid) for pid in (template, *children))
    sandbox.close()


@pytest.mark.skipif(on_x86() is not None, reason="written for x86")
def test_threads_are_counted_whatever_they_share(attack: Attack) -> None:
    source = ONE_STACK.replace("count < 200", "count < 5000").replace(
        '"through" if count == 200 else "stopped"', "count"
    )
    count = returned(attack(source))
    assert isinstance(count, int)
    assert AT_ONCE - 2 <= count <= 2 * AT_ONCE


def test_threads_one_after_another_are_not_too_many(attack: Attack) -> None:
    source = """
    import threading
    def solve():
        for _ in range(500):
            thread = threading.Thread(target=len, args=("",))
            thread.start()
            thread.join()
        return 1
    """
    assert returned(attack(source)) == 1


def test_asking_for_threads_without_end_ends(attack: Attack) -> None:
    source = """
    import threading
    def solve(n):
        begun = 0
        for _ in range(n):
            thread = threading.Thread(target=len, args=("",))
            try:
                thread.start()
            except RuntimeError:
                return begun
            thread.join()
            begun += 1
        return begun
    """
    begun = returned(attack(source, IN_ALL + 100, timeout_s=60.0))
    assert begun == IN_ALL


@pytest.fixture
def two() -> Iterator[tuple[Sandbox, Sandbox]]:
    pair = Sandbox("strict", 512), Sandbox("strict", 512)
    yield pair
    for sandbox in pair:
        sandbox.close()


def test_a_hostile_neighbour_harms_nobody(two: tuple[Sandbox, Sandbox]) -> None:
    hostile, honest = two
    stop = threading.Event()
    bombs = 0

    def attack() -> None:
        nonlocal bombs
        while not stop.is_set():
            with contextlib.suppress(SandboxFault):
                execute_in(hostile, HOSTILE[1], timeout_s=1.0)
                bombs += 1

    attacking = threading.Thread(target=attack)
    attacking.start()
    try:
        harmed = [n for n in range(60) if returned(run_in(honest, HONEST)) != 1]
    finally:
        stop.set()
        attacking.join()
    assert harmed == []
    assert bombs > 0


def rss_kb(pid: int) -> int:
    return int(re.findall(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[0])


def handles(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


@pytest.mark.parametrize("level", ["strict", "hardened"])
def test_hostile_runs_leave_everything_as_it_was(level: Level) -> None:
    sandbox = Sandbox(level, 512)

    def runs(n: int) -> None:
        for i in range(n):
            execute_in(sandbox, HOSTILE[i % len(HOSTILE)], timeout_s=0.2)

    def state() -> list[list[int]]:
        assert sandbox.pid is not None
        pids = (os.getpid(), sandbox.pid, template_of(sandbox))
        return [[measure(pid) for pid in pids] for measure in (rss_kb, handles)]

    try:
        runs(2 * len(HOSTILE))
        memory, files = state()
        keeper = sandbox.pid
        runs(10 * len(HOSTILE))
        memory_after, files_after = state()
        assert sandbox.pid == keeper, "one that starts anew is flat without merit"
        assert files_after == files
        grown = [after - before for before, after in zip(memory, memory_after, strict=True)]
        assert grown[0] < 64 << 10  # what floods of 16 MiB leave in the allocator
        assert max(grown[1:]) < 1 << 10
    finally:
        sandbox.close()


@pytest.mark.parametrize("off", [["own root"], ["own root", "Landlock"]])
def test_a_working_folder_on_a_disk_of_the_machine_remembers_nothing(off: list[str]) -> None:
    """A folder that is only emptied keeps its size, and one that is not touched its times."""
    look = "import os\ndef solve():\n    found = os.stat('.')\n    return [found.st_size, found.st_mtime_ns]"
    fill = """
    import os
    def solve():
        refused = 0
        for name in ("..", "../name"):
            try:
                open(os.path.join(name, "x" * 9), "w").close()
            except OSError:
                refused += 1
        for i in range(500):
            open("x" * 200 + str(i), "w").close()
        return refused
    """
    with contextlib.closing(Weakened("hardened", 512, off)) as sandbox:
        before: Any = returned(run_in(sandbox, look))
        assert returned(run_in(sandbox, fill)) == 2
        after: Any = returned(run_in(sandbox, look))
        again: Any = returned(run_in(sandbox, look))
    assert before[0] == after[0] == again[0]
    assert before[1] < after[1] < again[1]
