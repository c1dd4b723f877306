"""Reading a user's own files: every way in which one can be no file, no text or no table is one sentence."""

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
    """Raise ``InputError`` unless ``path`` is a regular file: a named pipe would be waited for without end."""
    if not os.path.exists(path):  # noqa: PTH110 - Path.exists raises where a name is too long
        raise InputError(f"{path} is missing: give {wanted}")
    if not path.is_file():
        raise InputError(f"{path} is no regular file: give {wanted}")


def is_folder(path: Path) -> bool:
    return os.path.isdir(path)  # noqa: PTH112 - Path.is_dir raises where a name is too long


def read_text(path: Path) -> str:
    """The text of a file that is there. Raises ``InputError``."""
    check_file(path, "a file that can be read")
    try:
        return path.read_text(encoding="utf-8-sig")  # a byte order mark is no part of the text
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"can't read {path}: {error}") from None


def parse_json(text: str, where: str) -> Any:
    """The value of JSON text. Raises ``InputError`` also where an object has one name twice.

    Beyond the bound for integers it holds an ``UnreadInteger``, which no field takes, so that the field is named.
    """
    try:
        return json.loads(text, object_pairs_hook=named_once, parse_int=integer_of)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: is no JSON: {error}") from None


def json_lines(text: str) -> Iterator[tuple[int, str]]:
    """(number, line) of the lines that hold something; ``splitlines`` would cut at more than line feeds."""
    return ((number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip())


def parquet_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a user's Parquet file. Raises ``InputError`` or ``StoreError``."""
    check_file(path, "a Parquet file")
    return read_table(path, remedy="give a whole Parquet file, or fetch it again").to_dicts()


def is_saved(folder: Path) -> bool:
    """Whether ``datasets`` wrote this folder with ``save_to_disk``."""
    return any((folder / name).exists() for name in ("dataset_dict.json", "state.json"))


def saved_parts(path: Path) -> dict[str, list[dict[str, Any]]]:
    """Split -> rows of a folder that ``datasets`` wrote with ``save_to_disk``. Raises ``InputError``."""
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
