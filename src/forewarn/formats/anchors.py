"""Anchors: places in the text so far from which a span's windows are counted.

Whether a count starts at a token is a function of the tokens before it, so that a donor may take over there and the
density stays a product over writers.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from forewarn.errors import InputError
from forewarn.formats.bound import Channels
from forewarn.records.spans import Anchor

ENDS_WITH: dict[Anchor, str] = {"line": "\n", "code": "\n", "body": ":"}
"""what the token before an anchor spells: where a writer has to stop to see whether a count starts"""
_FENCE = re.compile(r"(?:`{3,}|~{3,})[^\n]*\n")
_OPENING, _CLOSING = "([{", ")]}"


def anchor_starts(
    channels: Channels,
    token_ids: Sequence[int],
    n_reasoning: int | None,
    anchor: Anchor,
    entry_point: str | None = None,
) -> tuple[int, ...]:
    """The tokens of a completion so far at which a count from ``anchor`` starts, in order; the next token, of number
    ``len(token_ids)``, may be one of them.

    ``n_reasoning``: None while the reasoning is open. ``entry_point``: the function whose body "body" is; InputError
    where it is asked for and not given.
    """
    if anchor == "body" and entry_point is None:
        raise InputError("the anchor 'body' needs the problem's entry point, and none is given")
    sign, pieces = ENDS_WITH[anchor], channels.pieces
    behind = [i + 1 for i, token_id in enumerate(token_ids) if sign in pieces[token_id]]
    if anchor == "line":
        opens = {0} if n_reasoning is None else {0, n_reasoning}
        return tuple(sorted(opens.union(behind)))
    if n_reasoning is None:
        return ()
    text, done = channels.beyond_closer(token_ids, n_reasoning), n_reasoning
    for at in behind:
        if at > n_reasoning:
            text, done = text + pieces.of(token_ids[done:at]), at
            if _reached(anchor, text, entry_point):
                return (at,)
    return ()


def anchor_ids(channels: Channels, anchor: Anchor) -> tuple[int, ...]:
    """The tokens after which a count from ``anchor`` may start: where a writer has to stop to see whether it does.

    InputError where the tokenizer has none of them.
    """
    ids = channels.pieces.holding(ENDS_WITH[anchor])
    if not ids:
        raise InputError(
            f"the anchor {anchor!r} can never occur: no token of the tokenizer holds {ENDS_WITH[anchor]!r}; give "
            "another anchor, or none"
        )
    return ids


def _reached(anchor: Anchor, text: str, entry_point: str | None) -> bool:
    if anchor == "code":
        return _FENCE.search(text) is not None
    assert entry_point is not None
    found = re.search(rf"\bdef[ \t]+{re.escape(entry_point)}[ \t]*\(", text)
    return found is not None and _header_ended(text[found.end() - 1 :])


def _header_ended(text: str) -> bool:
    """Whether a colon outside of brackets follows a definition's opening bracket, with which the text begins."""
    depth = 0
    for character in text:
        depth += (character in _OPENING) - (character in _CLOSING)
        if character == ":" and depth <= 0:
            return True
    return False
