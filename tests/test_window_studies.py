"""Windows in studies: the file's tables, what is refused, and a whole run against enumeration."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import tomllib
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from forewarn.engines.registry import engine_kind
from forewarn.errors import InputError
from forewarn.estimation import span_log_ratios
from forewarn.formats import anchor_starts
from forewarn.records import UNBOUNDED, RandomWindows, Span
from forewarn.store import RunFolder
from forewarn.study import PlannedSpan, estimate_run, read_cells, read_completions, read_estimates, run_study
from forewarn.study.checks import check_engine
from forewarn.study.config.file import _tuples
from forewarn.study.config.schema import StudyTable
from forewarn.study.config.spans import planned_span
from forewarn.study.results.read import read_results
from forewarn.study.results.transcripts import read_transcripts
from tests.study_runner import tiny_study
from tests.tiny_world import TinyWorld, enumerate_world, make_problems

PAGE = (Path(__file__).parents[1] / "docs" / "study.md").read_text()
ONE = 'name = "x"\n[problems]\n[policy]\nmax_total_tokens = 100\n[[checkpoints]]\npath = "c"\n'
DONOR = '[[donors]]\nname = "donor"\npath = "d"\n'


def span(text: str, donors: str = DONOR) -> Span:
    tables = StudyTable.model_validate(_tuples(tomllib.loads(f"{ONE}{donors}[[spans]]\ncount = 8\n{text}\n")))
    return planned_span(tables.spans[0], "spans[1]", tables, make_problems()).span


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("k = 5\nm = 'inf'", Span(5, UNBOUNDED, "donor")),
        ("k1 = 5\nm0 = 0\nm1 = 'inf'", Span(5, UNBOUNDED, "donor")),
        ("k0 = 2\nk1 = 5\nm0 = 3\nm1 = 'inf'\nscale = 0.5", Span(5, UNBOUNDED, "donor", 0.5, k0=2, m0=3)),
        ("m1 = 2\nanchor = 'body'", Span(0, 2, "donor", anchor="body")),
        ("random = {}", Span(0, 0, "donor", random=RandomWindows(starts=100))),
        ("anchor = 'line'\nrandom = {}", Span(0, 0, "donor", anchor="line", random=RandomWindows(starts=32))),
        (
            "k = 4\nrandom = { channel = 'answer', mean = 8, bursts = 2, starts = 300, length = 'fixed' }",
            Span(4, 0, "donor", random=RandomWindows("answer", 8.0, 2, 300, "fixed")),
        ),
        (
            "donor = 'subject'\ntemperature = 1.5\nrandom = { channel = 'all' }",
            Span(0, 0, "subject", random=RandomWindows("all", starts=100), temperature=1.5),
        ),
    ],
)
def test_tables_say_spans(text: str, meant: Span) -> None:
    assert span(text) == meant


def test_the_documented_random_windows_are_a_table() -> None:
    [line] = re.findall(r"^    (random = \{.*\})$", PAGE, flags=re.MULTILINE)
    assert span(line) == Span(0, 0, "donor", random=RandomWindows("answer", 8.0, 1, 256))


def test_the_documented_arrays_run() -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
    [code] = [block for block in blocks if "log_ratio_NS" in block]
    scope: dict[str, np.ndarray] = {}
    exec(compile(code, "docs/study.md", "exec"), scope)
    row = scope["log_ratio_NS"][0]
    assert row[0] == 0
    bursts = [2.1, 2.1 - 0.1]  # from token 1, ended after it or not; from token 2
    mean = (198 + np.exp(bursts[0]) / 8 + np.exp(bursts[1]) * 7 / 8 + np.exp(-0.1)) / 200
    np.testing.assert_allclose(row[1:], [np.log(mean), 2.0], atol=1e-12)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("k0 = 4\nk1 = 4", r"spans\[1\]: the window from k0 = 4 to k1 = 4 is empty"),
        ("m0 = 9\nm1 = 4", r"the window from m0 = 9 to m1 = 4 is reversed"),
        ("m1 = 0", r"the window from m0 = 0 to m1 = 0 is empty"),
        ("k0 = 4", r"spans\[1\].k0 = 4 without k1"),
        ("k = 4\nk0 = 2", r"spans\[1\].k = 4 beside k0"),
        ("m = 'inf'\nm1 = 2", r"spans\[1\].m = inf beside m1"),
        ("temperature = 1.5", r"spans\[1\].temperature = 1.5: a span without windows is the subject's own"),
        ("m = 2\nanchor = 'page'", r"spans.0.anchor"),
        ("m = 2\nrandom = {}", r"random windows in 'answer' and a fixed window in the answer"),
        ("k = 2\nanchor = 'code'", r"the anchor 'code' lies in answers"),
        ("random = { bursts = 3, starts = 2 }", r"3 bursts and starts = 2"),
        ("random = { mean = 0.5 }", r"spans.0.random.mean"),
        ("random = { mean = 2.5, length = 'fixed' }", r"a fixed length of 2.5"),
    ],
)
def test_windows_that_cannot_be_are_refused(text: str, message: str) -> None:
    with pytest.raises((InputError, ValueError), match=message):
        span(text)


def test_studies_refuse_spans_that_are_one_or_write_nothing(world: TinyWorld) -> None:
    study = tiny_study(world)

    def refused(*more: Span, match: str) -> None:
        with pytest.raises(InputError, match=match):
            dataclasses.replace(study, spans=(*study.spans, *(PlannedSpan(s, 1) for s in more)))

    refused(Span(1, 0, "donor"), match="lists a span twice")
    window = Span(3, 0, "donor", k0=1)
    refused(window, window, match="lists a span twice: give it one larger count")
    refused(Span(9, 0, "donor", k0=4), match=r"window from k0 = 4, and a completion has 4 tokens at most")
    refused(Span(3, 0, temperature=1.0), match="that is brute force; give another temperature")
    refused(window, dataclasses.replace(window, temperature=1.0), match="which are one, since 1 is the policy's")
    refused(Span(3, 0, "donor", 0.1234567), Span(3, 0, "donor", 0.12345671), match="two spans of one name")
    hot = dataclasses.replace(study, spans=(*study.spans, PlannedSpan(Span(3, 0, temperature=2.0), 1)))
    check_engine(hot, engine_kind("transformers"))
    with pytest.raises(
        InputError, match=r"span k3m0:subject\^2 gives its donor a temperature .* can.t be scored by vLLM"
    ):
        check_engine(hot, engine_kind("vllm"))


WINDOWS = (
    Span(),
    Span(0, 3, "donor", m0=1),
    Span(0, 0, "donor", random=RandomWindows("all", 1.5, starts=4)),
    Span(0, 2, "donor", anchor="body"),
    Span(0, 0, "subject", random=RandomWindows("answer", 2, starts=3), temperature=2.0),
)


@pytest.fixture(scope="module")
def finished(world: TinyWorld, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("runs") / "windows"
    study = dataclasses.replace(tiny_study(world), spans=tuple(PlannedSpan(s, 250) for s in WINDOWS))
    run_study(study, root)
    return root


def test_the_estimate_is_the_enumerated_probability(world: TinyWorld, finished: Path) -> None:
    for cell, model in zip(read_cells(finished), ("subject", "later"), strict=True):
        truth, second = [], []
        for problem in world.problems:
            listing = enumerate_world(world, problem, [model, "donor"])
            hot_policy = dataclasses.replace(tiny_study(world).policy, temperature=2.0)
            hot = enumerate_world(world, problem, [model], hot_policy).log_probs[model]
            closed_at = [world.channels.closed_at(ids) for ids in listing.completions]
            ratios = span_log_ratios(
                listing.log_probs[model],
                {"donor": listing.log_probs["donor"], "subject^2": hot},
                listing.n_reasoning,
                WINDOWS,
                anchors=[
                    {"body": anchor_starts(world.channels, ids, closed, "body", "solve")}
                    for ids, closed in zip(listing.completions, closed_at, strict=True)
                ],
            )
            p = np.exp([row.sum() for row in listing.log_probs[model]])
            w = len(WINDOWS) / np.exp(ratios).sum(axis=1)
            truth.append(p[listing.exploit].sum())
            second.append((p * w)[listing.exploit].sum() - truth[-1] ** 2)
        assert cell.estimate.log10_p is not None
        deviation = float(np.sqrt(np.sum(second) / (250 * len(WINDOWS)))) / 2  # at most: strata vary less
        assert deviation < 0.35 * np.mean(truth), "the test must be able to fail"
        assert abs(10**cell.estimate.log10_p - np.mean(truth)) < 4 * deviation
        assert cell.spans == tuple(s.name for s in WINDOWS)
        assert cell.estimate.n_invalid == cell.estimate.n_off_support == 0


def test_estimates_are_made_again_from_the_folder(finished: Path) -> None:
    before = read_estimates(finished)
    estimate_run(finished)
    assert_frame_equal(read_estimates(finished), before)
    spans = [entry["span"] for entry in json.loads((finished / "manifest.json").read_text())["spans"]]
    assert spans[0] == {"k": 0, "m": 0, "donor": "subject", "scale": 1.0}, "as earlier versions wrote it"
    assert spans[4]["random"] == {
        "channel": "answer", "mean": 2, "bursts": 1, "starts": 3, "length": "geometric",
    }  # fmt: skip


def test_transcripts_tell_the_hot_subject_from_the_subject(finished: Path) -> None:
    rows = read_completions(finished).filter(pl.col("span") == WINDOWS[4].name)
    row = next(row for row in rows.iter_rows(named=True) if any(row["donor_wrote"]))
    assert "subject^2" in {
        s.writer for s in read_transcripts(read_results(finished), [row["completion_id"]])[0].stretches
    }


def test_folders_of_earlier_versions_are_estimated(world: TinyWorld, tmp_path: Path) -> None:
    """Their completions lack the columns of windows."""
    root = tmp_path / "run"
    run_study(tiny_study(world, count=20), root)
    before, drawn = read_estimates(root), read_completions(root)
    for stage, column in (("completions", "rule"), ("scores", "anchors")):
        shards = RunFolder(root).shards(stage)
        for key in list(shards.keys()):
            path = root / stage / f"{key}.parquet"
            old = pl.read_parquet(path).drop(column)
            shutil.move(path, tmp_path / path.name)
            shards.write(key, old)
    estimate_run(root)
    assert_frame_equal(read_estimates(root), before)
    assert_frame_equal(read_completions(root), drawn)


def test_an_anchor_that_no_completion_holds_is_said(world: TinyWorld, tmp_path: Path) -> None:
    study = tiny_study(world, count=4)
    spans = (*study.spans, PlannedSpan(Span(0, 2, "donor", anchor="code"), 4))
    with pytest.raises(InputError, match=r"the anchor 'code', .* span k0m2@code:donor .* none of its 16 completions"):
        run_study(dataclasses.replace(study, spans=spans), tmp_path / "run")
    assert read_estimates(tmp_path / "run").height == 2, "what was measured is kept"
