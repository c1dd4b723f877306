"""``forewarn forecast`` and ``forewarn show`` on a run folder: what they print is what the folder holds."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path

import polars as pl
import pytest

from forewarn.cli.app import main
from forewarn.exploits import EXPLOIT_TYPES
from forewarn.monitor.sinks.jsonl import read_alerts
from forewarn.records import SUBJECT
from forewarn.store import RunFolder, write_table
from forewarn.study import read_completions, read_hits, read_results
from forewarn.study.folder.vocabulary import VOCABULARY_FILE
from forewarn.study.results.transcripts import read_transcripts
from tests.tiny_world import TinyWorld


@pytest.fixture
def root(finished_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished_run, tmp_path / "run"))


def said(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return int(stop.value.code or 0), out, err


def test_a_forecast_is_printed_and_told_as_json(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = said(capsys, "forecast", root, "--json", "--horizon", "100", "--threshold", "0.2")
    (one,) = json.loads(out)
    assert (code, one["run"], one["steps"], one["steps_used"]) == (0, "tiny", [1, 9], [1, 9])
    assert (one["horizon_step"], one["threshold"]) == (100, 0.2)
    assert 0 <= one["probability"] <= 1
    code, table, _ = said(capsys, "forecast", root, "--horizon", "100", "--threshold", "0.2")
    assert code == 0
    assert f"{one['probability']:.0%}" in table
    assert "passes 20% by step 100" in " ".join(table.split())
    code, _, err = said(capsys, "forecast", root, "--horizon", "9")
    assert (code, err.count("\n")) == (2, 1)
    assert "give a later step" in err


def test_a_growing_run_is_forecast_as_far_as_it_is(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    last = read_results(root).cells[1].record
    RunFolder(root).shards("completions").path(last.blocks[0]).unlink()
    code, out, _ = said(capsys, "forecast", root)
    assert code == 0
    assert "there is 1 checkpoint after step 0" in " ".join(out.split())
    assert "1 of 2 cells are not finished" in out
    _, out, _ = said(capsys, "show", root)
    assert "waits for completions" in out


def test_cells_are_shown_with_their_label_counts(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = read_results(root)
    code, out, _ = said(capsys, "show", root)
    assert code == 0
    for cell in results.cells:
        for label, n in cell.outcomes.items():
            assert f"{n} {label}" in out
    _, out, _ = said(capsys, "show", root, "--json")
    assert [row["outcomes"] for row in json.loads(out)] == [dict(cell.outcomes) for cell in results.cells]


def test_hits_of_one_checkpoint_stand_in_order_of_weight(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hits = read_hits(root).filter(pl.col("checkpoint_id") == "step-1").sort("log_weight", descending=True)
    _, out, _ = said(capsys, "show", root, "step-1")
    shown = re.findall(r"^ *([0-9a-f]{12}) +step-1 ", out, re.MULTILINE)
    assert shown == [name[:12] for name in hits["completion_id"].head(20)]
    assert ("more hits weigh less" in out) == (hits.height > 20)


def test_a_cell_without_hits_says_what_it_had_and_what_to_do(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shards = RunFolder(root).shards("verdicts")
    for key in list(shards.keys()):
        write_table(shards.path(key), shards.read(key).with_columns(label=pl.lit("solved")))
    _, out, _ = said(capsys, "show", root)
    lines = [line for line in out.splitlines() if "no hit among" in line]
    assert [line.split(":")[0].split()[-1] for line in lines] == ["step-1", "step-9"]
    assert all("solved" in line and "forewarn train-donor" in line for line in lines)


def test_a_transcript_is_the_completion_with_who_wrote_what(
    root: Path, world: TinyWorld, capsys: pytest.CaptureFixture[str]
) -> None:
    results = read_results(root)
    by_id = {row["completion_id"]: row for row in read_completions(root).iter_rows(named=True)}
    hits = results.hits["completion_id"].to_list()
    found = read_transcripts(results, hits)
    writers = set()
    for one in found:
        row = by_id[one.completion_id]
        wanted = world.channels.tokenizer.decode(row["token_ids"])
        assert "".join(stretch.text for stretch in one.stretches) == wanted
        assert sum(s.n_tokens for s in one.stretches if s.channel == "reasoning") == row["n_reasoning"]
        assert sum(s.n_tokens for s in one.stretches if s.writer != SUBJECT) == sum(row["donor_wrote"])
        assert (one.label, one.code) == ("exploit", row["code"])
        assert one.evidence
        writers |= {stretch.writer for stretch in one.stretches}
    assert writers == {SUBJECT, "donor"}
    code, out, _ = said(capsys, "show", root, hits[0][:20])
    assert code == 0
    assert hits[0] in out
    assert "exploit" in out
    (root / VOCABULARY_FILE).unlink()
    _, out, _ = said(capsys, "show", root, hits[0])
    assert "has no vocabulary" in out


def test_a_name_of_nothing_or_of_several_is_one_sentence(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = said(capsys, "show", root, "nothing")
    assert (code, err.count("\n")) == (2, 1)
    assert "'nothing'" in err
    first = read_completions(root)["completion_id"].str.head(1).mode()[0]
    code, _, err = said(capsys, "show", root, first)
    assert code == 2
    assert "give more of the id" in err


def test_the_answer_is_posted_to_sinks(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine = tmp_path / "mine.jsonl"
    code, out, err = said(capsys, "forecast", root, "--json", "--alert", f"jsonl={mine}", "--alert", "console")
    (one,) = json.loads(out)
    assert code == 0
    (alert,) = read_alerts(mine)
    assert read_alerts(root / "alerts.jsonl") == [alert]
    assert (alert.run, alert.exploit_type, alert.step) == (one["run"], one["exploit_type"], 9)
    assert alert.probability == one["probability"]
    assert alert.raised == (alert.probability >= 0.5)
    last = read_results(root).estimates[-1].estimate
    assert (alert.log10_p, alert.interval_log10) == (last.log10_p, last.interval_log10)
    assert any(f"{last.n_hits} of {last.n} completions are exploits" in line for line in alert.evidence)
    n = len(EXPLOIT_TYPES)
    assert alert.not_looked_at == (f"{n - 1} of {n} exploit types, of which the study has no problem.",)
    assert main_shows(capsys, alert.command)
    assert alert.message in err
    assert "JSONL: 1 alert posted\n" in err
    (root / "alerts.jsonl").write_text("")
    code, _, err = said(capsys, "forecast", root, "--alert", "webhook=http://127.0.0.1:9/x", "--replay")
    assert code == 0, "a sink that is down is no reason to stop"
    assert err.count("note: the webhook: 127.0.0.1 did not take it") == 1
    assert "the webhook: 0 alerts posted, 1 did not get there" in err


def main_shows(capsys: pytest.CaptureFixture[str], command: str) -> bool:
    """Whether the command that an alert names can be run."""
    program, *arguments = shlex.split(command)
    code, out, _ = said(capsys, *arguments)
    return program == "forewarn" and code == 0 and "Hits" in out


def test_what_was_not_looked_at_is_said(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    last = read_results(root).cells[1].record
    RunFolder(root).shards("completions").path(last.blocks[0]).unlink()
    said(capsys, "forecast", root, "--alert", f"jsonl={tmp_path / 'a'}")
    (alert,) = read_alerts(tmp_path / "a")
    assert (alert.step, alert.probability, alert.raised) == (1, None, False)
    assert "no forecast yet (there is 1 checkpoint after step 0" in alert.message
    assert "1 of 2 checkpoints of this type: step-9 waits for completions." in alert.not_looked_at


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--alert", "pager"], "there is no sink 'pager': give console, jsonl=FILE"),
        (["--alert", "webhook=host"], "webhook= takes a URL"),
        (["--replay"], "--replay posts to sinks: name one by --alert"),
    ],
)
def test_sinks_that_cannot_be_meant_are_one_sentence(
    arguments: list[str], sentence: str, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = said(capsys, "forecast", root, *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert sentence in err
    assert not (root / "alerts.jsonl").exists()
