"""What each token spells, kept in the run folder, so that transcripts need neither the models nor their tokenizer.

A token may hold a part of a character, so that it is kept as bytes and put together before it is read.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from forewarn.store import read_table, write_table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from forewarn.formats import Channels

VOCABULARY_FILE = "vocabulary.parquet"


def write_vocabulary(root: Path, channels: Channels) -> None:
    """Keep what the study's tokenizer spells, unless it is kept already: a run folder has one tokenizer."""
    path = root / VOCABULARY_FILE
    if path.exists():
        return
    tokenizer = channels.tokenizer
    spelt = [_bytes(channels, token_id) for token_id in range(len(tokenizer))]
    write_table(path, pl.DataFrame({"token_id": range(len(spelt)), "spells": spelt}))


def _bytes(channels: Channels, token_id: int) -> bytes:
    piece = channels.pieces[token_id]
    if all(ord(character) < 256 for character in piece):
        return piece.encode("latin-1")
    return str(channels.tokenizer.convert_ids_to_tokens(token_id)).encode(errors="surrogatepass")  # a control token


def read_vocabulary(root: Path) -> dict[int, bytes] | None:
    """Token id -> its bytes; None where the folder, of an earlier version, keeps none."""
    path = root / VOCABULARY_FILE
    return dict(read_table(path).iter_rows()) if path.exists() else None


def text_of(token_ids: list[int], vocabulary: Mapping[int, bytes] | None) -> str:
    """The text of some tokens; without a vocabulary, and for unknown tokens, their ids in angle brackets."""
    known = vocabulary or {}
    spelt = b"".join(known.get(token_id, f"<{token_id}>".encode()) for token_id in token_ids)
    return spelt.decode(errors="replace")
