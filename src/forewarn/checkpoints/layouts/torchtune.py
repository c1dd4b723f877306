"""torchtune: ``epoch_N`` in Hugging Face form, ``dist_epoch_N`` as DCP.

It counts epochs, and the number is taken as it is.
"""

from __future__ import annotations

import re

from forewarn.checkpoints.layouts.base import Layout, Spot

METADATA = ".metadata"


def _metadata(spot: Spot) -> str | None:
    return None if (spot.folder / METADATA).is_file() else f"lacks {METADATA}"


TORCHTUNE = Layout(
    title="torchtune",
    pattern=re.compile(r"epoch_(?P<step>\d+)"),
    shown="epoch_N",
    by_epoch=True,
)
TORCHTUNE_DCP = Layout(
    title="torchtune (DCP)",
    pattern=re.compile(r"dist_epoch_(?P<step>\d+)"),
    shown="dist_epoch_N",
    weights_in=(),
    unmarked=_metadata,
    shards=("*.distcp",),
    by_epoch=True,
)
