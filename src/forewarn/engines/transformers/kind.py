"""The reference engine as ``ENGINES`` knows it; torch is imported when it is opened."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forewarn.checkpoints.load import check_device, longest_row
from forewarn.engines.kind import EngineKind, Opening, RowRule

if TYPE_CHECKING:
    from forewarn.engines.base import Engine


def _open(opening: Opening) -> Engine:
    import torch

    from forewarn.engines.transformers.engine import HFEngine

    return HFEngine.from_folder(
        opening.folder,
        dtype=getattr(torch, opening.dtype),
        device=opening.device,
        batch_size=opening.batch_size,
    )


TRANSFORMERS = EngineKind(
    title="transformers",
    asked_by="transformers",
    open=_open,
    rows=RowRule(longest_row, remedy="or use the vllm engine, which keeps to one kind of positions"),
    check_device=check_device,
)
