"""Killed for real, a few times (the long version: benchmarks/watch_kills.py)."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks.watch_kills import FAULTS, check


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_watcher_under_fire_loses_nothing_and_measures_nothing_twice(tmp_path: Path) -> None:
    found = check(tmp_path / "fire", kills=6, count=5, between_s=8.0, seed=1)
    assert sum(found["kills"].values()) == 6, found
    assert found["measured"] == 5, found
    assert not any(found[name] for name in FAULTS), found
