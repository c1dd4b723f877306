"""``forewarn sandbox check`` on the machine at hand, and where nothing can work."""

from __future__ import annotations

import json
import sys

import pytest

from forewarn.cli.app import main
from forewarn.sandbox.levels import LEVELS


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[object, str, str]:
    with pytest.raises(SystemExit) as stop:
        main(["sandbox", "check", *arguments])
    out, err = capsys.readouterr()
    return stop.value.code, out, err


def test_a_level_works_here(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "--json")
    found = json.loads(out)
    assert (code, err) == (0, "")
    assert found["levels"][found["best"]]["works"]
    assert 0 < found["levels"][found["best"]]["ms"] < 5000
    for level, state in found["levels"].items():
        assert level in LEVELS
        assert state["works"] == (state["why_not"] is None) == (state["ms"] is not None)


def test_text_names_every_level(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys)
    assert code == 0
    lines = out.splitlines()
    assert [line.split()[0] for line in lines[:3]] == list(LEVELS)
    assert lines[3].startswith("system")
    assert lines[-1].startswith("Verdicts on this machine will be reached at level ")


def test_where_no_level_works(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    code, out, err = run(capsys)
    assert code == 2
    assert "No level works on this machine." in out
    assert "nonexistent" in out
    assert err.startswith("forewarn: sandbox level weak is needed, but the strongest that works here is none")
    assert err.count("\n") == 1


def test_an_unknown_level_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "--need", "perfect")
    assert (code, out) == (2, "")
    assert "perfect" in err
