"""OpenRLHF: ``global_stepN_hf`` with ``--ckpt.save_hf``; it leaves no marker, and writes the tokenizer last."""

from __future__ import annotations

import json
import re
from pathlib import Path

from forewarn.checkpoints.layouts.base import Layout, Spot

_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json")


def tokenizer_lacking(folder: Path) -> str | None:
    """For trainers that save the tokenizer after the weights: what of it is missing or cut short."""
    for name in ("tokenizer_config.json", "tokenizer.json"):
        path = folder / name
        if path.is_file():
            try:
                json.loads(path.read_text())
            except (OSError, ValueError):
                return f"has a {name} that is cut short"
    if not (folder / "tokenizer_config.json").is_file() or not any((folder / name).is_file() for name in _TOKENIZERS):
        return "lacks its tokenizer, which is written last"
    return None


def _unmarked(spot: Spot) -> str | None:
    return tokenizer_lacking(spot.folder)


OPENRLHF = Layout(
    title="OpenRLHF",
    pattern=re.compile(r"global_step(?P<step>\d+)_hf"),
    shown="global_stepN_hf",
    unmarked=_unmarked,
)
