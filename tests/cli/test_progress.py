"""Progress: bars on a terminal, few plain lines elsewhere, time left from the speed since the stage was first seen."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from forewarn.cli import progress
from forewarn.cli.progress import PlainProgress, clock, progress_bars


@pytest.fixture
def now_s(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock under the test's hand: set its one item."""
    time_s = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: time_s[0])
    return time_s


def test_plain_lines_at_the_start_the_end_and_now_and_then(now_s: list[float]) -> None:
    lines: list[str] = []
    report = PlainProgress(lines.append)
    for done in range(0, 101):
        now_s[0] = 100.0 + done
        report("sample", done, 100)
    report("sample", 100, 100)
    assert lines == [
        "sample: 0/100",
        "sample: 15/100, about 1:25 left",
        "sample: 30/100, about 1:10 left",
        "sample: 45/100, about 0:55 left",
        "sample: 60/100, about 0:40 left",
        "sample: 75/100, about 0:25 left",
        "sample: 90/100, about 0:10 left",
        "sample: 100/100, done in 1:40",
    ]


def test_a_resumed_stage_counts_only_its_own_speed(now_s: list[float]) -> None:
    lines: list[str] = []
    report = PlainProgress(lines.append)
    report("sample", 80, 100)
    now_s[0] += 20.0
    report("sample", 90, 100)
    assert lines == ["sample: 80/100", "sample: 90/100, about 0:20 left"]


def test_a_stage_with_nothing_to_do_says_so_once() -> None:
    lines: list[str] = []
    report = PlainProgress(lines.append)
    report("judge", 0, 0)
    report("judge", 0, 0)
    assert lines == ["judge: 0/0, done in 0:00"]


def test_bars_on_a_terminal(now_s: list[float]) -> None:
    screen = io.StringIO()
    with progress_bars(Console(file=screen, force_terminal=True, width=100)) as report:
        report("sample", 0, 10)
        now_s[0] += 5.0
        report("sample", 5, 10)
        report("judge", 3, 3)
    last = screen.getvalue()
    assert "sample" in last
    assert "5/10" in last
    assert "about 0:05 left" in last
    assert "3/3" in last


def test_no_bars_in_a_log(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bars(Console(file=io.StringIO(), force_terminal=False)) as report:
        report("judge", 0, 2)
    assert capsys.readouterr() == ("", "judge: 0/2\n")


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (3599, "59:59"), (3661, "1:01:01")])
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text
