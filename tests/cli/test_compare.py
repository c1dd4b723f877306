"""``forewarn compare`` on two run folders."""

from __future__ import annotations

import json
from pathlib import Path

from tests.command import Said
from tests.tiny_world import EXPLOIT_TYPE, TinyWorld


def test_two_runs_side_by_side(finished_run: Path, world: TinyWorld, tmp_path: Path, said: Said) -> None:
    code, out, err = said("compare", finished_run, finished_run)
    assert code == 0, err
    assert EXPLOIT_TYPE in out
    assert "not told" in out
    code, out, _ = said("compare", finished_run, finished_run, "--json")
    [one] = json.loads(out)
    assert one["ratio_log10"] == 0
    assert one["ratio_interval_log10"][0] < 0 < one["ratio_interval_log10"][1]
    code, _, err = said("compare", finished_run, finished_run, "--step", 999)
    assert code == 2
    assert "have not step 999 in common" in err


def test_folders_that_cannot_be_compared_are_one_sentence(finished_run: Path, tmp_path: Path, said: Said) -> None:
    code, out, err = said("compare", finished_run, tmp_path / "nothing")
    assert (code, out) == (2, "")
    assert "is missing" in err
