"""One problem from a file, ours or Djinn's: what ``--problem FILE`` means."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl

from forewarn.errors import InputError
from forewarn.problems import files
from forewarn.problems.djinn import files as djinn_files
from forewarn.problems.djinn.values import named_once
from forewarn.problems.rows import from_row
from forewarn.records import Problem

DJINN_FIELD = "ground_truth"
"""a field that every Djinn row has and none of ours"""


def read_problem_file(path: Path, problem_id: str | None = None) -> Problem:
    """The problem in ``path``, or that of this id where there are several. Raises ``InputError``.

    Reads Djinn's layouts (``problems/djinn/files.py``), our problem sets (``problems/files.py``), and a ``.json`` file
    with one row of ours.
    """
    problems = read_problems(path)
    chosen = [problem for problem in problems if problem_id in (None, problem.problem_id)]
    if len(chosen) == 1:
        return chosen[0]
    some = ", ".join(problem.problem_id for problem in problems[:5]) + (", ..." if len(problems) > 5 else "")
    if not chosen:
        raise InputError(f"{path} holds no problem {problem_id!r}; it holds {some}")
    raise InputError(f"{path} holds {len(problems)} problems ({some}): name one of them")


def read_problems(path: Path) -> list[Problem]:
    """All problems of a file or a folder, ours or Djinn's. Raises ``InputError``."""
    if not path.exists():
        raise InputError(f"{path} is missing: give a file with a problem")
    if _is_djinn(path):
        return djinn_files.load(path)
    if path.suffix == ".json":
        return [from_row(_json(path.read_text(encoding="utf-8"), path), str(path))]
    return files.load(path)


def _is_djinn(path: Path) -> bool:
    """Told by the names of fields, never by those of files, where a format has both."""
    if path.is_dir():
        tables = [*path.glob("*.parquet"), *(path / "data").glob("*.parquet")]
        return _is_djinn(tables[0]) if tables else not (path / "dataset_dict.json").exists()
    if path.suffix in (".yaml", ".yml"):
        return True
    try:
        if path.suffix == ".parquet":
            return DJINN_FIELD in pl.read_parquet_schema(path)
        if path.suffix in (".json", ".jsonl"):
            text = path.read_text(encoding="utf-8")
            first = next((line for line in text.split("\n") if line.strip()), "") if path.suffix == ".jsonl" else text
            row = _json(first, path)
            return DJINN_FIELD in (row[0] if isinstance(row, list) and row else row)
    except (OSError, UnicodeDecodeError, pl.exceptions.PolarsError) as error:
        raise InputError(f"can't read {path}: {error}") from None
    return False


def _json(text: str, path: Path) -> Any:
    try:
        found = json.loads(text, object_pairs_hook=named_once)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: is no JSON: {error}") from None
    if not isinstance(found, (dict, list)):
        raise InputError(f"{path}: is {type(found).__name__}; give the fields of a problem by name")
    return found
