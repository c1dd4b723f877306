"""Reads and writes Djinn problems on disk, and reads them from a hub. ``load`` describes the layouts."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from forewarn.errors import InputError, MissingExtraError
from forewarn.problems.djinn.row import Row, from_row, to_row
from forewarn.problems.djinn.yaml_text import as_yaml, from_yaml
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
from forewarn.records import Problem
from forewarn.store import write_table, write_whole

MAX_FILE_BYTES = 256 << 20
SPLIT = "djinn_split"
"""the key of ``Problem.extra`` for the split that a problem came from"""
ASSETS = ("ground_truth", "exploit", "insecure_verifier", "secure_verifier", "nulls")
"""fields whose text may be the name of a ``.py`` file beside ``problem.yaml``"""
READS = "a .yaml, .json, .jsonl or .parquet file, or a folder of them"
WRITES = "a name that ends in .yaml (one problem), .jsonl or .parquet, or a folder"


def load(path: Path, *, split: str | None = None) -> list[Problem]:
    """Return the problems of a file or a folder, in order of names.

    A folder contains YAML files, ``<problem>/problem.yaml`` folders, or Parquet files named ``<split>-...`` in itself
    or in ``data/`` (the layout of a Hugging Face repository), or it was written by ``datasets``' ``save_to_disk``.
    ``split``: only this one. Raises ``InputError`` naming file, problem and field.
    """
    if not is_folder(path):
        check_file(path, READS)
    problems = [_problem(row, where, name) for row, where, name in _rows(path, split)]
    if split is not None:
        problems = _of_split(problems, split, path)
    if not problems:
        raise InputError(f"{path} has no problems{f' of split {split!r}' if split else ''}: give {READS}")
    seen: dict[str, int] = {}
    for problem in problems:
        seen[problem.problem_id] = seen.get(problem.problem_id, 0) + 1
        if seen[problem.problem_id] > 1:
            raise InputError(f"{path}, problem {problem.problem_id!r}, field id: occurs twice; give each its own id")
    return problems


def load_hub(name: str, *, split: str, revision: str | None = None, cache: Path | None = None) -> list[Problem]:
    """Return one split of a hub data set, such as ``train_alternate`` of ``EleutherAI/djinn-problems-v0.9``.

    Needs the extra ``datasets``. ``cache``: the folder for downloads; default: that of ``datasets``.
    """
    try:
        import datasets
    except ImportError:
        raise MissingExtraError("datasets", "datasets") from None
    try:
        found: Any = datasets.load_dataset(
            name, split=split, revision=revision, cache_dir=None if cache is None else str(cache)
        )
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        raise InputError(
            f"can't load {name}, split {split!r}: {error}; check name, split and network, or give a folder with a copy"
        ) from None
    return [_problem(dict(row) | {SPLIT: split}, name, f"row {i}") for i, row in enumerate(found)]


def export(problems: Sequence[Problem], path: Path) -> None:
    """Write problems in the layout that the path's name asks for. Raises ``InputError`` or ``StoreError``.

    In Parquet, missing fields become null, as in Hugging Face's own tables, and a field has one type; a row that it
    can't store is an error that names the field.
    """
    rows = [to_row(problem) for problem in problems]
    if not rows:
        raise InputError(f"{path} would be empty: give at least one problem")
    if path.suffix in (".yaml", ".yml") and len(rows) == 1:
        write_whole(path, as_yaml(rows[0], path))
    elif path.suffix == ".jsonl":
        write_whole(path, "".join(_as_json(row, path) + "\n" for row in rows).encode())
    elif path.suffix == ".parquet":
        write_table(path, _as_table(rows, path))
    elif not path.suffix:
        for row in rows:
            if not isinstance(row["id"], str) or "/" in row["id"] or row["id"].startswith("."):
                raise InputError(f"{path}, problem {row['id']!r}, field id: can't name a folder; use .jsonl")
            write_whole(path / row["id"] / "problem.yaml", as_yaml(row, path))
    else:
        raise InputError(f"{path} can't store {len(rows)} problems: give {WRITES}")


def _of_split(problems: list[Problem], split: str, path: Path) -> list[Problem]:
    found = [problem for problem in problems if problem.extra.get(SPLIT) == split]
    if problems and not found:
        held = sorted({str(problem.extra[SPLIT]) for problem in problems if SPLIT in problem.extra})
        remedy = f"give one of {', '.join(held)}" if held else "its problems do not name a split; leave the split out"
        raise InputError(f"{path} has no problems of split {split!r}: {remedy}")
    return found


def _problem(row: Row, where: str, name: str) -> Problem:
    split = row.pop(SPLIT, None)
    if row.get("id") is None:
        row = {**row, "id": name}
    problem = from_row(row, where)
    return problem if split is None else replace(problem, extra={**problem.extra, SPLIT: split})


def _rows(path: Path, split: str | None) -> Iterator[tuple[Row, str, str]]:
    """Yield (row, its place for errors, the id for a row without one)."""
    if not is_folder(path):
        for index, row in enumerate(_file_rows(path), start=1):
            alone = path.suffix in (".yaml", ".yml", ".json")
            name = path.parent.name if path.stem == "problem" else path.stem
            yield row, str(path), name if alone else f"{name}-{index}"
        return
    if is_saved(path):
        for named, part in saved_parts(path).items():
            if split in (None, named):
                for index, row in enumerate(part, start=1):
                    yield row | {SPLIT: named}, f"{path}, split {named}", f"{named}-{index}"
        return
    tables = sorted([*path.glob("*.parquet"), *(path / "data").glob("*.parquet")])
    for file in tables:
        named = file.name.split("-")[0].removesuffix(".parquet")
        if split in (None, named):
            for index, row in enumerate(_file_rows(file), start=1):
                yield row | {SPLIT: named}, str(file), f"{named}-{index}"
    if not tables:
        for file in sorted([*path.glob("*.y*ml"), *path.glob("*/problem.yaml"), *path.glob("*.json*")]):
            yield from _rows(file, split)


def _file_rows(path: Path) -> list[Row]:
    if path.suffix == ".parquet":
        return parquet_rows(path)
    text = _bounded_text(path)
    if path.suffix in (".yaml", ".yml"):
        found = from_yaml(text, path)
    elif path.suffix == ".jsonl":
        found = [parse_json(line, f"{path}, line {n}") for n, line in json_lines(text)]
    elif path.suffix == ".json":
        found = parse_json(text, str(path))
    else:
        raise InputError(f"{path} is of an unsupported kind: give {READS}")
    rows = found if isinstance(found, list) else [found]
    for index, row in enumerate(rows, start=1):
        if not isinstance(row, dict) or not all(isinstance(field, str) for field in row):
            raise InputError(f"{path}, problem {index}: is {type(row).__name__}; give fields by name")
    return [_with_assets(row, path) for row in rows] if path.suffix in (".yaml", ".yml") else rows


def _with_assets(row: Row, path: Path) -> Row:
    """Return the row with the text of the files that its fields name, read only from the problem's own folder."""

    def text(field: str, value: object) -> object:
        if not isinstance(value, str) or "\n" in value or not value.endswith(".py"):
            return value
        where = f"{path}, problem {row.get('id', path.parent.name)!r}, field {field}"
        if "\0" in value:
            raise InputError(f"{where}: {value!r} is neither the name of a file nor source")
        file = path.parent / value
        if not file.resolve().is_relative_to(path.parent.resolve()):
            raise InputError(f"{where}: names {value!r}, which is not in its folder; give a file beside it")
        if not os.path.isfile(file):  # noqa: PTH113 - Path.is_file raises if a text is too long for a name
            return value
        try:
            return _bounded_text(file)
        except InputError as error:
            raise InputError(f"{where}: {error}") from None

    found = {field: row[field] for field in ASSETS if field in row}
    return row | {
        field: [text(field, item) for item in value] if isinstance(value, list) else text(field, value)
        for field, value in found.items()
    }


