"""Djinn problems on disk and on a hub. Reads whatever layout it is given; see ``load``.

YAML is read with PyYAML's safe loader, less its dates (``2024-01-01`` stays text), and a name given twice is an error.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from forewarn.errors import InputError, MissingExtraError
from forewarn.problems.djinn.row import Row, from_row, to_row
from forewarn.problems.djinn.values import named_once
from forewarn.records import Problem
from forewarn.store import read_table, write_table, write_whole

MAX_FILE_BYTES = 256 << 20
SPLIT = "djinn_split"
"""the key of ``Problem.extra`` that names the split a problem came from, where there was one"""
ASSETS = ("ground_truth", "exploit", "insecure_verifier", "secure_verifier", "nulls")
"""fields whose text may be the name of a ``.py`` file beside ``problem.yaml``"""
READS = "a .yaml, .json, .jsonl or .parquet file, or a folder of them"
WRITES = "a name that ends in .yaml (one problem), .jsonl or .parquet, or a folder"


def load(path: Path, *, split: str | None = None) -> list[Problem]:
    """The problems of a file or a folder, in order of names.

    A folder holds YAML files, ``<problem>/problem.yaml`` folders, or Parquet files named ``<split>-...`` in itself or
    in ``data/`` (the layout of a Hugging Face repository), or it was written by ``datasets``' ``save_to_disk``.
    ``split``: only this one. Raises ``InputError`` naming file, problem and field.
    """
    if not path.exists():
        raise InputError(f"{path} is missing: give {READS}")
    problems = [_problem(row, where, name) for row, where, name in _rows(path, split)]
    if not problems:
        raise InputError(f"{path} holds no problem{f' of split {split!r}' if split else ''}: give {READS}")
    seen: dict[str, int] = {}
    for problem in problems:
        seen[problem.problem_id] = seen.get(problem.problem_id, 0) + 1
        if seen[problem.problem_id] > 1:
            raise InputError(f"{path}, problem {problem.problem_id!r}, field id: is there twice; give each its own")
    return problems


def load_hub(name: str, *, split: str, revision: str | None = None, cache: Path | None = None) -> list[Problem]:
    """The problems of one split of a hub's data set, such as ``EleutherAI/djinn-problems-v0.9``, ``train_alternate``.

    Needs the extra ``datasets``. ``cache``: where it keeps what it fetches; default: its own place.
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

    Parquet fills fields that some rows lack with null, as Hugging Face's own tables do, and holds one type a field:
    what it can't hold is an error naming the field.
    """
    rows = [to_row(problem) for problem in problems]
    if not rows:
        raise InputError(f"{path} would hold no problem: give at least one")
    if path.suffix in (".yaml", ".yml") and len(rows) == 1:
        write_whole(path, _as_yaml(rows[0], path))
    elif path.suffix == ".jsonl":
        write_whole(path, "".join(_as_json(row, path) + "\n" for row in rows).encode())
    elif path.suffix == ".parquet":
        write_table(path, _as_table(rows, path))
    elif not path.suffix:
        for row in rows:
            if not isinstance(row["id"], str) or "/" in row["id"] or row["id"].startswith("."):
                raise InputError(f"{path}, problem {row['id']!r}, field id: is no name for a folder; use .jsonl")
            write_whole(path / row["id"] / "problem.yaml", _as_yaml(row, path))
    else:
        raise InputError(f"{path} can't hold {len(rows)} problems: give {WRITES}")


def _problem(row: Row, where: str, name: str) -> Problem:
    split = row.pop(SPLIT, None)
    if row.get("id") is None:
        row = {**row, "id": name}
    problem = from_row(row, where)
    return problem if split is None else replace(problem, extra={**problem.extra, SPLIT: split})


def _rows(path: Path, split: str | None) -> Iterator[tuple[Row, str, str]]:
    """(row, where it stands, the id of a row that has none)."""
    if not path.is_dir():
        for index, row in enumerate(_file_rows(path), start=1):
            alone = path.suffix in (".yaml", ".yml", ".json")
            name = path.parent.name if path.stem == "problem" else path.stem
            yield row, str(path), name if alone else f"{name}-{index}"
        return
    if any((path / name).exists() for name in ("dataset_dict.json", "state.json")):
        yield from _saved_rows(path, split)
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
        return read_table(path).to_dicts()
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise InputError(f"{path} holds {path.stat().st_size} bytes; at most {MAX_FILE_BYTES} are read")
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"can't read {path}: {error}") from None
    if path.suffix in (".yaml", ".yml"):
        found = _from_yaml(text, path)
    elif path.suffix == ".jsonl":
        # splitlines would cut at more than line feeds
        lines = [(n, line) for n, line in enumerate(text.split("\n"), start=1) if line.strip()]
        found = [_from_json(line, f"{path}, line {n}") for n, line in lines]
    elif path.suffix == ".json":
        found = _from_json(text, str(path))
    else:
        raise InputError(f"{path} is of no known kind: give {READS}")
    rows = found if isinstance(found, list) else [found]
    for index, row in enumerate(rows, start=1):
        if not isinstance(row, dict) or not all(isinstance(field, str) for field in row):
            raise InputError(f"{path}, problem {index}: is {type(row).__name__}; give fields by name")
    return [_with_assets(row, path) for row in rows] if path.suffix in (".yaml", ".yml") else rows


def _with_assets(row: Row, path: Path) -> Row:
    """The row with the text of files that its fields name. Only files in the problem's own folder are read."""

    def text(value: object) -> object:
        if not isinstance(value, str) or "\n" in value or not value.endswith(".py"):
            return value
        file = path.parent / value
        if not file.resolve().is_relative_to(path.parent.resolve()):
            raise InputError(f"{path}: names {value!r}, which is not in its folder; give a file beside it")
        return file.read_text(encoding="utf-8") if file.is_file() else value

    found = {field: row[field] for field in ASSETS if field in row}
    return row | {
        field: [text(item) for item in value] if isinstance(value, list) else text(value)
        for field, value in found.items()
    }


