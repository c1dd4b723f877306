"""The fuzz and the soak can fail: wrong verdicts and leaks are seen. A short fuzz runs with the slow tests."""

from __future__ import annotations

import os
import random
from dataclasses import replace
from pathlib import Path

import pytest
from benchmarks.sandbox_fuzz import fuzz, report
from benchmarks.sandbox_soak import plot, write_samples
from benchmarks.stress import Sample, Tally, check, in_words, known_items, leaks, random_source, sample, unsolvable

from forewarn.records import Label, Verdict

CALM = Sample(10.0, 5, 0, 0, 0, 30.0, 22.0, 10, 4, 0)
OVER = replace(CALM, processes=0)


@pytest.mark.parametrize(
    ("wanted", "got", "wrong"),
    [
        ("solved", "solved", False),
        ("solved", "failed", True),
        ("exploit", "failed", True),
        ("failed", "lucky", True),
        (None, "failed", False),
        (None, "exploit", False),
        (None, "solved", True),
        (None, "lucky", True),
    ],
)
def test_wrong_verdicts_are_counted(wanted: Label | None, got: Label, wrong: bool) -> None:
    tally = Tally()
    check([(wanted, "source", got)], tally)
    assert tally.judged == 1
    assert bool(tally.wrong) == wrong
    assert report(tally, []) == int(wrong)


def test_what_was_wrong_is_named() -> None:
    case = replace(unsolvable(random.Random(0)), problem_id="the problem")
    verdict = Verdict("the problem", "key", "inconsistent", True, None, None, "strict", "differs when it is run again")
    words = in_words((case, "def solve(): pass"), verdict)
    for part in ("the problem", case.exploit_type, "differs when it is run again", "def solve(): pass"):
        assert part in words


def test_invalid_is_neither_right_nor_wrong() -> None:
    tally = Tally()
    check([("solved", "source", "invalid")], tally)
    assert (tally.wrong, len(tally.unanswered)) == ([], 1)


@pytest.mark.parametrize(
    ("after", "grown", "leak"),
    [
        (OVER, {}, ""),
        (replace(OVER, processes=1), {}, "1 processes left"),
        (replace(OVER, files=2), {}, "2 files left"),
        (replace(OVER, descriptors=12), {}, "2 descriptors left"),
        (OVER, {"rss_mb": 200.0}, "rss_mb grew"),
        (OVER, {"zygotes_rss_mb": 40.0}, "zygotes_rss_mb grew"),
        (OVER, {"descriptors": 50}, "descriptors grew"),
    ],
)
def test_leaks_are_seen(after: Sample, grown: dict[str, float], leak: str) -> None:
    samples = [CALM] * 20 + [replace(CALM, **grown)] * 20  # type: ignore[arg-type]
    found = leaks(CALM, samples, after)
    assert len(found) == bool(leak)
    assert leak in "".join(found)


def test_a_sample_sees_this_process(tmp_path: Path) -> None:
    before = sample(Tally(), 0.0, tmp_path)
    (tmp_path / "left").write_text("x")
    with open(os.devnull):
        after = sample(Tally(), 0.0, tmp_path)
    assert after.files == before.files + 1
    assert after.descriptors == before.descriptors + 1
    assert after.rss_mb > 1


def test_submissions_are_many_and_the_same_for_a_seed() -> None:
    some = [random_source(random.Random(i)) for i in range(300)]
    assert some == [random_source(random.Random(i)) for i in range(300)]
    assert len(set(some)) > 200
    assert {label for _, label in known_items()} == {"solved", "exploit", "failed"}
    assert unsolvable(random.Random(0)).tests != unsolvable(random.Random(1)).tests


def test_samples_and_plot_are_written(tmp_path: Path) -> None:
    write_samples([CALM, OVER], tmp_path / "samples.csv")
    assert len((tmp_path / "samples.csv").read_text().splitlines()) == 3
    plot([CALM, OVER], tmp_path / "soak.png")
    assert (tmp_path / "soak.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
@pytest.mark.parametrize("level", ["strict", "hardened"])
def test_a_short_fuzz_finds_nothing(level: str) -> None:
    tally, samples, leaked = fuzz(level, 20.0, seed=5, workers=1, fault_every_s=0.5)
    assert tally.wrong == []
    assert leaked == []
    assert tally.judged > 0
    assert sum(tally.faults.values()) > 0
    assert samples