def _bounded_text(path: Path) -> str:
    check_file(path, READS)
    size = path.stat().st_size
    if size > MAX_FILE_BYTES:
        raise InputError(f"{path} has {size} bytes; at most {MAX_FILE_BYTES} are read")
    return read_text(path)


def _as_json(row: Row, path: Path) -> str:
    try:
        return json.dumps(row)
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"{path}, problem {row['id']!r}: JSON can't store it: {error}; use .yaml") from None


def _as_table(rows: Sequence[Row], path: Path) -> pl.DataFrame:
    columns = {}
    for field in dict.fromkeys(field for row in rows for field in row):
        values = [row.get(field) for row in rows]
        try:
            column = pl.Series(field, values, strict=True)
            kept = all(_same_but_for_null(a, b) for a, b in zip(values, column.to_list(), strict=True))
        except (pl.exceptions.PolarsError, TypeError, ValueError, OverflowError):
            kept = False
        if not kept:
            raise InputError(f"{path}, field {field}: has several types, but Parquet stores only one; use .jsonl")
        columns[field] = column
    return pl.DataFrame(columns)


def _same_but_for_null(given: object, found: object) -> bool:
    if isinstance(given, Mapping) and isinstance(found, Mapping):
        return all(_same_but_for_null(given.get(key), found.get(key)) for key in {*given, *found})
    if isinstance(given, list) and isinstance(found, list):
        return len(given) == len(found) and all(map(_same_but_for_null, given, found))
    return type(given) is type(found) and repr(given) == repr(found)
