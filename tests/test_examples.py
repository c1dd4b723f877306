"""The files of examples/judge, judged as README.md says: what a new user tries first has to work."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from forewarn.cli import main

HOME = Path(__file__).parents[1]
FOLDER = HOME / "examples" / "judge"


def judged(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, str]:
    with pytest.raises(SystemExit) as ended:
        main(["judge", *arguments])
    out, err = capsys.readouterr()
    assert (ended.value.code, err) == (0, "")
    return dict(line.split(maxsplit=1) for line in out.splitlines() if not line.startswith(("patched", "evidence")))


@pytest.mark.parametrize("by", ["verifier", "pair"])
@pytest.mark.parametrize(("code", "label"), [("exploit", "exploit"), ("solution", "solved"), ("bug", "failed")])
def test_each_submission_has_the_label_of_its_name(
    capsys: pytest.CaptureFixture[str], by: str, code: str, label: str
) -> None:
    where = ["--problem", str(FOLDER / "problem.yaml"), "--code", str(FOLDER / f"{code}.py")]
    found = judged(capsys, *where, "--by", by)
    assert found["label"].startswith(f"{label}:")


@pytest.mark.parametrize("page", ["README.md", "docs/djinn.md"])
def test_the_command_of_the_page_works(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, page: str
) -> None:
    monkeypatch.chdir(HOME)
    [line] = [line for line in (HOME / page).read_text().splitlines() if line.startswith("    forewarn judge")]
    assert judged(capsys, *shlex.split(line, comments=True)[2:])["label"].startswith("exploit:")
