"""open-instruct: ``<output_dir>_checkpoints/step_N``, a model in Hugging Face form with a marker of its own."""

from __future__ import annotations

import re

from forewarn.checkpoints.layouts.base import Layout, Spot

MARKER = ".checkpoint_complete"


def _unmarked(spot: Spot) -> str | None:
    return None if (spot.folder / MARKER).is_file() else f"lacks {MARKER}"


OPEN_INSTRUCT = Layout(
    title="open-instruct",
    pattern=re.compile(r"step_(?P<step>\d+)"),
    shown="<output_dir>_checkpoints/step_N",
    under=re.compile(r".*_checkpoints"),
    unmarked=_unmarked,
)
