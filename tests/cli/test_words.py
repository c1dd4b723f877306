"""Every place that shows words of a submission, a model or a file shows text, and obeys none of it."""

from __future__ import annotations

import ast
import contextlib
import fcntl
import io
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import unicodedata
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from forewarn.admission.check_imported import WAYS, Checked
from forewarn.cli import main
from forewarn.cli.progress import PlainProgress, progress_bars
from forewarn.cli.say import folded, say, say_json, say_lines, say_tables
from forewarn.errors import InputError
from forewarn.judge.judge import Judge
from forewarn.problems.djinn.files import export as export_djinn
from forewarn.problems.djinn.row import from_row
from forewarn.problems.files import export
from forewarn.records import Verdict
from forewarn.report import terminal_tables, write_report
from forewarn.report.import_tables import all_tables
from forewarn.report.render import as_markdown, as_rich
from forewarn.report.render_page import as_html
from forewarn.report.table import Table
from tests.exploits.samples import problem as sample
from tests.problems.djinn_samples import EXITING
from tests.report.example import example_cells, example_forecasts

ROOT = Path(__file__).resolve().parents[2]
MARKS = "[bold]b[/bold] <script>alert(1)</script> |`x` $x_{ $"
BAD = f"\x1b[2K\rlabel solved\nlabel         solved {MARKS} \u202eevil \ud800"
"""a terminal's sequence, a line of its own, rich's markup, HTML, an override of direction, and marks of Markdown"""
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
"""those that rich itself writes"""
RAISES = f"class Odd(Exception): pass\nOdd.__qualname__ = {BAD!r}\n\ndef solve(*args):\n    raise Odd({BAD!r})\n"
LOADS = f"class Odd(Exception): pass\nOdd.__module__ = {BAD!r}\nraise Odd({BAD!r})\n"


def harmless(shown: str) -> str:
    """``shown``, checked to be text and to have no line that BAD wrote."""
    hidden = {c for c in shown if unicodedata.category(c) in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}} - {"\n"}
    assert not hidden, shown
    assert not re.search(r"^label +solved", shown, re.MULTILINE), shown
    return shown


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """What a command writes, on both streams."""
    with pytest.raises(SystemExit):
        main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return harmless(out) + harmless(err)


@pytest.mark.parametrize("source", [RAISES, LOADS])
def test_a_verdict_is_text(source: str) -> None:
    problem = replace(sample("running_total", "test_skipping"), problem_id=BAD)
    with Judge(workers=1) as judge:
        first, again = (judge.verdicts([(problem, source)], audit=True)[0] for _ in range(2))
    assert first == again  # remembered as it was said
    assert first.label == "failed"
    for words in (first.reason, *first.evidence):
        assert "\n" not in harmless(words)
        words.encode()
    assert r"\x1b[2K" in first.reason


@pytest.mark.parametrize("source", [RAISES, LOADS])
def test_judge(capsys: pytest.CaptureFixture[str], tmp_path: Path, source: str) -> None:
    name = BAD.replace("/", "-").replace("\ud800", "")
    export([sample("running_total", "test_skipping")], tmp_path / "own.jsonl")
    (tmp_path / "code.py").write_text(source)
    where = ["--problem", tmp_path / "own.jsonl", "--code", tmp_path / "code.py"]
    shown = run(capsys, "judge", *where)
    assert "\nlabel         failed" in shown
    assert "[bold]" in shown
    found = json.loads(run(capsys, "judge", *where, "--json"))
    assert r"\x1b[2K" in found["reason"]
    assert "can't read" in run(capsys, "judge", *where[:3], tmp_path / name)
    assert "forewarn: " in run(capsys, "judge", *where, "--id", name)


