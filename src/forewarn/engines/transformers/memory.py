"""Halves a batch when memory runs out, down to one row."""

from __future__ import annotations

import gc

import torch

from forewarn.errors import EngineFault


def ran_out(error: RuntimeError) -> bool:
    """Return whether memory ran out. (On a CPU torch raises a plain RuntimeError.)"""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def halved(error: RuntimeError, rows: int, what: str) -> int:
    """Empty torch's caches and return half of ``rows`` if memory ran out; raise any other ``error`` again.

    Raises EngineFault where a single row was too much.
    """
    if not ran_out(error):
        raise error
    if rows <= 1:
        raise EngineFault(f"memory ran out with 1 of the {what}: shorten max_total_tokens, or use a larger machine")
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return rows // 2
