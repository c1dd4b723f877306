"""When memory runs out: a batch half as large, down to one row."""

from __future__ import annotations

import gc

import torch

from forewarn.errors import EngineFault


def ran_out(error: RuntimeError) -> bool:
    """Did memory run out? (On a CPU torch raises a plain RuntimeError.)"""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def halved(error: RuntimeError, rows: int, what: str) -> int:
    """Half of ``rows`` where ``error`` says that memory ran out, its caches emptied; any other error goes on.

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
