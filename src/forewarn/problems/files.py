"""Problem sets in files: JSONL, Parquet, and a folder that the Hugging Face ``datasets`` package loads as it stands.

The folder: one Parquet file a split in ``data/``, and a ``README.md`` whose head tells which file is which split.
Also read: a folder written by ``datasets``' own ``save_to_disk`` (that needs the extra ``datasets``).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from forewarn.errors import InputError, MissingExtraError
from forewarn.problems.rows import Row, check_ids, from_row, to_row
from forewarn.records import Problem
from forewarn.store import read_table, write_table, write_whole

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
"""a column of folders only: where in the set a problem stood, since the files are by split"""
FORMATS = "a name that ends in .jsonl or .parquet, or a folder"


def export(problems: Sequence[Problem], path: Path) -> None:
    """Write a problem set in the format that the path's name asks for. Raises ``InputError`` or ``StoreError``."""
    check_ids(problems)
    rows = [to_row(problem) for problem in problems]
    if not rows:
        raise InputError(f"{path} would hold no problem: give at least one")
    if path.suffix == ".jsonl":
        write_whole(path, "".join(json.dumps(row) + "\n" for row in rows).encode())
    elif path.suffix == ".parquet":
        write_table(path, _table(rows))
    elif path.suffix:
        raise InputError(f"{path} names no format: give {FORMATS}")
    else:
        _export_folder(rows, path)


def load(path: Path) -> list[Problem]:
    """The problems of a file or folder, in the order in which they were written. Raises ``InputError``."""
    if path.is_dir():
        rows = _folder_rows(path)
    elif not path.exists():
        raise InputError(f"{path} is missing: give {FORMATS}")
    elif path.suffix == ".jsonl":
        rows = _json_lines(path)
    elif path.suffix == ".parquet":
        rows = read_table(path).to_dicts()
    else:
        raise InputError(f"{path} names no format: give {FORMATS}")
    problems = [from_row(row, f"{path}, problem {index}") for index, row in enumerate(rows, start=1)]
    if not problems:
        raise InputError(f"{path} holds no problem")
    check_ids(problems)
    return problems


def _table(rows: Iterable[Row]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=SCHEMA)


def _export_folder(rows: Sequence[Row], path: Path) -> None:
    table = _table(rows).with_row_index(PLACE)
    splits = {split: split.replace(" ", "_") or "unknown" for split in dict.fromkeys(row["split"] for row in rows)}
    if path.exists() and any(path.iterdir()):
        raise InputError(f"{path} is not empty: give a new folder")
    for split, name in splits.items():
        write_table(path / "data" / f"{name}-00000-of-00001.parquet", table.filter(pl.col("split") == split))
    files = "".join(f"  - split: {name}\n    path: data/{name}-*\n" for name in splits.values())
    head = f"---\nconfigs:\n- config_name: default\n  data_files:\n{files}---\n"
    text = f"{len(rows)} problems of forewarn, by split of the exploit types. Values are Python literals.\n"
    write_whole(path / "README.md", (head + "\n" + text).encode())


def _folder_rows(path: Path) -> list[Row]:
    if any((path / name).exists() for name in ("dataset_dict.json", "state.json")):
        rows = _saved_rows(path)
    else:
        files = sorted((path / "data").glob("*.parquet"))
        if not files:
            raise InputError(f"{path} holds no data/*.parquet: give a folder that forewarn or datasets has written")
        rows = [row for file in files for row in read_table(file).to_dicts()]
    return sorted(rows, key=lambda row: row.get(PLACE) or 0)


def _saved_rows(path: Path) -> list[Row]:
    """Rows of a folder written by ``save_to_disk``."""
    try:
        import datasets
    except ImportError:
        raise MissingExtraError("datasets", "datasets") from None
    saved: Any = datasets.load_from_disk(str(path))
    parts = saved.values() if isinstance(saved, datasets.DatasetDict) else [saved]
    return [dict(row) for part in parts for row in part]


def _json_lines(path: Path) -> list[Row]:
    rows = []
    try:
        lines = path.read_text(encoding="utf-8").split("\n")  # splitlines would cut at more than that
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"can't read {path}: {error}") from None
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path}, line {number}: is no JSON: {error}") from None
        if not isinstance(row, dict):
            raise InputError(f"{path}, line {number}: is {type(row).__name__}; give an object")
        rows.append(row)
    return rows
