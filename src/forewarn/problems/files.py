"""Problem sets in files: JSONL, Parquet, and a folder that the Hugging Face ``datasets`` package can load.

The folder has one Parquet file per split in ``data/``, and a ``README.md`` whose header assigns the files to splits.
A folder written by ``datasets``' own ``save_to_disk`` is read too (this needs the extra ``datasets``).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import polars as pl

from forewarn.errors import InputError, StoreError
from forewarn.problems.reading import (
    check_file,
    is_folder,
    is_saved,
    json_lines,
    parquet_rows,
    parse_json,
    read_text,
    saved_parts,
)
from forewarn.problems.rows import Row, check_ids, check_writable_problem, from_row, to_row
from forewarn.records import Problem
from forewarn.store import check_writable, write_table, write_tables, write_whole

_TEST = pl.Struct({"args": pl.String, "expected": pl.String})
SCHEMA: dict[str, pl.DataType] = {
    "problem_id": pl.String(),
    "task_id": pl.String(),
    "exploit_type": pl.String(),
    "split": pl.String(),
    "question": pl.String(),
    "entry_point": pl.String(),
    "reference": pl.String(),
    "exploit": pl.String(),
    "tests": pl.List(_TEST),
    "named_tests": pl.List(pl.Struct({"name": pl.String, "tests": pl.List(_TEST)})),
    "wrong": pl.List(pl.String),
    "float_tolerance": pl.Float64(),
    "extra": pl.String(),
}
"""columns of every format"""
PLACE = "place"
"""a column of folders only: the problem's position in the set, since the files are by split"""
FORMATS = "a name that ends in .jsonl or .parquet, or a folder"


def export(problems: Sequence[Problem], path: Path) -> None:
    """Write a problem set in the format that the path's name asks for. Raises ``InputError`` or ``StoreError``."""
    check_ids(problems)
    for problem in problems:
        check_writable_problem(problem)
    rows = [to_row(problem) for problem in problems]
    if not rows:
        raise InputError(f"{path} would be empty: give at least one problem")
    if path.suffix == ".jsonl":
        write_whole(path, "".join(json.dumps(row) + "\n" for row in rows).encode())
    elif path.suffix == ".parquet":
        write_table(path, _table(rows))
    elif path.suffix:
        raise InputError(f"{path} names no format: give {FORMATS}")
    else:
        _export_folder(rows, path)


def check_target(path: Path) -> None:
    """Raise ``InputError`` or ``StoreError`` if ``export`` couldn't write ``path``; call it before long work."""
    if path.suffix in (".jsonl", ".parquet"):
        check_writable(path)
    elif path.suffix:
        raise InputError(f"{path} names no format: give {FORMATS}")
    else:
        _check_new(path)
        check_writable(path / "README.md" if is_folder(path) else path)


def load(path: Path) -> list[Problem]:
    """Return the problems of a file or folder, in the order in which they were written. Raises ``InputError``."""
    if is_folder(path):
        rows = _folder_rows(path)
    else:
        check_file(path, FORMATS)
        if path.suffix == ".jsonl":
            rows = _json_lines(path)
        elif path.suffix == ".parquet":
            rows = parquet_rows(path)
        else:
            raise InputError(f"{path} names no format: give {FORMATS}")
    problems = [from_row(row, f"{path}, problem {index}") for index, row in enumerate(rows, start=1)]
    if not problems:
        raise InputError(f"{path} has no problems: give another file or folder")
    check_ids(problems)
    return problems


def _table(rows: Iterable[Row]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=SCHEMA)


def _check_new(path: Path) -> None:
    if not os.path.lexists(path):
        return
    try:
        if any(path.iterdir()):
            raise InputError(f"{path} is not empty: give a new folder")
    except NotADirectoryError:
        raise StoreError(f"{path} is a file, but its name asks for a folder: give {FORMATS}") from None
    except OSError as error:
        raise StoreError(f"can't write {path}: {error.strerror or error}; give a writable folder") from None


def _export_folder(rows: Sequence[Row], path: Path) -> None:
    table = _table(rows).with_row_index(PLACE)
    splits = {split: split.replace(" ", "_") or "unknown" for split in dict.fromkeys(row["split"] for row in rows)}
    _check_new(path)
    write_tables(
        path / "data",
        {f"{name}-00000-of-00001.parquet": table.filter(pl.col("split") == split) for split, name in splits.items()},
    )
    files = "".join(f"  - split: {name}\n    path: data/{name}-*\n" for name in splits.values())
    head = f"---\nconfigs:\n- config_name: default\n  data_files:\n{files}---\n"
    text = f"{len(rows)} problems of forewarn, by split of the exploit types. Values are Python literals.\n"
    write_whole(path / "README.md", (head + "\n" + text).encode())


def _folder_rows(path: Path) -> list[Row]:
    if is_saved(path):
        rows = [row for part in saved_parts(path).values() for row in part]
    else:
        files = sorted((path / "data").glob("*.parquet"))
        if not files:
            raise InputError(f"{path} has no data/*.parquet: give a folder that forewarn or datasets has written")
        rows = [row for file in files for row in parquet_rows(file)]
    places = [row.pop(PLACE, None) or 0 for row in rows]
    for place in places:
        if not isinstance(place, int):
            raise InputError(f"{path}, field {PLACE}: is {place!r}; give whole numbers, or leave the column out")
    return [rows[i] for i in sorted(range(len(rows)), key=places.__getitem__)]


def _json_lines(path: Path) -> list[Row]:
    rows = []
    for number, line in json_lines(read_text(path)):
        row = parse_json(line, f"{path}, line {number}")
        if not isinstance(row, dict):
            raise InputError(f"{path}, line {number}: is {type(row).__name__}; give an object")
        rows.append(row)
    return rows
