"""What each token id adds to the text, as a function of that id alone; and patterns over such text.

A byte-level BPE may cut ``</think>`` in many ways, so a tag that is text is searched for in the tokens' text, never in
their ids. Text is spelt in a special alphabet: a byte is the character with that number, and a control token is one
character beyond the bytes, so that ordinary text can't spell it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

_ATOM = 0x1000
"""first character of the control tokens; bytes are below 0x100"""
_BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")


@cache
def _byte_of_character() -> Mapping[str, int]:
    """Return the inverse of byte-level BPE's spelling of bytes as characters (Radford et al. 2019)."""
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    spelt = {chr(byte): byte for byte in plain}
    others = [byte for byte in range(256) if byte not in set(plain)]
    return spelt | {chr(256 + i): byte for i, byte in enumerate(others)}


def atom(token_id: int) -> str:
    """Return the character that stands for a control token."""
    return chr(_ATOM + token_id)


def spelt(text: str) -> str:
    """Return text in the alphabet of the pieces."""
    return text.encode(errors="surrogatepass").decode("latin-1")


def text_of(piece: str) -> str:
    """Return the readable text of a piece, without control tokens and with broken characters replaced."""
    return bytes(ord(c) for c in piece if ord(c) < 256).decode("utf-8", errors="replace")


def pattern_of(text: str, control: Mapping[str, int]) -> str:
    """Return ``text``, in which ``control`` tokens are written out, in the alphabet of the pieces."""
    if not control:
        return spelt(text)
    longest_first = sorted(control, key=len, reverse=True)
    parts = re.split("(" + "|".join(map(re.escape, longest_first)) + ")", text)
    return "".join(atom(control[part]) if part in control else spelt(part) for part in parts)


class Pieces:
    """The pieces of a tokenizer's tokens; tokens in ``atoms`` (control and special tokens) are one character each."""

    def __init__(self, tokenizer: Any, atoms: Sequence[int]) -> None:
        self._tokenizer = tokenizer
        self._atoms = frozenset(atoms)
        self._added = {int(i): str(token) for i, token in tokenizer.added_tokens_decoder.items()}
        self._kind = _decoder_kind(tokenizer)
        self._known: dict[int, str] = {}
        self._holding: dict[str, tuple[int, ...]] = {}

    def __getitem__(self, token_id: int) -> str:
        piece = self._known.get(token_id)
        if piece is None:
            piece = self._known[token_id] = self._spell(token_id)
        return piece

    def of(self, token_ids: Sequence[int]) -> str:
        return "".join(map(self.__getitem__, token_ids))

    def holding(self, text: str) -> tuple[int, ...]:
        """The tokens whose piece holds ``text``."""
        if text not in self._holding:
            self._holding[text] = tuple(i for i in range(len(self._tokenizer)) if text in self[i])
        return self._holding[text]

    def _spell(self, token_id: int) -> str:
        if token_id in self._atoms:
            return atom(token_id)
        if token_id in self._added:
            return spelt(self._added[token_id])
        token = self._tokenizer.convert_ids_to_tokens(token_id)
        if token is None:  # models often have more rows than the tokenizer has tokens
            return ""
        if self._kind == "bytes":
            table = _byte_of_character()
            return "".join(chr(table[c]) if c in table else spelt(c) for c in token)
        if self._kind == "sentencepiece":
            byte = _BYTE_TOKEN.fullmatch(token)
            return chr(int(byte.group(1), 16)) if byte else spelt(token.replace("▁", " "))
        return spelt(self._tokenizer.decode([token_id], clean_up_tokenization_spaces=False))


def _decoder_kind(tokenizer: Any) -> str:
    """Say how a tokenizer turns its tokens into text: "bytes", "sentencepiece", or "other" (each token by itself)."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    state = json.loads(backend.decoder.__getstate__()) if backend is not None and backend.decoder is not None else {}
    steps = state.get("decoders", [state])
    kinds = {step.get("type") for step in steps}
    if "ByteLevel" in kinds:
        return "bytes"
    return "sentencepiece" if kinds & {"Metaspace", "ByteFallback"} else "other"


def found_at(pieces: Pieces, token_ids: Sequence[int], pattern: str) -> tuple[int, str] | None:
    """Find the first ``pattern``: the number of tokens that complete it, and the rest of the last token's text.

    Whether it is found within the first i tokens depends on those tokens alone.
    """
    reach = len(pattern) - 1
    tail = ""
    for i, token_id in enumerate(token_ids, start=1):
        tail += pieces[token_id]
        place = tail.find(pattern)
        if place >= 0:
            return i, tail[place + len(pattern) :]
        tail = tail[max(0, len(tail) - reach) :]
    return None


def may_complete(piece: str, pattern: str) -> bool:
    """Return whether a token with this piece can complete the pattern, whatever came before."""
    return pattern in piece or any(piece.startswith(pattern[i:]) for i in range(1, len(pattern)))
