"""Reads a user's arrays from a file: NumPy's .npz, or a table with one row per completion (Parquet, CSV).

The first bytes of a file tell its kind. Every other kind of file, and every array of an unusable type, is refused in
one sentence that names it. Nothing is unpickled, because loading a pickle runs code.
"""

from __future__ import annotations

import io
import os
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from forewarn.cli.array_tables import REQUIRED, arrays_of_table
from forewarn.errors import InputError
from forewarn.estimation.inputs import kind_of

OPTIONAL = (
    "share_S", "problem_N", "cluster_N", "valid_N", "inconsistent_N", "program_N", "donor_wrote_answer_N",
    "donor_opened_N",
)  # fmt: skip
BOOLEAN = ("is_exploit_N", "valid_N", "inconsistent_N", "donor_wrote_answer_N", "donor_opened_N")
WANTED = "an .npz file that numpy.savez wrote, or a Parquet or CSV file with one row a completion"
BY_NAME = "save the arrays with numpy.savez(FILE, log_ratio_NS=..., is_exploit_N=..., span_N=...)"


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
    return arrays_of_table(table, path)


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
    return arrays_of_table(table.select(pl.all().str.strip_chars().replace("", None)), path)


def _said(error: Exception) -> str:
    return " ".join(str(error).split())[:160]
