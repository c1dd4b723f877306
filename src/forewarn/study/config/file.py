"""A study's TOML file, read and checked; what is wrong with it, in one sentence. Not here: its keys (``schema.py``)."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError

from forewarn.errors import InputError
from forewarn.study.config.kinds import Table
from forewarn.study.config.schema import StudyTable


def read_study_file(path: Path) -> tuple[StudyTable, bytes]:
    """The checked tables of a study's file, and the file as it stands. Raises InputError naming key and value."""
    try:
        data = path.read_bytes()
        tables = tomllib.loads(data.decode())
    except FileNotFoundError:
        raise InputError(f"{path} is missing: give a study's TOML file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"can't read {path}: {error}") from None
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path} is not TOML: {error}") from None
    try:
        return StudyTable.model_validate(_tuples(tables)), data
    except ValidationError as error:
        raise InputError(f"{path}: {_sentence(error)}") from None


def _tuples(value: Any) -> Any:
    """TOML's arrays as tuples: the tables are frozen, and strict about types."""
    if isinstance(value, dict):
        return {key: _tuples(inner) for key, inner in value.items()}
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _sentence(error: ValidationError) -> str:
    """The first fault, as key, value and what is asked of it. A key that is not known comes before one that is missing:
    it may be that one, mistyped."""
    faults = sorted(error.errors(), key=lambda fault: fault["type"] != "extra_forbidden")
    first, others = faults[0], len(faults) - 1
    key = _key(first["loc"])
    more = f" (and {others} more)" if others else ""
    if first["type"] == "extra_forbidden":
        return f"unknown key {key}{_instead(first['loc'])}; the keys are in docs/study.md{more}"
    if first["type"] == "missing":
        return f"{key} is missing: give it{more}"
    said = first["msg"].removeprefix("Value error, ")
    wanted = said[:1].lower() + said[1:]
    return f"{key} = {first['input']!r}: {wanted}{more}"


def _instead(place: tuple[int | str, ...]) -> str:
    """Which key may have been meant by an unknown one: the nearest of its table, or the same in another table."""
    table: type[Table] | None = StudyTable
    for part in place[:-1]:
        if isinstance(part, str) and table is not None:
            table = _table_in(table.model_fields[part].annotation)
    wrong = str(place[-1])
    keys = [] if table is None else [_name(table, field) for field in table.model_fields]
    near = difflib.get_close_matches(wrong, keys, n=1)
    if near:
        return f": did you mean {_key((*place[:-1], near[0]))}?"
    elsewhere = sorted((at for at in _places(StudyTable) if at[-1] == wrong), key=len)
    return f": did you mean it in {_header(elsewhere[0][:-1])}?" if elsewhere else ""


def _name(table: type[Table], field: str) -> str:
    """A field's key in the file: "from" is not a name in Python."""
    return table.model_fields[field].alias or field


def _table_in(annotation: Any) -> type[Table] | None:
    """The table that a field holds, or holds several of."""
    if isinstance(annotation, type) and issubclass(annotation, Table):
        return annotation
    return next((found for inner in get_args(annotation) if (found := _table_in(inner)) is not None), None)


def _places(table: type[Table], above: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Where every key of a table and of the tables inside it stands."""
    found = []
    for field, held in table.model_fields.items():
        name = _name(table, field)
        found.append((*above, name))
        inner = _table_in(held.annotation)
        found += [] if inner is None else _places(inner, (*above, name))
    return found


def _header(table: Sequence[str]) -> str:
    """A table's header in the file; entries of several have two brackets."""
    if not table:
        return "the file's first lines, before any [table]"
    several = tuple(table) in (("checkpoints",), ("donors",), ("spans",), ("donors", "refinement", "spans"))
    name = ".".join(table)
    return f"[[{name}]]" if several else f"[{name}]"


def _key(place: tuple[int | str, ...]) -> str:
    """``spans[2].count``: entries are counted from 1, as a reader does."""
    words = [f"[{part + 1}]" if isinstance(part, int) else f".{part}" for part in place]
    return "".join(words).lstrip(".")
