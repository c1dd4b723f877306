"""Which tokens end a turn: the format's own, and those that the model's configuration names.

``checkpoints/ends.py`` reads a model's configuration.
"""

from __future__ import annotations

from collections.abc import Sequence

from forewarn.formats.families import ChannelFormat


def format_ends(form: ChannelFormat, ids: dict[str, int]) -> tuple[int, ...]:
    """Return the format's own end tokens, in its order."""
    return tuple(ids[token] for token in form.end_of_turn)


def sorted_ends(
    form: ChannelFormat, ids: dict[str, int], ends: Sequence[int], n_tokens: int
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the model's ends that the format doesn't name, and those that can't end a turn of it."""
    own_turn = "".join((form.open_reasoning, form.closer, form.no_reasoning, form.opener, form.answer_lead))
    inside = {token_id for token, token_id in ids.items() if token in own_turn}
    named = format_ends(form, ids)
    others = [token_id for token_id in dict.fromkeys(ends) if token_id not in named]
    extra = tuple(i for i in others if i not in inside and i < n_tokens)
    return extra, tuple(i for i in others if i not in extra)
