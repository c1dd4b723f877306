"""Small random inputs that several tasks share."""

from __future__ import annotations

import random
from collections.abc import Sequence

LETTERS = "abcdefghij"
NAMES = ("ada", "bo", "cem", "dia", "eve", "finn", "gus", "hana", "ivo", "jun")


def integers(rng: random.Random, n: int, low: int = -9, high: int = 20) -> list[int]:
    """Draw ``n`` integers from ``low`` to ``high``."""
    return [rng.randint(low, high) for _ in range(n)]


def word(rng: random.Random, n: int, letters: str = LETTERS) -> str:
    return "".join(rng.choice(letters) for _ in range(n))


def words(rng: random.Random, n: int, longest: int = 6) -> list[str]:
    return [word(rng, rng.randint(1, longest)) for _ in range(n)]


def some(rng: random.Random, pool: Sequence[str], n: int) -> list[str]:
    """Draw ``n`` items of ``pool``, with repeats."""
    return [rng.choice(pool) for _ in range(n)]


def grid(rng: random.Random, rows: int, columns: int, cells: str) -> list[str]:
    """Draw rows of text."""
    return [word(rng, columns, cells) for _ in range(rows)]


def graph(rng: random.Random, nodes: str, n_edges: int, *, forward: bool = False) -> dict[str, list[str]]:
    """Draw a graph as a map from nodes to successors; ``forward``: only to later nodes, so that it has no cycle."""
    graph: dict[str, list[str]] = {node: [] for node in nodes}
    for _ in range(n_edges):
        a, b = sorted(rng.sample(nodes, 2)) if forward else rng.sample(nodes, 2)
        if b not in graph[a]:
            graph[a].append(b)
    return graph


def edges(rng: random.Random, n_nodes: int, n_edges: int) -> list[list[int]]:
    return [sorted(rng.sample(range(n_nodes), 2)) for _ in range(n_edges)]
