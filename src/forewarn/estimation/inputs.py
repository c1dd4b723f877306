"""Arrays as users give them: what each holds, whether that can be meant, and in one sentence why not.

One place for every estimator, so that no kind of array is taken for numbers by accident: text, raw bytes, objects,
complex numbers and dates are named and refused. Not here: how arrays fit together (``sample.py``).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from forewarn.errors import InputError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SHARE_TOLERANCE = 1e-6
"""how far shares may sum from 1: what single precision, or six digits in a text, leave of exact ones"""
_KINDS = {
    "b": "booleans",
    "i": "whole numbers",
    "u": "whole numbers",
    "f": "floating-point numbers",
    "c": "complex numbers",
    "U": "text",
    "T": "text",
    "S": "bytes of text",
    "O": "Python objects",
    "M": "dates",
    "m": "spans of time",
}


def kind_of(array: NDArray[Any]) -> str:
    """What an array holds, in words."""
    if array.dtype.names is not None:
        return f"records (of fields {', '.join(array.dtype.names)})"
    if array.dtype.kind == "V":
        bytes_each = array.dtype.itemsize
        hint = ", which is how NumPy saves bfloat16" if bytes_each == 2 else ""
        return f"raw bytes ({bytes_each} each{hint})"
    return _KINDS.get(array.dtype.kind, str(array.dtype))


def as_array(name: str, value: ArrayLike) -> NDArray[Any]:
    """``value`` as an array. Raises InputError for lists of lists of different lengths."""
    try:
        return np.asarray(value)
    except ValueError as error:
        raise InputError(f"{name} is not an array ({error}): give rows of one length") from None


def numbers(name: str, value: ArrayLike) -> Floats:
    """An array of real numbers. Raises InputError naming what it holds instead."""
    array = as_array(name, value)
    if array.dtype.kind not in "fiu":
        raise InputError(f"{name} holds {kind_of(array)}: give real numbers, such as float64 or float32")
    return array.astype(np.float64, copy=False)


def one_dimensional(name: str, value: ArrayLike, n: int | None, kind: str) -> NDArray[Any]:
    """An array of one axis and (where given) length ``n``; ``kind`` is "bool", "int" or "any"."""
    array = as_array(name, value)
    if array.ndim != 1:
        raise InputError(f"{name} has shape {array.shape}: give one value per completion, one axis")
    if n is not None and array.shape[0] != n:
        raise InputError(f"{name} has {array.shape[0]} values: there are {n} completions")
    given = f"{name} has type {array.dtype}, {kind_of(array)}"
    if kind == "bool" and array.dtype != np.bool_:
        raise InputError(f"{given}: give True or False (missing is neither)")
    if kind == "int" and not np.issubdtype(array.dtype, np.integer):
        raise InputError(f"{given}: give whole numbers")
    return array


def codes(name: str, value: ArrayLike | None, n: int) -> tuple[Ints, int]:
    """Ids as codes 0, 1, ... in sorted order, and how many there are. None is one id for all."""
    if value is None:
        return np.zeros(n, dtype=np.int64), 1
    array = one_dimensional(name, value, n, "any")
    if array.dtype.kind == "O" and all(type(item) is str for item in array):
        array = array.astype(np.str_)  # a column of text, as a table hands it over
    if array.dtype.kind not in "biufUTS":
        raise InputError(f"{name} holds {kind_of(array)}: give ids as text or whole numbers")
    if array.dtype.kind == "f" and np.isnan(array).any():
        raise InputError(f"{name} holds NaN: every completion needs an id")
    if array.dtype.kind in "UTS" and (empty := np.flatnonzero(array == np.zeros((), array.dtype))).size:
        raise InputError(f"{name}[{int(empty[0])}] is an empty text: every completion needs an id")
    unique, inverse = np.unique(array, return_inverse=True)
    return inverse.astype(np.int64), len(unique)


def check_shares(share_S: ArrayLike, n_span: int) -> Floats:
    """Planned shares: positive, one a span, summing to 1 but for the rounding of their type, which is taken out."""
    share = numbers("share_S", share_S)
    if share.shape != (n_span,):
        raise InputError(f"share_S has shape {share.shape}: log_ratio_NS has {n_span} spans")
    if not (np.isfinite(share).all() and (share > 0).all()):
        raise InputError(f"share_S is {share.tolist()}: every span needs a share above 0")
    given = np.asarray(share_S).dtype
    rounding = n_span * float(np.finfo(given).eps) if given.kind == "f" else 0.0
    total = float(share.sum())
    if abs(total - 1) > max(SHARE_TOLERANCE, rounding):
        raise InputError(f"share_S sums to {total!r}: shares sum to 1")
    return np.asarray(share / total)
