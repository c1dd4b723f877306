"""Reads a user's arrays from a file: NumPy's .npz, or a table with one row per completion (Parquet, CSV).

The first bytes of a file tell its kind. Every other kind of file, and every array of an unusable type, is refused in
one sentence that names it. Nothing is unpickled, because loading a pickle runs code.
"""

from __future__ import annotations

import io
import os
import re
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from forewarn.errors import InputError
from forewarn.estimation.inputs import kind_of

REQUIRED = ("log_ratio_NS", "is_exploit_N", "span_N")
OPTIONAL = ("share_S", "problem_N", "cluster_N", "valid_N", "inconsistent_N", "program_N", "donor_wrote_answer_N")
BOOLEAN = ("is_exploit_N", "valid_N", "inconsistent_N", "donor_wrote_answer_N")
COLUMNS = {"is_exploit": "is_exploit_N", "span": "span_N", "problem": "problem_N", "cluster": "cluster_N"}
COLUMNS |= {"valid": "valid_N", "share": "share_S", "inconsistent": "inconsistent_N", "program": "program_N"}
COLUMNS |= {"donor_wrote_answer": "donor_wrote_answer_N"}
"""column of a table -> the array that it becomes; an array's own name is accepted too"""
LOG_RATIO = re.compile(r"log_ratio_(\d+)")
WANTED = "an .npz file that numpy.savez wrote, or a Parquet or CSV file with one row a completion"
BY_NAME = "save the arrays with numpy.savez(FILE, log_ratio_NS=..., is_exploit_N=..., span_N=...)"
TRUE, FALSE = ("true", "1", "1.0"), ("false", "0", "0.0")


def load_arrays(path: Path) -> dict[str, Any]:
    """Read the arrays in a file, by the names of ``estimation.mixture_estimate``'s arguments.

    Raises InputError for another kind of file, a damaged file, and arrays that are missing, unknown or of a wrong type.
    """
    try:
        if not os.path.exists(path):  # noqa: PTH110 - Path.exists raises if a name is too long
            raise InputError(f"{path} is missing: give {WANTED}")
        if not path.is_file():
            raise InputError(f"{path} is not a regular file: give {WANTED}")
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"can't read {path}: {error.strerror or error}") from None
    arrays = _reader(data, path)(data, path)
    for name in BOOLEAN:
        if name in arrays:
            arrays[name] = _booleans(arrays[name], f"{name} of {path}")
    return arrays


def _reader(data: bytes, path: Path) -> Callable[[bytes, Path], dict[str, Any]]:
    """Choose the reader by a file's first bytes. Raises InputError for an unsupported kind of file."""
    if not data:
        raise InputError(f"{path} is empty: give {WANTED}")
    if data[:2] == b"PK":
        return _npz
    if data[:4] == b"PAR1":
        return _parquet
    if data[:6] == b"\x93NUMPY":
        raise InputError(f"{path} is an .npy file, one array without a name: {BY_NAME}")
    if data[:1] == b"\x80" or path.suffix in (".pkl", ".pickle"):
        raise InputError(f"{path} is a pickle, which is not read, as loading one runs code: {BY_NAME}")
    if data[:2] == b"\x1f\x8b":
        raise InputError(f"{path} is compressed with gzip: unpack it and give {WANTED}")
    if data[8:9] == b"{" and struct.unpack("<Q", data[:8])[0] < len(data):
        raise InputError(f"{path} is a safetensors file: {BY_NAME}")
    if path.suffix.lower() in (".csv", ".tsv", ".txt"):
        return _csv
    if data.lstrip()[:1] in (b"{", b"["):
        raise InputError(f"{path} is JSON, which does not store number types: {BY_NAME}")
    raise InputError(f"{path} is of an unsupported kind: give {WANTED}")


def _npz(data: bytes, path: Path) -> dict[str, Any]:
    try:
        # from bytes: given a path, NumPy leaves the file open if the archive is damaged
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, struct.error) as error:
        raise InputError(f"{path} is a damaged .npz file ({error}): write or copy it again") from None
    if any(name.endswith("data.pkl") for name in names):
        raise InputError(f"{path} is a PyTorch file, which is a pickle: {BY_NAME}, each tensor as tensor.numpy()")
    with np.load(io.BytesIO(data), allow_pickle=False) as file:
        _check_names(file.files, path)
        return {name: _member(file, name, path) for name in file.files}


def _check_names(names: list[str], path: Path) -> None:
    missing = [name for name in REQUIRED if name not in names]
    unknown = sorted(set(names) - {*REQUIRED, *OPTIONAL})
    if missing or unknown:
        faults = [f"lacks {', '.join(missing)}"] * bool(missing)
        faults += [f"has unknown {', '.join(unknown)}"] * bool(unknown)
        known = ", ".join((*REQUIRED, *OPTIONAL))
        raise InputError(f"{path} {' and '.join(faults)}; the names are {known}; {BY_NAME}")


