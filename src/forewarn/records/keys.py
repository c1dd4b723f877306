"""Keys of content, and seeds that are a function of names alone."""

from __future__ import annotations

import hashlib
import json

KEY_KIND = "whole SHA-256"
"""the version of a run folder's keys; folders of earlier versions, whose keys were cut to 64 bits, do not name one"""
KEY_LENGTH = 64
"""hex digits of a key"""


def content_key(*parts: object) -> str:
    """Return the key of JSON-like parts, a whole SHA-256 digest: equal parts give equal keys in every process.

    It is never shortened, because the measured model writes the programs, and a collision would give one program
    another's verdict.
    """
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def derived_seed(*parts: object) -> int:
    """Return a 63-bit seed that is a function of ``parts`` alone (study seed, cell, stage ...)."""
    return int(content_key("seed", *parts)[:16], 16) >> 1
