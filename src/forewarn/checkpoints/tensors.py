"""Files of weights: whether one is whole, and the shapes of its tensors, by its header alone."""

from __future__ import annotations

import json
import struct
import zipfile
from pathlib import Path
from typing import Any

from forewarn.errors import HalfWrittenError

_METADATA = "__metadata__"
"""the entry of a safetensors header that is not a tensor"""


def check_weights(path: Path) -> None:
    """Raise HalfWrittenError where a file of weights is cut short (half-written, half-copied). Hashes nothing."""
    if path.suffix == ".safetensors":
        _whole_header(path)
    elif path.suffix == ".bin" and not zipfile.is_zipfile(path):
        raise HalfWrittenError(
            f"{path} is not a complete file in torch's format; copy it again, or save the model as safetensors"
        )


def tensor_shapes(path: Path) -> dict[str, list[int]]:
    """Name -> shape of the floating-point tensors of a safetensors file; empty for any other format.

    Raises HalfWrittenError as ``check_weights`` does.
    """
    if path.suffix != ".safetensors":
        return {}
    return {name: list(entry["shape"]) for name, entry in _whole_header(path).items() if "F" in entry["dtype"]}


def _whole_header(path: Path) -> dict[str, Any]:
    """The tensors' entries in the header of a safetensors file that is as long as they say."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        head = file.read(8)
        n_header = struct.unpack("<Q", head)[0] if len(head) == 8 else size
        if n_header > size - 8:
            raise HalfWrittenError(f"{path} is cut short at {size} bytes; copy it again")
        try:
            tensors = {name: entry for name, entry in json.loads(file.read(n_header)).items() if name != _METADATA}
            end = max((int(entry["data_offsets"][1]) for entry in tensors.values()), default=0)
        except (ValueError, TypeError, KeyError, IndexError, AttributeError):  # no JSON, or of another shape
            raise HalfWrittenError(f"{path} has no readable header; copy it again") from None
    if 8 + n_header + end != size:
        raise HalfWrittenError(f"{path} holds {size} bytes but its header asks for {8 + n_header + end}; copy it again")
    return tensors
