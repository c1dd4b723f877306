"""Submissions that attack. Each returns what it got, as plain data; one property a test, at both levels."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator
from typing import TypeVar

import pytest

from forewarn.exploits.base import Run
from forewarn.judge.observe import observe
from forewarn.records import TestCase
from forewarn.sandbox import codec
from forewarn.sandbox.execution import Execution, SandboxFault
from forewarn.sandbox.host import Sandbox

Attack = Callable[..., Run]
T = TypeVar("T")
BUSY_TRIES = 5


@pytest.fixture(scope="session", params=["strict", "hardened"])
def sandbox(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    opened = Sandbox(request.param, 512)
    yield opened
    opened.close()


def ask(question: Callable[[], T]) -> T:
    """The answer to a question, asked again where the machine had no core for it: that is what "invalid" means."""
    for _ in range(BUSY_TRIES - 1):
        try:
            return question()
        except SandboxFault as fault:
            if fault.kind != "busy":
                raise
    return question()


def execute_in(sandbox: Sandbox, source: str, *args: object, timeout_s: float = 10.0) -> Execution:
    """Execute ``solve(*args)`` of a submission once."""
    request = {"code": textwrap.dedent(source), "entry_point": "solve", "cases": [codec.encode(args)], "child": ""}
    return ask(lambda: sandbox.execute(request, None, timeout_s))


def run_in(sandbox: Sandbox, source: str, *args: object, expected: object = None, timeout_s: float = 10.0) -> Run:
    """What executing ``solve(*args)`` of a submission shows."""
    execution = execute_in(sandbox, source, *args, timeout_s=timeout_s)
    return observe(execution, textwrap.dedent(source), [TestCase(args, expected)], [codec.encode(expected)], None)


@pytest.fixture
def attack(sandbox: Sandbox) -> Attack:
    """``attack(source, *args, expected=..., timeout_s=...)`` -> ``Run``."""

    def attack(source: str, *args: object, expected: object = None, timeout_s: float = 10.0) -> Run:
        return run_in(sandbox, source, *args, expected=expected, timeout_s=timeout_s)

    return attack


def returned(run: Run) -> object:
    """What the submission returned; the test fails if it did not."""
    assert run.ending == "finished", (run.ending, run.load_message, run.calls)
    assert run.calls[0].outcome == "returned", run.calls[0]
    return codec.decode(run.calls[0].tree)
