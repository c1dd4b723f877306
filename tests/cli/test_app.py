"""The boundary: our errors are one sentence and exit 2, Ctrl-C is 130, bugs keep their traceback."""

from __future__ import annotations

import subprocess
import sys

import pytest
import typer

from forewarn import __version__
from forewarn.cli.app import at_boundary, main
from forewarn.errors import StoreError


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "forewarn", *arguments], capture_output=True, text=True, check=False)


def test_version() -> None:
    done = run("--version")
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, f"forewarn {__version__}", "")


@pytest.mark.parametrize(
    "arguments", [["nonsense"], ["organism", "nonsense"], ["estimate", "--arrays"], ["estimate", "--nonsense"]]
)
def test_usage_errors_exit_2(arguments: list[str]) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Error: " in done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_file_is_one_sentence() -> None:
    done = run("estimate", "--arrays", "nowhere.npz")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("forewarn: nowhere.npz is missing: give an .npz file")
    assert done.stderr.count("\n") == 1


def test_no_command_shows_the_help() -> None:
    done = run()
    assert "Usage: forewarn" in done.stdout + done.stderr
    assert "estimate" in done.stdout + done.stderr


def test_help_exits_0(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["estimate", "-h"])
    assert stop.value.code == 0
    assert "--arrays" in capsys.readouterr().out


def test_our_errors_become_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    def verb() -> None:
        raise StoreError("the folder is full;\n  free some space")

    with pytest.raises(typer.Exit) as stop:
        at_boundary(verb)()
    assert stop.value.exit_code == 2
    assert capsys.readouterr().err == "forewarn: the folder is full; free some space\n"


def test_an_interrupt_says_that_work_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    def verb() -> None:
        raise KeyboardInterrupt

    with pytest.raises(typer.Exit) as stop:
        at_boundary(verb)()
    assert stop.value.exit_code == 130
    assert "the same command resumes" in capsys.readouterr().err


def test_bugs_keep_their_traceback() -> None:
    def verb() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        at_boundary(verb)()
