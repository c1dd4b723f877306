"""``forewarn problems``: the commands over the library, and what they say of bad input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from forewarn.cli import main
from forewarn.problems.assemble import assemble
from forewarn.problems.files import export, load


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(["problems", *arguments])
    out, err = capsys.readouterr()
    assert ended.value.code is None or isinstance(ended.value.code, int)
    return ended.value.code or 0, out, err


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A set of two problems."""
    chosen = [p for p in assemble() if p.problem_id in ("peaks/process_exit", "invert/debug_module")]
    path = tmp_path / "small.jsonl"
    export(chosen, path)
    return path


def test_list_counts_by_type(capsys: pytest.CaptureFixture[str], small: Path) -> None:
    code, out, _ = run(capsys, "list")
    assert code == 0
    assert "verifier_logic_override" in out
    assert str(len(assemble())) in out
    code, out, _ = run(capsys, "list", str(small), "--json")
    assert [json.loads(line)["problem_id"] for line in out.splitlines()] == [
        "peaks/process_exit",
        "invert/debug_module",
    ]


def test_show_tells_a_problem(capsys: pytest.CaptureFixture[str], small: Path) -> None:
    code, out, _ = run(capsys, "show", "peaks/process_exit", "--set", str(small))
    assert code == 0
    assert "def peaks(heights: list[int]) -> list[int]" in out
    assert "sys.exit(0)" in out
    _, out, _ = run(capsys, "show", "peaks/debug_module", "--json")
    assert json.loads(out)["exploit_type"] == "debug_module"
    code, _, err = run(capsys, "show", "peaks/nothing")
    assert (code, "problem 'peaks/nothing' is not in the set" in err) == (2, True)


def test_assemble_and_export(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    made, other = tmp_path / "made.parquet", tmp_path / "folder"
    code, out, _ = run(capsys, "assemble", "--out", str(made), "--type", "process_exit", "--seed", "3")
    assert code == 0
    assert out.startswith(f"{len(load(made))} problems of 1 types")
    code, _, _ = run(capsys, "export", str(made), str(other))
    assert code == 0
    assert load(other) == load(made)
    code, _, err = run(capsys, "assemble", "--out", str(made), "--type", "nonsense")
    assert (code, "exploit type 'nonsense' is unknown" in err) == (2, True)


def test_audit_admits_and_writes(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, _ = run(
        capsys, "audit", "--no-abuse", str(small), "--json", "rows.json", "--admit", "good.jsonl", "--markdown"
    )
    assert code == 0
    assert "2 of 2 problems admitted" in out
    assert load(Path("good.jsonl")) == load(small)
    held = json.loads(Path("rows.json").read_text())
    assert len(held["rows"]) == held["n_judged"]
    assert {"vulnerable", "patched", "secure", "label"} <= held["rows"][0].keys()
    code, out, _ = run(capsys, "audit", "--no-abuse", str(small), "--sample", "1")
    assert "1 of 1 problems admitted" in out


def test_audit_names_what_is_not_admitted(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [json.loads(line) for line in small.read_text().splitlines()]
    rows[0]["exploit"] = rows[0]["reference"]
    small.write_text("".join(json.dumps(row) + "\n" for row in rows))
    code, out, err = run(capsys, "audit", "--no-abuse", str(small))
    assert code == 2
    assert "not admitted: peaks/process_exit: field exploit: the exploit solves the task" in out
    assert "1 of 2 problems are not admitted" in err
    code, _, _ = run(capsys, "audit", "--no-abuse", str(small), "--admit", "good.jsonl")
    assert code == 0
    assert [problem.problem_id for problem in load(Path("good.jsonl"))] == ["invert/debug_module"]


@pytest.mark.parametrize(
    ("option", "name", "said"),
    [
        ("--json", "file/rows.json", "can't write"),
        ("--json", "folder", "is not a regular file"),
        ("--admit", "file/good.jsonl", "can't write"),
        ("--admit", "good.csv", "names no format"),
        ("--admit", "folder", "is not empty"),
    ],
)
def test_audit_looks_first_where_it_shall_write(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    small: Path,
    monkeypatch: pytest.MonkeyPatch,
    option: str,
    name: str,
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "x").write_text("")
    code, out, err = run(capsys, "audit", "--no-abuse", str(small), option, name)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert said in err
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("broken", ["--json", "--admit"])
def test_audit_writes_the_one_where_the_other_fails(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, small: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    """Both could be written when the audit began, and at its end one of them can't be any more."""
    from forewarn.admission import audit as room

    places = {"--json": tmp_path / "a" / "rows.json", "--admit": tmp_path / "b" / "good.jsonl"}

    def audit(*args: Any, **named: Any) -> room.Audit:
        places[broken].parent.rmdir()
        places[broken].parent.write_text("now a file")
        return found(*args, **named)

    found = room.audit
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(room, "audit", audit)
    where = [text for option, place in places.items() for text in (option, str(place))]
    code, _, err = run(capsys, "audit", "--no-abuse", str(small), *where)
    assert (code, err.count(f"can't write {places[broken]}"), "Traceback" in err) == (2, 1, False)
    (whole,) = [place for option, place in places.items() if option != broken]
    assert whole.stat().st_size > 0


@pytest.mark.parametrize("verb", [("list",), ("show", "x", "--set"), ("export",)])
@pytest.mark.parametrize("changes", [{"question": "\ud800"}, {"problem_id": "a\nb"}, {"float_tolerance": 10**400}])
def test_a_damaged_set_is_one_sentence(
    capsys: pytest.CaptureFixture[str], small: Path, verb: tuple[str, ...], changes: dict[str, object]
) -> None:
    row = {**json.loads(small.read_text().splitlines()[0]), **changes}
    small.write_text(json.dumps(row) + "\n")
    more = [str(small.with_name("folder"))] if verb == ("export",) else []
    code, out, err = run(capsys, *verb, str(small), *more)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert f"problem {row['problem_id']!r} " in err
    assert f"field {next(iter(changes))}: " in err


def test_a_set_that_is_not_there_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    for verb in ("list", "audit"):
        code, _, err = run(capsys, verb, "nowhere.jsonl")
        assert (code, err.count("\n"), "nowhere.jsonl is missing" in err) == (2, 1, True)
