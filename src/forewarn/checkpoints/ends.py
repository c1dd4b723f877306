"""The tokens with which a model ends its turn, as its own files say: what ``generate`` would stop at.

Which of them end a turn in a study is the chat format's affair (``channels.bind``).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from forewarn.checkpoints.hub import local_folder

GENERATION_CONFIG = "generation_config.json"


def model_ends(folders: Iterable[str | Path]) -> tuple[int, ...]:
    """End tokens of the models in ``folders`` (or of these hub names), each once, in their order.

    As in transformers, ``generation_config.json`` says them, and ``config.json`` where that file is missing or silent.
    """
    found: dict[int, None] = {}
    for folder in dict.fromkeys(map(str, folders)):
        found |= dict.fromkeys(_ends_in(local_folder(folder)))
    return tuple(found)


def _ends_in(folder: Path) -> list[int]:
    config = _read(folder / "config.json")
    for part in (_read(folder / GENERATION_CONFIG), config, config.get("text_config")):
        said = part.get("eos_token_id") if isinstance(part, dict) else None
        ids = [one for one in (said if isinstance(said, list) else [said]) if isinstance(one, int)]
        if ids:
            return [one for one in ids if one >= 0]
    return []


def _read(path: Path) -> dict[str, Any]:
    """A JSON object; empty where there is none, which loading the model refuses in a better sentence."""
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