def _member(file: Any, name: str, path: Path) -> NDArray[Any]:
    """Read one array of an .npz file, if its type is usable."""
    what = f"{name} of {path}"
    try:
        array = file[name]
    except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile, zlib.error, MemoryError) as error:
        if "allow_pickle" in str(error):
            raise InputError(
                f"{what} contains Python objects, which are pickled and not read: give numbers or text of one type, "
                "as numpy.array(values, dtype=...) makes them"
            ) from None
        raise InputError(f"{what} is damaged ({' '.join(str(error).split())}): write or copy the file again") from None
    if not isinstance(array, np.ndarray):
        raise InputError(f"{what} is not an array: {BY_NAME}")
    if array.dtype.kind in "VOcMm" or (array.dtype.kind in "US" and name in ("log_ratio_NS", "share_S", "span_N")):
        raise InputError(f"{what} contains {kind_of(array)}: give {_wanted(name)}")
    return array


def _wanted(name: str) -> str:
    if name in BOOLEAN:
        return "True or False"
    if name == "span_N":
        return "whole numbers"
    return (
        "real numbers, as float64 or float32" if name in ("log_ratio_NS", "share_S") else "ids as text or whole numbers"
    )


def _booleans(values: NDArray[Any], what: str) -> NDArray[np.bool_]:
    """Return booleans, given booleans or numbers that are all 0 or 1."""
    if values.dtype.kind not in "biuf":
        raise InputError(f"{what} contains {kind_of(values)}: give True or False")
    if values.dtype != np.bool_:
        wrong = values[~np.isin(values, (0, 1))]
        if wrong.size:
            raise InputError(f"{what} contains {wrong.flat[0]}, but only 0 and 1 are accepted: give True or False")
    return values.astype(np.bool_)


def _parquet(data: bytes, path: Path) -> dict[str, Any]:
    try:
        table = pl.read_parquet(io.BytesIO(data))
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InputError(f"{path} is a damaged Parquet file ({_said(error)}): write or copy it again") from None
    return _of_table(table, path)


def _csv(data: bytes, path: Path) -> dict[str, Any]:
    """Read every column as text: its name tells its type, which is never guessed from its first rows."""
    try:
        text = data.decode("utf-8-sig")
        between = "\t" if path.suffix.lower() == ".tsv" else ","
        table = pl.read_csv(io.StringIO(text), infer_schema=False, separator=between)
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text ({error}): save it as UTF-8") from None
    except pl.exceptions.PolarsError as error:
        raise InputError(
            f"{path} is not a CSV table ({_said(error)}): give a header line and one line per row"
        ) from None
    return _of_table(table.select(pl.all().str.strip_chars().replace("", None)), path)


def _of_table(table: pl.DataFrame, path: Path) -> dict[str, Any]:
    """Return the arrays of a table with one row per completion."""
    ratios = sorted((name for name in table.columns if LOG_RATIO.fullmatch(name)), key=lambda name: int(name[10:]))
    wanted = [f"log_ratio_{s}" for s in range(len(ratios))]
    others = {name: array for short, array in COLUMNS.items() for name in (short, array) if name in table.columns}
    unknown = [name for name in table.columns if name not in others and name not in ratios]
    lacking = [] if ratios else ["log_ratio_0"]
    lacking += [short for short, array in COLUMNS.items() if array in REQUIRED and array not in others.values()]
    if ratios != wanted:
        raise InputError(f"{path} has columns {', '.join(ratios)}: number the spans 0, 1, 2 ..., with brute force as 0")
    if lacking or unknown:
        faults = [f"lacks the columns {', '.join(lacking)}"] * bool(lacking)
        faults += [f"has unknown columns {', '.join(unknown)}"] * bool(unknown)
        raise InputError(
            f"{path} {' and '.join(faults)}; a row is a completion, and its columns are log_ratio_0, log_ratio_1 ... "
            f"(one per span), {', '.join(COLUMNS)}"
        )
    if len(set(others.values())) < len(others):
        raise InputError(f"{path} has columns {', '.join(others)}, two of which name the same array: leave one out")
    columns = {array: _Column(table[name], path) for name, array in others.items()}
    arrays: dict[str, Any] = {"log_ratio_NS": np.stack([_Column(table[name], path).floats() for name in ratios], 1)}
    arrays["span_N"] = columns["span_N"].integers()
    valid = columns["valid_N"].booleans() if "valid_N" in columns else None
    arrays["is_exploit_N"] = columns["is_exploit_N"].booleans(valid)
    if valid is not None:
        arrays["valid_N"] = valid
    if "inconsistent_N" in columns:
        arrays["inconsistent_N"] = columns["inconsistent_N"].booleans()
    arrays |= {name: columns[name].ids() for name in ("problem_N", "cluster_N") if name in columns}
    # told of the hits alone
    others_N = ~arrays["is_exploit_N"]
    if "program_N" in columns:
        arrays["program_N"] = columns["program_N"].ids(others_N)
    if "donor_wrote_answer_N" in columns:
        arrays["donor_wrote_answer_N"] = columns["donor_wrote_answer_N"].booleans(~others_N)
    if "share_S" in columns:
        arrays["share_S"] = _shares(columns["share_S"].floats(), arrays["span_N"], len(ratios), path)
    return arrays


