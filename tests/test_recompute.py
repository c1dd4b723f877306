"""Estimates from a run folder alone: the same numbers, another level, and what is said where something is missing."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from forewarn.cli.app import main
from forewarn.errors import InputError, StoreError
from forewarn.store import RunFolder, write_table
from forewarn.study import estimate_run, read_cells, read_estimates, read_hits, run_study
from forewarn.study.folder.cells import labelled, read_labels
from forewarn.study.folder.manifest import read_plan
from forewarn.study.results.estimates import wrote_the_beginning
from tests.study_runner import tiny_study
from tests.tiny_world import TinyWorld


@pytest.fixture(scope="module")
def finished(world: TinyWorld, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("runs") / "tiny"
    run_study(tiny_study(world), root)
    return root


@pytest.fixture
def root(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


def said(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        main(["estimate", *map(str, arguments)])
    out, err = capsys.readouterr()
    return int(stop.value.code or 0), out, err


def test_a_run_is_estimated_again_from_its_scores_alone(root: Path) -> None:
    estimates, hits, cells = read_estimates(root), read_hits(root), read_cells(root)
    (root / "estimates.parquet").unlink()
    (root / "hits.parquet").unlink()
    assert estimate_run(root) == cells
    assert_frame_equal(read_estimates(root), estimates)
    assert_frame_equal(read_hits(root), hits)


def test_an_estimate_tells_of_which_hits_the_donor_wrote_the_beginning(root: Path) -> None:
    """As counted from the stored tokens, in plain Python."""
    run, weights = RunFolder(root), dict(read_hits(root).select("completion_id", "log_weight").iter_rows())
    _, records, problem_keys = read_plan(root)
    begun = 0
    for record, cell in zip(records, read_cells(root), strict=True):
        table = labelled(run, record, problem_keys, read_labels(run))
        share = total = 0.0
        every = wrote_the_beginning(table.with_columns(label=pl.lit("exploit"))).tolist()
        for row, told in zip(table.iter_rows(named=True), every, strict=True):
            channels = row["donor_wrote"][: row["n_reasoning"]], row["donor_wrote"][row["n_reasoning"] :]
            parts = [(sum(wrote), len(wrote), wrote[: sum(wrote)]) for wrote in channels if any(wrote)]
            opened = bool(parts) and all(all(first) and 2 * n <= length for n, length, first in parts)
            assert told is opened
            begun += told
            w = math.exp(weights.get(row["completion_id"], -math.inf))
            share, total = share + w * (told and w < 0.5), total + w
        hit_N = (table["label"] == "exploit").to_numpy()
        assert wrote_the_beginning(table).tolist() == (np.array(every) & hit_N).tolist()
        assert cell.estimate.donor_opened == (pytest.approx(share / total, abs=1e-9) if total else None)
    assert begun, "a study without such a completion shows nothing"


def test_another_level_is_shown_and_not_kept(root: Path) -> None:
    before = (root / "estimates.parquet").read_bytes()
    wide, narrow = estimate_run(root, level=0.99), estimate_run(root)
    assert (root / "estimates.parquet").read_bytes() == before
    for a, b in zip(wide, narrow, strict=True):
        assert a.estimate.log10_p == b.estimate.log10_p
        assert a.estimate.interval_log10 is not None
        assert b.estimate.interval_log10 is not None
        assert a.estimate.interval_log10[0] < b.estimate.interval_log10[0]
        assert a.estimate.upper_bound > b.estimate.upper_bound
    with pytest.raises(InputError, match=r"level is 1\.5"):
        estimate_run(root, level=1.5)


def test_the_command_prints_every_cell(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = said(capsys, root)
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()[1:3]] == ["step-1", "step-9"]
    code, out, _ = said(capsys, root, "--json", "--level", "0.8")
    assert [row["step"] for row in json.loads(out)] == [1, 9]
    assert {row["level"] for row in json.loads(out)} == {0.8}


def test_exploits_that_a_mended_checker_found_need_scores(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shards = RunFolder(root).shards("verdicts")
    for key in list(shards.keys()):
        table = shards.read(key)
        write_table(shards.path(key), table.with_columns(label=pl.lit("exploit")))
    code, _, err = said(capsys, root)
    assert code == 2
    assert "has no scores of the" in err
    assert "run the study again" in err


def test_what_a_mended_checker_no_longer_calls_an_exploit_falls_out(root: Path) -> None:
    shards = RunFolder(root).shards("verdicts")
    for key in list(shards.keys()):
        table = shards.read(key)
        write_table(shards.path(key), table.with_columns(label=pl.lit("failed")))
    assert [cell.estimate.n_hits for cell in estimate_run(root)] == [0, 0]


def test_a_folder_that_is_no_study_is_refused(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "manifest.json").write_text("{}")
    with pytest.raises(StoreError, match="doesn't say what was run"):
        estimate_run(root)
    code, _, err = said(capsys, root / "nothing")
    assert code == 2
    assert err.strip().count("\n") == 0


def test_run_and_arrays_are_either_or(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ([], [root, "--arrays", root / "x.npz"]):
        code, _, err = said(capsys, *arguments)
        assert code == 2
        assert "of RUN and --arrays given" in err
    code, _, err = said(capsys, root, "--design", "random")
    assert code == 2
    assert "needs --arrays" in err


def test_a_folder_whose_keys_were_cut_short_is_refused(root: Path, world: TinyWorld) -> None:
    """Folders of earlier versions: no key of theirs is ever taken for one of ours, and nothing of them is lost."""
    before = {path.name: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    manifest = json.loads((root / "manifest.json").read_text())
    for cell in manifest["cells"]:
        cell["key"] = cell["key"][:16]
    (root / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(
        StoreError, match=r"was made by an earlier version, whose keys were cut to 64 bits.*another folder"
    ):
        estimate_run(root)
    (root / "manifest.json").write_bytes(before["manifest.json"])
    study = json.loads((root / "study.json").read_text())
    del study["keys"]
    (root / "study.json").write_text(json.dumps(study))
    with pytest.raises(StoreError, match="was made by an earlier version"):
        run_study(tiny_study(world), root)
    after = {path.name: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    assert after.keys() == before.keys()
    assert all(after[name] == data for name, data in before.items() if name != "study.json")