def test_problems(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = BAD.replace("\ud800", "")
    name = f"{MARKS} running_total/test_skipping"  # an id with more in it is refused
    bad = replace(
        sample("running_total", "test_skipping"), problem_id=name, task_id=MARKS, question=words, reference=RAISES
    )
    with pytest.raises(InputError, match="give printable text on one line") as refused:
        export([replace(bad, problem_id=words)], tmp_path / "refused.jsonl")
    assert "\n" not in harmless(str(refused.value))
    export([bad], tmp_path / "bad.jsonl")
    assert "Problems by exploit type" in run(capsys, "problems", "list", "bad.jsonl")
    assert json.loads(run(capsys, "problems", "list", "bad.jsonl", "--json"))["problem_id"] == name
    with pytest.raises(SystemExit):
        main(["problems", "show", name, "--set", "bad.jsonl"])
    shown = capsys.readouterr().out  # a question has lines of its own
    assert r"\x1b[2K\x0dlabel solved" in harmless(shown.replace("\nlabel  ", "\n: label  "))
    assert "is not in the set" in run(capsys, "problems", "show", f"{name}?", "--set", "bad.jsonl")
    for more in ((), ("--markdown",)):
        audited = run(capsys, "problems", "audit", "--no-abuse", "bad.jsonl", *more)
        assert f"not admitted: {MARKS}" in audited
        assert r"\x1b[2K" in audited


def test_import(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    name = MARKS.replace("/", "-")
    row = {**EXITING, "id": name, "exploit_type": name, f"field {name}": 1}
    export_djinn([from_row(row, "sample")], tmp_path / "bad.yaml")
    assert "is not one of forewarn's" in run(capsys, "problems", "import", tmp_path / "bad.yaml")
    verdict = Verdict(name, "", "failed", False, False, False, "strict", BAD)
    for table in all_tables([Checked(name, name, way, {"reference": verdict}, name) for way in WAYS]):
        harmless(as_markdown(table))
        harmless(as_html(table))


def test_a_printed_table_interprets_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table(BAD, (BAD, "n"), ((BAD, "1"), (BAD, "")), note=BAD, emphasis=(0,))
    say_tables([table])
    shown = harmless(capsys.readouterr().out)
    assert shown.count("[bold]b[/bold]") == 5
    terminal = io.StringIO()
    Console(file=terminal, force_terminal=True, width=400).print(as_rich(table))
    assert harmless(ESCAPES.sub("", terminal.getvalue())).count("[bold]b[/bold]") == 5
    assert "\x1b[2K" not in terminal.getvalue()
    say_tables([table], markdown=True)
    marked = harmless(capsys.readouterr().out)
    assert marked.count(r"\[bold]b\[/bold] &lt;script>".replace(">", "&gt;")) == 5
    assert all(len(re.findall(r"(?<!\\)\|", line)) == 3 for line in marked.splitlines() if line.startswith("| "))
    assert "<script>" not in marked


def test_what_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    say(BAD)
    say(BAD, error=True)
    say_json({BAD: [BAD, "\x7f"]})
    out, err = capsys.readouterr()
    assert harmless(err).count("\n") == 1
    assert json.loads(harmless(out).split("\n", 1)[1]) == {BAD: [BAD, "\x7f"]}
    say_lines("a\x1b\nb")
    assert capsys.readouterr().out == "a\\x1b\nb\n"


def test_progress_is_text(capsys: pytest.CaptureFixture[str]) -> None:
    PlainProgress()(BAD, 1, 2)
    assert "[bold]" in harmless(capsys.readouterr().err)
    terminal = io.StringIO()
    with progress_bars(Console(file=terminal, force_terminal=True, width=300)) as progress:
        progress(BAD, 1, 2)
    assert "[bold]b[/bold]" in ESCAPES.sub("", terminal.getvalue())
    assert "\u202e" not in terminal.getvalue()


class Elements(HTMLParser):
    """The names of a page's elements, and the text that it shows."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []
        self.shown = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)

    def handle_data(self, data: str) -> None:
        if self.names[-1:] not in (["script"], ["style"]):
            self.shown += data


def test_a_report_is_text(tmp_path: Path) -> None:
    name = BAD.replace("\ud800", "")
    cells, said = (
        frame.filter((pl.col("run") == "rl") & pl.col("exploit_type").is_in(["early_exit", "env_probe"])).with_columns(
            run=pl.lit(name), exploit_type=pl.col("exploit_type") + pl.lit(name)
        )
        for frame in (example_cells(), example_forecasts())
    )
    cells = cells.with_columns(reason=pl.lit(name))
    page = write_report(cells, said, tmp_path / "out", title=name, commands=[name], lead=[name]).parent
    assert {path.parent for path in (tmp_path).rglob("*.png")} == {page}
    text = harmless((page / "report.md").read_text())
    assert not any("<script>" in line for line in text.splitlines() if not line.startswith("    "))  # those are code
    for picture in re.findall(r"^!\[.*\]\(([^()]+)\)$", text, re.MULTILINE):
        assert (page / re.sub(r"%25", "%", picture)).is_file(), picture
    found = Elements()
    found.feed((page / "report.html").read_text())
    assert found.names.count("script") == 1
    harmless(found.shown.replace("\t", " "))
    assert r"\x1b[2K" in found.shown
    for table in terminal_tables(cells, said):
        terminal = io.StringIO()
        Console(file=terminal, width=500).print(table)
        harmless(terminal.getvalue())


def test_commands_print_in_one_way() -> None:
    """Of all commands, ``say.py`` alone prints: what goes around it would go around ``printable``."""
    wrong = []
    for path in sorted((ROOT / "src" / "forewarn" / "cli").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and path.name != "say.py":
                called = ast.unparse(node.func)
                if called in ("print", "typer.echo", "typer.secho") or called.endswith((".print", ".write")):
                    wrong.append(f"{path.name}:{node.lineno}: {called}")
    assert not wrong


FILLED = """
from forewarn.cli.say import say, say_lines
for filler in (".", "\\u6570", "e\\u0301"):
    for n in range(30, 90):
        say_lines("why   " + filler * n + "label         solved: right")
        say("why   " + filler * n + "label         solved: right")
"""


def test_no_words_of_others_begin_a_line_of_a_terminal() -> None:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    printed = b""
    with subprocess.Popen([sys.executable, "-c", FILLED], stdout=theirs, env=environment) as process:
        os.close(theirs)
        with contextlib.suppress(OSError):  # nobody holds the other end any more
            while piece := os.read(ours, 1 << 16):
                printed += piece
    os.close(ours)
    assert process.returncode == 0
    lines = printed.decode().split("\r\n")[:-1]
    assert len(lines) > 360
    assert all(cell_len(line) <= 80 and line.startswith(("why   ", "  ")) for line in lines)


@given(st.text(max_size=300), st.integers(8, 90))
def test_a_folded_line_keeps_its_words(line: str, width: int) -> None:
    pieces = folded(line, width)
    spread = line.expandtabs()
    indent = min(len(spread) - len(spread.lstrip(" ")) + 2, width // 2)
    assert "".join([pieces[0], *(piece[indent:] for piece in pieces[1:])]) == spread
    assert all(cell_len(piece) <= width and piece.startswith(" " * indent) for piece in pieces[1:])


@pytest.mark.parametrize("filler", ["\u2764\ufe0f", "\u00b1", "\u1161\u1161", "\U0001f1e6"])
def test_characters_that_some_terminals_draw_wider_do_not_push_words_to_the_margin(filler: str) -> None:
    """An emoji selector widens its letter, some symbols are wide in East Asian terminals."""
    pieces = folded("why   " + filler * 37 + "label         solved: right", 80)
    assert pieces[0] == "why   " + filler * 37
    assert pieces[1].lstrip() == "label         solved: right"


def test_a_folded_line_of_a_transcript_looks_like_no_line_of_another_writer() -> None:
    """Its lines are indented already, and so would its words be."""
    line = "    | " + "." * 74 + "subject wrote 9 tokens:" + "." * 49 + "| return 2"
    for piece in folded(line, 80)[1:]:
        assert piece.startswith("      ")