class _Column:
    """A column of a table as an array; errors name the column and the row, counted from 1."""

    def __init__(self, values: pl.Series, path: Path) -> None:
        self._values, self._what = values, f"column {values.name} of {path}"

    def floats(self) -> NDArray[np.float64]:
        """Return the column as numbers; an empty value becomes NaN."""
        self._refuse_unless(self._values.dtype.is_numeric(), "real numbers")
        return self._cast(pl.Float64, "a number").to_numpy().astype(np.float64)

    def integers(self) -> NDArray[np.int64]:
        self._refuse_unless(self._values.dtype.is_integer(), "whole numbers")
        self._refuse_empty(self._values)
        return self._cast(pl.Int64, "a whole number").to_numpy().astype(np.int64)

    def booleans(self, needed: NDArray[np.bool_] | None = None) -> NDArray[np.bool_]:
        """Return the column as booleans. ``needed``: rows that must have a value; elsewhere an empty one is False."""
        values = self._values
        self._refuse_unless(values.dtype == pl.Boolean or values.dtype.is_numeric(), "true or false")
        text = values.cast(pl.String).str.to_lowercase()
        known = text.replace_strict({**dict.fromkeys(TRUE, True), **dict.fromkeys(FALSE, False)}, default=None)
        self._refuse_row(known.is_null() & text.is_not_null(), "true or false")
        if needed is not None:
            known = known.zip_with(pl.Series(needed) | known.is_not_null(), pl.repeat(False, len(known), eager=True))
        self._refuse_empty(known)
        return known.cast(pl.Boolean).to_numpy().astype(np.bool_)

    def ids(self, optional: NDArray[np.bool_] | None = None) -> NDArray[Any]:
        """``optional``: where one may be missing."""
        kind = self._values.dtype
        fitting = kind.is_integer() or kind in (pl.Categorical, pl.Enum, pl.Boolean)
        self._refuse_unless(fitting, "ids as text or whole numbers")
        text = self._values.cast(pl.String)
        if optional is not None:
            text = text.zip_with(~pl.Series(optional) | text.is_not_null(), pl.repeat("", len(text), eager=True))
        self._refuse_empty(text)
        return np.array(text.to_list(), dtype=np.str_)

    def _refuse_unless(self, fitting: bool, wanted: str) -> None:
        if not fitting and self._values.dtype not in (pl.String, pl.Null):
            raise InputError(f"{self._what} contains {str(self._values.dtype).lower()}: give {wanted}")

    def _cast(self, kind: type[pl.DataType], wanted: str) -> pl.Series:
        found = self._values.cast(kind, strict=False)
        self._refuse_row(found.is_null() & self._values.is_not_null(), wanted)
        return found

    def _refuse_row(self, wrong: pl.Series, wanted: str) -> None:
        if wrong.any():
            row = int(wrong.arg_true()[0])
            raise InputError(f"{self._what} contains {str(self._values[row])[:80]!r} in row {row + 1}: give {wanted}")

    def _refuse_empty(self, values: pl.Series) -> None:
        if values.null_count():
            row = int(values.is_null().arg_true()[0])
            raise InputError(f"{self._what} is empty in row {row + 1}, where a value is needed: fill it in")


def _shares(share_N: NDArray[np.float64], span_N: NDArray[np.int64], n_span: int, path: Path) -> NDArray[np.float64]:
    """Return the planned share of each span, which every row of that span repeats."""
    share_S = np.full(n_span, np.nan)
    for s in range(n_span):
        found = np.unique(share_N[span_N == s])
        if found.size != 1:
            several = "nothing" if not found.size else ", ".join(map(str, found[:3]))
            raise InputError(f"column share of {path} has {several} for span {s}: give every row its span's share")
        share_S[s] = found[0]
    return share_S


def _said(error: Exception) -> str:
    return " ".join(str(error).split())[:160]