def _saved_rows(path: Path, split: str | None) -> Iterator[tuple[Row, str, str]]:
    try:
        import datasets
    except ImportError:
        raise MissingExtraError("datasets", "datasets") from None
    saved: Any = datasets.load_from_disk(str(path))
    parts = saved if isinstance(saved, datasets.DatasetDict) else {str(saved.split or "all"): saved}
    for named, part in parts.items():
        if split in (None, named):
            for index, row in enumerate(part, start=1):
                yield dict(row) | {SPLIT: named}, f"{path}, split {named}", f"{named}-{index}"


class _Loader(yaml.SafeLoader):
    """The safe loader, less dates, and strict about names given twice."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's own attribute
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise yaml.constructor.ConstructorError(None, None, f"{twice!r} is there twice", node.start_mark)
        return super().construct_mapping(node, deep=deep)


def _from_yaml(text: str, path: Path) -> Any:
    try:
        return yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: is no YAML of plain data: {' '.join(str(error).split())}") from None


def _from_json(text: str, where: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=named_once)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: is no JSON: {error}") from None


def _as_yaml(row: Row, path: Path) -> bytes:
    try:
        return yaml.safe_dump(row, sort_keys=False, width=120).encode()
    except (yaml.YAMLError, RecursionError) as error:
        raise InputError(f"{path}, problem {row['id']!r}: YAML can't hold it: {error}") from None


def _as_json(row: Row, path: Path) -> str:
    try:
        return json.dumps(row)
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"{path}, problem {row['id']!r}: JSON can't hold it: {error}; use .yaml") from None


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
            raise InputError(f"{path}, field {field}: Parquet holds one type a field, and this has more; use .jsonl")
        columns[field] = column
    return pl.DataFrame(columns)


def _same_but_for_null(given: object, found: object) -> bool:
    if isinstance(given, Mapping) and isinstance(found, Mapping):
        return all(_same_but_for_null(given.get(key), found.get(key)) for key in {*given, *found})
    if isinstance(given, list) and isinstance(found, list):
        return len(given) == len(found) and all(map(_same_but_for_null, given, found))
    return type(given) is type(found) and repr(given) == repr(found)
