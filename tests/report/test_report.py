"""Numbers, tables and the files of a report: the words where there is no number, one page without a network."""

from __future__ import annotations

import base64
import hashlib
import io
import math
import re
from pathlib import Path

import polars as pl
import pytest
from PIL import Image
from rich.console import Console

from forewarn.errors import InputError, StoreError
from forewarn.report import check_cells, check_forecasts, numbers, terminal_tables, write_report
from forewarn.report.anchors import breakable
from forewarn.report.forecast_tables import call_table, forecast_table, score_table
from forewarn.report.frames import CELL_COLUMNS
from forewarn.report.render import as_markdown
from forewarn.report.render_page import as_html
from forewarn.report.series.base import counted_rate
from forewarn.report.series.estimate import estimate_text
from forewarn.report.style import axis_floor, spread_steps
from forewarn.report.table import Table
from forewarn.report.tables import accuracy_table, cell_table, donor_share
from tests.report.example import STEPS, TYPES, example_cells, example_forecasts

COMMANDS = ["forewarn organism build --seed 1", "forewarn demo --seed 1"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole report, written once."""
    path = tmp_path_factory.mktemp("report")
    write_report(
        example_cells(), example_forecasts(), path, title="A <report>", commands=COMMANDS, lead=["First words."]
    )
    return path


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "—"), (0.0, "0"), (1.0, "1"), (0.34, "0.34"), (0.0101, "0.01"), (9.96e-3, "0.01"), (3.16e-4, "3.2e-4"),
     (9.99e-5, "1.0e-4")],
)  # fmt: skip
def test_rates(value: float | None, text: str) -> None:
    assert numbers.rate(value) == text


def test_log_rates_do_not_underflow() -> None:
    assert numbers.log_rate(-400.5) == "3.2e-401"
    assert numbers.log_rate(-math.inf) == "0"
    assert numbers.log_interval(-math.inf, -3.0) == "[0, 1.0e-3]"
    assert numbers.log_interval(None, -3.0) == "—"


def test_cells_without_a_hit_say_so() -> None:
    row = {"log10_p": None, "lo": None, "hi": None, "upper_bound": 0.002}
    assert estimate_text(row) == "no hit, < 2.0e-3"
    assert counted_rate(0, 1440, 0.0, 2.1e-3) == "no hit, < 2.1e-3"
    assert counted_rate(None, None, None, None) == "—"
    assert counted_rate(20, 1000, 0.0136, 0.0286) == "0.02 [0.014, 0.029]"


def test_donor_share() -> None:
    def row(covered: float | None, uncovered: float | None) -> dict[str, object]:
        return {"covered_log10_p": covered, "uncovered_log10_p": uncovered}

    assert donor_share(row(-4.0, -4.0)) == pytest.approx(0.5)
    assert donor_share(row(math.log10(3), 0.0)) == pytest.approx(0.75)
    assert donor_share(row(-400.0, 0.0)) == pytest.approx(0.0)
    assert donor_share(row(None, -2.0)) == 0.0
    assert donor_share(row(-2.0, None)) == 1.0
    assert donor_share(row(None, None)) is None


def test_a_cell_table_has_every_cell() -> None:
    table = cell_table(check_cells(example_cells()), "rl")
    assert len(table.rows) == len(STEPS) * len(TYPES)
    assert {len(row) for row in table.rows} == {len(table.columns)}
    assert not any(
        word in cell.lower() for row in table.rows for cell in row for word in ("nan", "none", "null", "inf")
    )


def test_calls_and_scores() -> None:
    said = check_forecasts(example_forecasts())
    runs = {row[0]: row for row in call_table(said).rows}
    assert runs["rl"][1:3] == ("4 of 4", "0 of 5")
    assert runs["control"][1:3] == ("0 of 0", "0 of 9")
    scores = {row[:2]: row for row in score_table(said).rows}
    assert scores["rl", "4"][2:5] == ("4", "5", "1.00 [0.69, 1.00]")
    assert scores["control", "4"][4] == "—"
    assert scores["all runs", "3"][2:4] == ("4", "14")


def test_a_false_alarm_is_counted() -> None:
    said = example_forecasts().with_columns(
        first_call_step=pl.when((pl.col("run") == "control") & (pl.col("exploit_type") == "env_probe"))
        .then(5)
        .otherwise("first_call_step")
    )
    assert {row[0]: row[2] for row in call_table(check_forecasts(said)).rows} == {"rl": "0 of 5", "control": "1 of 9"}


def test_an_unknown_outcome_is_no_outcome() -> None:
    said = check_forecasts(example_forecasts().with_columns(emerged=pl.lit(None, pl.Boolean)))
    assert {row[6] for row in forecast_table(said).rows} == {"—"}
    assert {row[2:4] for row in score_table(said).rows} == {("0", "0")}


def test_tables_are_safe_in_markdown_and_html() -> None:
    table = Table("T <1>", ("a", "b"), (("x|y", "<b>"),), note="n & m", emphasis=(0,))
    assert r"| **x\|y** | **&lt;b&gt;** |" in as_markdown(table)
    html = as_html(table)
    assert "&lt;b&gt;" in html
    assert "<b>" not in html
    assert "(nothing)" in as_markdown(Table("T", ("a",), ()))


def test_the_files(folder: Path) -> None:
    names = {p.name for p in folder.iterdir()}
    assert names == {
        "report.md", "report.html", "cells.parquet", "forecasts.parquet", "rates-rl.png", "rates-control.png",
        "accuracy.png", "donors.png", "calls-rl.png", "calls-control.png",
    }  # fmt: skip
    for picture in folder.glob("*.png"):
        with Image.open(picture) as image:
            assert image.width > 600
            # more than an empty frame: many shades, most of them far from the background
            assert len(image.convert("RGB").quantize(64).getcolors() or []) > 30


def test_the_markdown(folder: Path) -> None:
    text = (folder / "report.md").read_text()
    assert text.startswith("# A &lt;report&gt;\n\nFirst words.\n")
    assert all(f"    {command}\n" in text for command in COMMANDS)
    shown = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", text)
    assert sorted(shown) == sorted(p.name for p in folder.glob("*.png"))
    assert text.count("\n| hardcoded_tests |") == 2 * len(STEPS)
    for words in ("Against the truth", "no hit", "Calls", "AUC"):
        assert words in text
    assert "nan" not in text.lower().split()


def test_the_page_needs_no_network(folder: Path) -> None:
    text = (folder / "report.html").read_text()
    assert "<title>A &lt;report&gt;</title>" in text
    assert not re.findall(r"<script[^>]+src\s*=", text)
    markup = re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)
    assert not re.findall(r"<(?:img|link|iframe)[^>]+(?:src|href)\s*=\s*.(?!data:)|@import|url\(|https?:", markup)
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text
    assert "forewarn demo --seed 1" in text


def test_the_page_has_a_panel_for_each_type_of_each_run(folder: Path) -> None:
    text = (folder / "report.html").read_text()
    for run in ("rl", "control"):
        for name in TYPES:
            assert text.count(f'data-run="{run}" data-type="{name}"><h3>{breakable(name)}</h3>') == 1
    assert text.count("<svg viewBox") > 2 * len(TYPES)
    assert "estimate / truth" in text  # the panels against the truth


def test_a_page_runs_no_script_but_its_own(folder: Path) -> None:
    text = (folder / "report.html").read_text()
    (script,) = re.findall(r"<script>(.*?)</script>", text, flags=re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]+)"', text)
    assert f"script-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert not re.findall(r"\son[a-z]+=", re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL))


def test_a_report_of_one_cell_without_truth_or_forecasts(tmp_path: Path) -> None:
    empty = dict.fromkeys(name for name in CELL_COLUMNS if name.startswith(("truth", "brute", "study")))
    cells = example_cells().head(1).with_columns(pl.lit(None, CELL_COLUMNS[name]).alias(name) for name in empty)
    path = write_report(cells, None, tmp_path, title="T", commands=["forewarn demo"])
    text = path.read_text()
    assert "Against the truth" not in text
    assert "Forecasts" not in text
    assert not [word for word in ("truth", "study", "brute force") if f"| {word}" in text]
    page = (tmp_path / "report.html").read_text()
    assert "span mixture, 90 % interval" in page
    assert "many completions" not in page
    assert 'class="filters"' not in page  # there is nothing to choose
    assert (tmp_path / "rates-rl.png").exists()


def test_terminal_tables_fit() -> None:
    console = Console(width=130, record=True, file=io.StringIO())
    for table in terminal_tables(example_cells(), example_forecasts()):
        console.print(table)
    text = console.export_text()
    assert "…" not in text
    assert sum(line.strip() in TYPES for line in text.splitlines()) == len(TYPES)
    assert "Run control" not in text


def test_bad_frames_and_folders_are_our_errors(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="lacks log10_p"):
        write_report(example_cells().drop("log10_p"), None, tmp_path, title="T", commands=[])
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match="can't write"):
        write_report(example_cells().head(2), None, tmp_path / "file", title="T", commands=[])


def test_axes() -> None:
    assert axis_floor(check_cells(example_cells())) == -8
    assert spread_steps([1, 2, 3, 5, 8]) == [1, 3, 8]
    assert spread_steps([0, 1, 100]) == [0, 1, 100]


def test_accuracy_shows_all_four_estimators() -> None:
    table = accuracy_table(check_cells(example_cells()))
    assert [row[1] for row in table.rows[:4]] == [
        "span mixture",
        "study, tokens",
        "study, words",
        "brute force, same N",
    ]
    assert table.rows[0][0] == "all judged"
    assert table.rows[1][6] == "has none"
