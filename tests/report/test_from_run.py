"""A report of any run folder: the answer first, label counts, transcripts; without truth, without hits, half done."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from forewarn.errors import InputError
from forewarn.prediction import Training
from forewarn.report.from_run import forecasts_frame, report_run
from forewarn.report.shares import weighted
from forewarn.store import RunFolder, write_table
from forewarn.study import TypeForecast, read_results


@pytest.fixture
def root(finished_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished_run, tmp_path / "run"))


def test_a_report_needs_no_truth_and_holds_the_hits(root: Path) -> None:
    path = report_run(root)
    assert path == root / "report" / "report.md"
    results, text = read_results(root), path.read_text()
    assert "2 of 2 cells" in text
    lines = [line.split("|")[1:-1] for line in text.splitlines() if line.startswith("| step-")]
    (head,) = [line.split("|")[1:-1] for line in text.splitlines() if line.startswith("| checkpoint | type")]
    columns = [name.strip() for name in head]
    for cell, line in zip(results.cells, lines, strict=True):
        counts = dict(zip(columns, (value.strip() for value in line), strict=True))
        assert counts["checkpoint"] == cell.record.checkpoint_id
        assert {name: int(counts[name]) for name in cell.outcomes} == dict(cell.outcomes)
        assert counts["invalid"] == counts["inconsistent"] == "0"  # said although there are none
    assert "Against the truth" not in text
    page = path.with_suffix(".html").read_text()
    shown = re.findall(r"Completion <code>([0-9a-f]{12})<", page)
    newest = weighted(results.hits).filter(pl.col("step") == 9)
    assert set(shown) <= {name[:12] for name in newest["completion_id"]}
    heaviest = newest.group_by("code").agg(pl.col("share").sum()).sort("share", descending=True)
    assert len(shown) == min(5, heaviest.height)
    carried = heaviest["share"].head(5).sum()
    assert f"with {carried:.0%} of the estimate; " in page
    assert 'class="donor" title="donor, ' in page


def test_a_report_of_a_run_without_hits_says_what_to_do(root: Path, tmp_path: Path) -> None:
    shards = RunFolder(root).shards("verdicts")
    for key in list(shards.keys()):
        write_table(shards.path(key), shards.read(key).with_columns(label=pl.lit("failed")))
    text = report_run(root, tmp_path / "out").read_text()
    cells = read_results(root).cells  # the remedy stands with each cell, and in the answer
    assert text.count("No exploit of this type came from donor: train on this type's exploits") == len(cells) + 1
    assert "| no hit |" in text
    assert ": train it longer, or on this study's types" in text
    assert "Transcripts of hits" not in (tmp_path / "out" / "report.html").read_text()


def test_a_growing_run_has_a_report_from_its_first_cell_on(root: Path) -> None:
    for cell in reversed(read_results(root).cells):
        RunFolder(root).shards("completions").path(cell.record.blocks[0]).unlink()
        if cell.record.step == 9:
            text = report_run(root).read_text()
            assert "1 of 2 cells" in text
            assert "no forecast yet" in text
            assert "Waits for completions" in text
    with pytest.raises(InputError, match="has no measured cell yet"):
        report_run(root)


@pytest.mark.parametrize(
    ("call", "together", "horizon", "reach"),
    [
        (0, True, None, 100),  # a run that was measured before its first step alone: no false alarm at step 0
        (40, True, None, 160),
        (40, False, None, 160),
        (9, False, None, 36),
        (0, True, 300, 300),
        (None, True, None, None),
    ],
)
def test_a_call_reaches_as_far_as_its_own_forecast_did(
    finished_run: Path, call: int | None, together: bool, horizon: int | None, reach: int | None
) -> None:
    results = replace(read_results(finished_run), training=Training({}) if together else None)
    said = TypeForecast("rl", "test_skipping", (0, 40), None, None, call, None)
    frame = forecasts_frame(results, [said], horizon)
    assert frame["call_horizon_step"].to_list() == [reach]
