"""Submissions that attack. Each returns what it got, as plain data; one property a test, at both levels."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator

import pytest

from forewarn.exploits.base import Run
from forewarn.judge import codec
from forewarn.judge.observe import observe
from forewarn.judge.sandbox import Sandbox
from forewarn.records import TestCase

Attack = Callable[..., Run]


@pytest.fixture(scope="session", params=["strict", "hardened"])
def sandbox(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    opened = Sandbox(request.param, 512)
    yield opened
    opened.close()


def run_in(sandbox: Sandbox, source: str, *args: object, expected: object = None, timeout_s: float = 10.0) -> Run:
    """Run ``solve(*args)`` of a submission once."""
    source = textwrap.dedent(source)
    request = {"code": source, "entry_point": "solve", "cases": [codec.encode(args)], "child": ""}
    execution = sandbox.execute(request, None, timeout_s)
    return observe(execution, source, [TestCase(args, expected)], [codec.encode(expected)], None)


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
