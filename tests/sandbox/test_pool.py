"""The pool: bounded, in order, for sync and async callers; faults counted as ours; nothing left at the end."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from forewarn.errors import InputError
from forewarn.judge.judge import Item, Judge
from forewarn.sandbox.host import Sandbox
from forewarn.sandbox.pool import Pool, Slots
from tests.judge.test_judge import DOUBLE, RIGHT, WRONG

FOREVER = "import threading\ndef solve(n):\n    threading.Event().wait()"


def items(n: int, word: str) -> list[Item]:
    return [(DOUBLE, f"{RIGHT if i % 3 else WRONG}# {word} {i}") for i in range(n)]


def labels(n: int) -> list[str]:
    return ["solved" if i % 3 else "failed" for i in range(n)]


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    with Judge(workers=1, level="hardened") as opened:
        yield opened


def test_slots_are_given_in_order_and_not_to_who_left() -> None:
    slots = Slots(1)
    first, second, third, fourth = (slots.ask() for _ in range(4))
    assert first.done()
    assert third.cancel()
    slots.give_back()
    assert second.done()
    assert not fourth.done()
    slots.give_back()
    assert fourth.done()
    slots.give_back()
    assert slots.ask().done()


def test_a_full_queue_makes_the_caller_wait() -> None:
    pool = Pool([Sandbox("hardened", 256)], limit=2)
    hold = threading.Event()
    futures = [pool.submit(lambda sandbox: hold.wait(60)) for _ in range(2)]
    waiting = threading.Thread(target=lambda: futures.append(pool.submit(lambda sandbox: True)))
    waiting.start()
    waiting.join(0.2)
    assert waiting.is_alive()
    hold.set()
    waiting.join()
    assert [future.result() for future in futures] == [True] * 3
    pool.close()


def test_an_endless_stream_is_taken_no_faster_than_it_is_judged(judge: Judge) -> None:
    taken = 0

    def endless() -> Iterator[Item]:
        nonlocal taken
        while True:
            taken += 1
            yield DOUBLE, f"{RIGHT}# endless {taken}"

    stream = judge.stream(endless())
    for given in range(1, 20):
        assert next(stream).label == "solved"
        assert taken <= given + judge._limit + 1
    stream.close()  # type: ignore[attr-defined]


def test_a_stream_keeps_order_and_judges_equal_items_once(judge: Judge) -> None:
    many = items(30, "stream")
    assert [verdict.label for verdict in judge.stream(iter([*many, *many]))] == labels(30) * 2
    before = judge.counts.executions
    assert [verdict.label for verdict in judge.stream(many)] == labels(30)
    assert judge.counts.executions == before


def test_an_event_loop_goes_on_while_it_judges(judge: Judge) -> None:
    async def both() -> tuple[list[str], list[bool | None], int]:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0.001)

        ticking = asyncio.create_task(tick())
        verdicts, accepts = await asyncio.gather(
            judge.verdicts_async(items(60, "async")), judge.accepts_async(items(60, "async too"), "secure")
        )
        ticking.cancel()
        return [verdict.label for verdict in verdicts], accepts, ticks

    found, accepted, ticks = asyncio.run(both())
    assert found == labels(60)
    assert accepted == [label == "solved" for label in labels(60)]
    assert ticks > 10


def test_a_cancelled_task_gives_its_place_back(judge: Judge) -> None:
    async def cancelled() -> None:
        tasks = [asyncio.create_task(judge.verdicts_async(items(50, f"cancelled {i}"))) for i in range(4)]
        await asyncio.sleep(0.05)
        for task in tasks:
            task.cancel()
        assert all(
            isinstance(end, asyncio.CancelledError) for end in await asyncio.gather(*tasks, return_exceptions=True)
        )

    asyncio.run(cancelled())
    assert [verdict.label for verdict in judge.verdicts(items(40, "afterwards"))] == labels(40)


def test_threads_share_a_judge(judge: Judge) -> None:
    found: dict[int, list[str]] = {}

    def ask(i: int) -> None:
        found[i] = [verdict.label for verdict in judge.verdicts(items(25, f"thread {i}"))]

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == dict.fromkeys(range(4), labels(25))


def test_a_verdicts_deadline_holds_whatever_its_executions_take() -> None:
    with Judge(workers=1, level="hardened", timeout_s=60.0, deadline_s=1.0) as hurried:
        hurried.verdicts([(DOUBLE, RIGHT)])
        verdict = hurried.verdicts([(DOUBLE, FOREVER)])[0]
        assert verdict.label == "invalid"
        assert "deadline" in verdict.reason
        assert hurried.counts.invalid == {"time": 1}
        assert hurried.verdicts([(DOUBLE, RIGHT + "# again")])[0].label == "solved"


def test_a_zygote_that_dies_is_replaced_and_counted() -> None:
    with Judge(workers=1, level="hardened") as own:
        own.verdicts(items(8, "before"))
        started = own.counts.zygotes_started
        for sandbox in own._pool.sandboxes:
            if sandbox.pid is not None:
                os.kill(sandbox.pid, signal.SIGKILL)
        found = own.verdicts(items(8, "after"))
        assert {verdict.label for verdict in found} <= {"solved", "failed", "invalid"}
        assert [verdict.label for verdict in own.verdicts(items(8, "after"))] == labels(8)
        counts = own.counts
        assert counts.zygotes_lost > 0
        assert counts.zygotes_started > started
        assert sum(counts.invalid.values()) == sum(verdict.label == "invalid" for verdict in found)
        assert counts.judged == 16 + sum(counts.invalid.values())


def test_a_broken_zygote_is_invalid_every_time(monkeypatch: pytest.MonkeyPatch) -> None:
    with Judge(workers=1, level="hardened") as own:
        monkeypatch.setattr("sys.executable", "/nonexistent/python")
        found = own.verdicts(items(6, "broken"))
        assert {verdict.label for verdict in found} == {"invalid"}
        assert own.counts.invalid == {"zygote": 6}
        monkeypatch.undo()
        assert [verdict.label for verdict in own.verdicts(items(6, "broken"))] == labels(6)


def test_closing_ends_what_waits_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = {thread.name for thread in threading.enumerate()}
    own = Judge(workers=1, level="hardened", timeout_s=1.0)
    own.verdicts([(DOUBLE, RIGHT)])
    pids = [sandbox.pid for sandbox in own._pool.sandboxes if sandbox.pid is not None]
    errors: list[InputError] = []

    def ask() -> None:
        try:
            own.verdicts([(replace(DOUBLE, problem_id=str(i)), FOREVER) for i in range(30)])
        except InputError as error:
            errors.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    time.sleep(0.3)
    own.close()
    asking.join()
    assert [str(error) for error in errors] == ["this Judge is closed: open another"]
    assert pids
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    assert list(tmp_path.iterdir()) == []
    assert {thread.name for thread in threading.enumerate()} <= before
    with pytest.raises(InputError, match="closed"):
        own.stream([(DOUBLE, RIGHT)]).__next__()
