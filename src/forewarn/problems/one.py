"""Reads one problem from a file, forewarn's or Djinn's, as for ``--problem FILE``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from forewarn.errors import InputError
from forewarn.problems import files
from forewarn.problems.djinn import files as djinn_files
from forewarn.problems.reading import check_file, is_folder, is_saved, json_lines, parse_json, read_text, saved_parts
from forewarn.problems.rows import check_ids, from_row
from forewarn.records import Problem

DJINN_FIELD = "ground_truth"
"""a field that every Djinn row has, but forewarn's rows do not"""


def read_problem_file(path: Path, problem_id: str | None = None) -> Problem:
    """Return the problem in ``path``, or the one with this id if there are several. Raises ``InputError``.

    Reads Djinn's layouts (``problems/djinn/files.py``), forewarn's problem sets (``problems/files.py``), and ``.json``
    files with one forewarn row or a list of them.
    """
    problems = read_problems(path)
    chosen = [problem for problem in problems if problem_id in (None, problem.problem_id)]
    if len(chosen) == 1:
        return chosen[0]
    some = ", ".join(problem.problem_id for problem in problems[:5]) + (", ..." if len(problems) > 5 else "")
    if not chosen:
        raise InputError(f"{path} does not contain problem {problem_id!r}; it contains {some}")
    raise InputError(f"{path} contains {len(problems)} problems ({some}): choose one with --id (problem_id in Python)")


def read_problems(path: Path) -> list[Problem]:
    """Return all problems of a file or a folder, forewarn's or Djinn's. Raises ``InputError``."""
    if not is_folder(path):
        check_file(path, "a file with a problem")
    if _is_djinn(path):
        return djinn_files.load(path)
    if path.suffix == ".json":
        return _from_json(path)
    return files.load(path)


def _from_json(path: Path) -> list[Problem]:
    """Return the problems of a file with one forewarn row, or a list of them."""
    found = _json(path)
    rows = found if isinstance(found, list) else [found]
    for index, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise InputError(f"{path}, problem {index}: is {type(row).__name__}; give the fields of a problem by name")
    if not rows:
        raise InputError(f"{path} has no problems: give the fields of one")
    problems = [from_row(row, f"{path}, problem {index}") for index, row in enumerate(rows, start=1)]
    check_ids(problems)
    return problems


def _is_djinn(path: Path) -> bool:
    """Return whether the rows are Djinn's; the names of fields decide if both layouts use the file's format."""

    if is_folder(path):
        tables = [*path.glob("*.parquet"), *(path / "data").glob("*.parquet")]
        if is_saved(path):
            return any(DJINN_FIELD in row for part in saved_parts(path).values() for row in part[:1])
        return not tables or _is_djinn(tables[0])
    if path.suffix in (".yaml", ".yml"):
        return True
    if path.suffix == ".parquet":
        check_file(path, "a Parquet file")
        try:
            return DJINN_FIELD in pl.read_parquet_schema(path)
        except (OSError, pl.exceptions.PolarsError) as error:
            raise InputError(f"can't read {path}: {error}; give a whole Parquet file") from None
    if path.suffix == ".jsonl":
        number, first = next(json_lines(read_text(path)), (1, "{}"))
        row = parse_json(first, f"{path}, line {number}")
        return isinstance(row, dict) and DJINN_FIELD in row
    if path.suffix == ".json":
        row = _json(path)
        row = row[0] if isinstance(row, list) and row else row
        return isinstance(row, dict) and DJINN_FIELD in row
    return False


def _json(path: Path) -> Any:
    found = parse_json(read_text(path), str(path))
    if not isinstance(found, (dict, list)):
        raise InputError(f"{path}: is {type(found).__name__}; give the fields of a problem by name")
    return found
