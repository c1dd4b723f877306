"""``forewarn judge`` and ``forewarn problems import`` from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from forewarn.cli import main
from forewarn.problems import files
from forewarn.problems.djinn.files import export
from forewarn.problems.djinn.row import from_row
from tests.exploits.samples import problem as sample
from tests.problems.djinn_samples import EXITING, FILED, LATER, ROWS

OWN = sample("running_total", "test_skipping")
HONEST_BUG = "def solve(numbers):\n    return sorted(numbers)\n"


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    out, err = capsys.readouterr()
    assert ended.value.code is None or isinstance(ended.value.code, int)
    return ended.value.code or 0, out, err


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    files.export([OWN], tmp_path / "own.jsonl")
    export([from_row(EXITING, "sample")], tmp_path / "clamped.yaml")
    (tmp_path / "exploit.py").write_text(EXITING["exploit"])
    (tmp_path / "reference.py").write_text(EXITING["ground_truth"])
    (tmp_path / "skip.py").write_text(OWN.exploit)
    (tmp_path / "bug.py").write_text(HONEST_BUG)
    return tmp_path


def judge(capsys: pytest.CaptureFixture[str], folder: Path, problem: str, code: str, *more: str) -> dict[str, object]:
    where = ["--problem", str(folder / problem), "--code", str(folder / code)]
    status, out, err = run(capsys, "judge", *where, "--json", *more)
    assert (status, err) == (0, "")
    found: dict[str, object] = json.loads(out)
    return found


def test_an_exploit_of_our_own_pair(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    found = judge(capsys, folder, "own.jsonl", "skip.py")
    assert (found["label"], found["vulnerable"], found["patched"], found["secure"]) == ("exploit", True, False, False)
    lines = found["evidence"]
    assert isinstance(lines, list)
    assert "exploits/test_skipping.py:" in lines[0]
    assert lines[1].startswith("flaw of test_skipping (as Python compares), in its rule at exploits/test_skipping.py:")
    assert lines[2].startswith("patched twin rejects: test 0: raised unittest.case.SkipTest")
    assert lines[3].startswith("secure rejects: test 0:")
    assert judge(capsys, folder, "own.jsonl", "bug.py")["label"] == "failed"


def test_a_djinn_problem_in_both_ways(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    own = judge(capsys, folder, "clamped.yaml", "exploit.py")
    assert (own["label"], own["patched"]) == ("exploit", None)
    assert "without a twin they look the same" in str(own["meaning"])
    pair = judge(capsys, folder, "clamped.yaml", "exploit.py", "--by", "pair")
    assert (pair["label"], pair["patched"], pair["exploit_type"]) == ("exploit", False, "process_exit")
    assert judge(capsys, folder, "clamped.yaml", "reference.py", "--by", "verifier")["label"] == "solved"


def test_the_text_has_it_all(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    status, out, _ = run(capsys, "judge", "--problem", str(folder / "own.jsonl"), "--code", str(folder / "skip.py"))
    rows = [line.split(maxsplit=1)[0] for line in out.splitlines()]
    assert status == 0
    assert rows == ["problem", "label", "vulnerable", "patched", "secure", "why", "isolation", *["evidence"] * 4]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--problem", "none.yaml", "--code", "bug.py"], "none.yaml is missing"),
        (["--problem", "own.jsonl", "--code", "none.py"], "can't read"),
        (["--problem", "own.jsonl", "--code", "bug.py", "--id", "x"], "does not contain problem 'x'"),
        (["--problem", "own.jsonl", "--code", "bug.py", "--by", "verifier"], "field insecure_verifier: is missing"),
        (["--problem", "own.jsonl", "--code", "bug.py", "--timeout-s", "0"], "timeout_s is 0"),
        (
            ["--problem", "teams.yaml", "--code", "bug.py", "--by", "pair"],
            "'a_type_of_their_own' is not one of our types",
        ),
        (["--problem", "empty.yaml", "--code", "bug.py"], "field test_cases: has no test cases"),
    ],
)
def test_bad_input_is_one_sentence(
    capsys: pytest.CaptureFixture[str], folder: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    monkeypatch.chdir(folder)
    export([from_row(FILED, "sample")], folder / "teams.yaml")
    (folder / "empty.yaml").write_text(json.dumps({**LATER, "test_cases": []}))
    status, out, err = run(capsys, "judge", *arguments)
    assert (status, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1


def test_import_names_what_is_unknown(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    export([from_row(row, "sample") for row in ROWS], folder / "all.jsonl")
    status, out, _ = run(capsys, "problems", "import", str(folder / "all.jsonl"), "--out", str(folder / "ours.jsonl"))
    assert status == 0
    assert out.splitlines()[:3] == [
        "4 problems of 4 exploit types",
        "exploit type 'a_type_of_their_own' is not one of forewarn's: teams",
        "unknown field 'colour' in 1 problems, kept",
    ]
    assert "not written: problem 'teams', field exploit_type" in out
    assert [problem.problem_id for problem in files.load(folder / "ours.jsonl")] == ["wet_week", "clamped", "cubes"]


def test_import_checks(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    report = folder / "check.json"
    where = [str(folder / "clamped.yaml"), "--check", "--markdown", "--json", str(report), "--workers", "1"]
    status, out, _ = run(capsys, "problems", "import", *where)
    assert status == 0
    assert "### Judged by the problem's own verifier" in out
    assert "| **all** | **1** | **1** | **1 of 1** | **1 of 1** | **2 of 2** |" in out
    rows = json.loads(report.read_text())
    assert [row["way"] for row in rows] == ["own verifier", "our pair"]
    assert rows[0]["verdicts"]["exploit"]["label"] == "exploit"


def test_import_of_a_hub_needs_a_split(capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = run(capsys, "problems", "import", "some/data-set")
    assert status == 2
    assert "name a split, such as --split train_alternate" in err


def test_a_byte_order_mark_is_no_part_of_a_submission(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    (folder / "marked.py").write_text(OWN.reference, encoding="utf-8-sig")
    assert judge(capsys, folder, "own.jsonl", "marked.py")["label"] == "solved"


def test_a_time_too_short_is_refused(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    where = ["--problem", str(folder / "own.jsonl"), "--code", str(folder / "skip.py")]
    status, out, err = run(capsys, "judge", *where, "--timeout-s", "1e-9")
    assert (status, out) == (2, "")
    assert "timeout_s is 1e-09: give 0.2 to 3600 seconds" in err
