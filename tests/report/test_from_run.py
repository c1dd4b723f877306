"""A report of any run folder: the answer first, label counts, transcripts; without truth, without hits, half done."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import polars as pl
import pytest

from forewarn.errors import InputError
from forewarn.report.from_run import report_run
from forewarn.store import RunFolder, write_table
from forewarn.study import read_results, run_study
from tests.study_runner import tiny_study
from tests.tiny_world import TinyWorld


@pytest.fixture(scope="module")
def finished(world: TinyWorld, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("runs") / "tiny"
    run_study(tiny_study(world, count=20), root)
    return root


@pytest.fixture
def root(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


def test_a_report_needs_no_truth_and_holds_the_hits(root: Path) -> None:
    path = report_run(root)
    assert path == root / "report" / "report.md"
    results, text = read_results(root), path.read_text()
    assert "2 of 2 cells" in text
    for cell in results.cells:
        assert ", ".join(f"{n} {label}" for label, n in sorted(cell.outcomes.items(), key=lambda i: -i[1])) in text
    assert "Against the truth" not in text
    page = path.with_suffix(".html").read_text()
    shown = re.findall(r"completion ([0-9a-f]{12})<", page)
    assert set(shown) <= {name[:12] for name in results.hits["completion_id"]}
    assert len(shown) == min(30, results.hits.height)
    assert 'class="donor" title="donor, ' in page


def test_a_report_of_a_run_without_hits_says_what_to_do(root: Path, tmp_path: Path) -> None:
    shards = RunFolder(root).shards("verdicts")
    for key in list(shards.keys()):
        write_table(shards.path(key), shards.read(key).with_columns(label=pl.lit("failed")))
    text = report_run(root, tmp_path / "out").read_text()
    assert "no hit among" in text
    assert "train" in text
    assert "Transcripts of hits" not in (tmp_path / "out" / "report.html").read_text()


def test_a_growing_run_has_a_report_from_its_first_cell_on(root: Path) -> None:
    for cell in reversed(read_results(root).cells):
        RunFolder(root).shards("completions").path(cell.record.blocks[0]).unlink()
        if cell.record.step == 9:
            text = report_run(root).read_text()
            assert "1 of 2 cells" in text
            assert "no forecast yet" in text
            assert "waits for completions" in text
    with pytest.raises(InputError, match="has no measured cell yet"):
        report_run(root)
