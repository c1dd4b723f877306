"""The arrays of a table with one row per completion, checked column by column."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from forewarn.errors import InputError

REQUIRED = ("log_ratio_NS", "is_exploit_N", "span_N")
COLUMNS = {"is_exploit": "is_exploit_N", "span": "span_N", "problem": "problem_N", "cluster": "cluster_N"}
COLUMNS |= {"valid": "valid_N", "share": "share_S", "inconsistent": "inconsistent_N", "program": "program_N"}
COLUMNS |= {"donor_wrote_answer": "donor_wrote_answer_N", "donor_opened": "donor_opened_N"}
"""column of a table -> the array that it becomes; an array's own name is accepted too"""
LOG_RATIO = re.compile(r"log_ratio_(\d+)")
TRUE, FALSE = ("true", "1", "1.0"), ("false", "0", "0.0")


def arrays_of_table(table: pl.DataFrame, path: Path) -> dict[str, Any]:
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
    # only hits need these
    others_N = ~arrays["is_exploit_N"]
    if "program_N" in columns:
        arrays["program_N"] = columns["program_N"].ids(others_N)
    told = [name for name in ("donor_wrote_answer_N", "donor_opened_N") if name in columns]
    arrays |= {name: columns[name].booleans(~others_N) for name in told}
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
        """Return the column as texts. ``optional``: rows that may be empty."""
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
