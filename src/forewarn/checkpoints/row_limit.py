"""How long a row this engine takes of a model: its context, or less where its positions change with a row's length.

Rotary embeddings turn keys by frequencies. Some kinds (longrope, dynamic NTK) take other frequencies once the longest
row of a batch passes a length. While a row is sampled the keys cached before that point keep the old ones; when it is
scored all of them get the new ones, and so do the short rows beside it. Rows stay below that length here, so that both
see the same model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from forewarn.errors import ModelError

FIXED = frozenset({"default", "linear", "yarn", "llama3", "proportional"})
"""rope types of transformers whose frequencies are the same at every length"""
SWITCHING = frozenset({"longrope", "dynamic"})
"""those whose frequencies depend on the longest row"""


@dataclass(frozen=True, slots=True)
class RowLimit:
    """The longest row of a model, prompt and completion."""

    tokens: int | None
    """None: the model's configuration sets no limit"""
    why: str = ""
    """what lies beyond it, for the sentence that refuses a longer row; empty: the model's context ends"""


def context_of(config: Any) -> int | None:
    """Positions that a model was made for (tokens); None where its text configuration doesn't say."""
    found = int(getattr(config, "max_position_embeddings", 0) or 0)
    return found if found > 0 else None


def row_limit(config: Any) -> RowLimit:
    """The longest row, from a model's text configuration.

    Raises ModelError for a rope type that is not known here: nothing says whether it depends on the length.
    """
    context = context_of(config)
    limit = RowLimit(context)
    for parameters in _rope_parameters(config):
        kind = str(parameters.get("rope_type") or parameters.get("type") or "default")
        # some architectures scale by length under other types too, and name the factors of long rows
        by_length = kind in SWITCHING or any(str(key).startswith("long_") for key in parameters)
        if kind not in FIXED and not by_length:
            raise ModelError(
                f"the model's positions are of the type {kind!r}, which may change with a row's length: this engine "
                f"knows {', '.join(sorted(FIXED | SWITCHING))}; serve the model with vLLM"
            )
        if not by_length:
            continue
        switch = _switch(config, parameters, kind, context)
        if limit.tokens is None or switch <= limit.tokens:
            limit = RowLimit(switch, f"beyond which its positions ({kind}) change for the whole row")
    return limit


def _switch(config: Any, parameters: Mapping[str, Any], kind: str, context: int | None) -> int:
    original = parameters.get("original_max_position_embeddings")
    original = original or getattr(config, "original_max_position_embeddings", None)
    # transformers' dynamic NTK starts from the context, longrope from the length of the first training
    found = min(
        (int(n) for n in ((original, context) if kind == "dynamic" else (original or context,)) if n), default=0
    )
    if not found:
        raise ModelError(
            f"the model's positions ({kind}) change with a row's length and its configuration doesn't say where: give "
            "original_max_position_embeddings in its rope_parameters"
        )
    return found


def _rope_parameters(config: Any) -> Iterator[Mapping[str, Any]]:
    """The settings of each rotary embedding: one, or one a kind of layer."""
    found = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None)
    if not isinstance(found, Mapping):
        return
    nested = [value for value in found.values() if isinstance(value, Mapping)]
    yield from nested or [found]
