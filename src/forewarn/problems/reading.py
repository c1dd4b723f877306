"""Reads a user's own files. Anything that is not a file, text or table gives an error of one sentence."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from forewarn.errors import InputError, MissingExtraError
from forewarn.problems.djinn.values import integer_of, named_once
from forewarn.store import read_table


def check_file(path: Path, wanted: str) -> None:
    """Raise ``InputError`` unless ``path`` is a regular file: reading a named pipe could block forever."""
    if not os.path.exists(path):  # noqa: PTH110 - Path.exists raises if a name is too long
        raise InputError(f"{path} is missing: give {wanted}")
    if not path.is_file():
        raise InputError(f"{path} is not a regular file: give {wanted}")


def is_folder(path: Path) -> bool:
    return os.path.isdir(path)  # noqa: PTH112 - Path.is_dir raises if a name is too long


def read_text(path: Path) -> str:
    """Return the text of an existing file. Raises ``InputError``."""
    check_file(path, "a file that can be read")
    try:
        return path.read_text(encoding="utf-8-sig")  # a byte order mark is not part of the text
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"can't read {path}: {error}") from None


def parse_json(text: str, where: str) -> Any:
    """Return the value of JSON text. Raises ``InputError``, also if a name occurs twice in an object.

    An integer beyond the bound becomes an ``UnreadInteger``, which no field accepts, so that the error names the field.
    """
    try:
        return json.loads(text, object_pairs_hook=named_once, parse_int=integer_of)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: is not JSON: {error}") from None


def json_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield (number, line) of the lines that aren't empty; ``splitlines`` would also cut at other characters."""
    return ((number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip())


def parquet_rows(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a user's Parquet file. Raises ``InputError`` or ``StoreError``."""
    check_file(path, "a Parquet file")
    return read_table(path, remedy="give a whole Parquet file, or fetch it again").to_dicts()


def is_saved(folder: Path) -> bool:
    """Return whether ``datasets`` wrote this folder with ``save_to_disk``."""
    return any((folder / name).exists() for name in ("dataset_dict.json", "state.json"))


def saved_parts(path: Path) -> dict[str, list[dict[str, Any]]]:
    """Map each split to its rows, for a folder that ``datasets`` wrote with ``save_to_disk``. Raises ``InputError``."""
    try:
        import datasets
    except ImportError:
        raise MissingExtraError("datasets", "datasets") from None
    try:
        saved: Any = datasets.load_from_disk(str(path))
        parts = saved if isinstance(saved, datasets.DatasetDict) else {str(saved.split or "all"): saved}
        return {name: [dict(row) for row in part] for name, part in parts.items()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError, datasets.exceptions.DatasetsError) as error:
        said = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputError(f"can't read {path}: {said}; give a folder as `save_to_disk` wrote it") from None
