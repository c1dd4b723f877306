"""Tasks on weighted graphs."""

from __future__ import annotations

import random

from forewarn.problems.tasks import draws
from forewarn.problems.tasks.base import Arguments, Slip, Task


def distances(roads: dict[str, dict[str, int]], start: str) -> dict[str, int]:
    found: dict[str, int] = {}
    waiting = {start: 0}
    while waiting:
        place = min(waiting, key=lambda name: (waiting[name], name))
        found[place] = waiting.pop(place)
        for other, length in roads.get(place, {}).items():
            if other not in found:
                waiting[other] = min(waiting.get(other, found[place] + length), found[place] + length)
    return found


def _roads(rng: random.Random, size: int) -> Arguments:
    if size <= 1:
        return ({name: {} for name in rng.sample("abcdef", 3 * size)}, rng.choice("abcdef"))
    nodes = "abcdef"[: max(3, min(size, 6))]
    graph = draws.graph(rng, nodes, 2 * size)
    return ({a: {b: rng.randint(1, 12) for b in others} for a, others in graph.items()}, "a")


DISTANCES = Task(
    solve=distances,
    level=4,
    statement="Roads are given as {place: {other place: length}}, each in one direction. Give the length of the "
    "shortest way from the start to every place that can be reached, the start included.",
    draw=_roads,
    easy="maps without roads",
    is_easy=lambda roads, start: not any(roads.values()),
    shortcut="return {start: 0}",
    slips=(
        Slip("a place without roads is an error", "roads.get(place, {})", "roads[place]"),
        Slip(
            "keeps the first way found",
            "min(waiting.get(other, found[place] + length), found[place] + length)",
            "waiting.get(other, found[place] + length)",
        ),
        Slip(
            "keeps the last way found",
            "min(waiting.get(other, found[place] + length), found[place] + length)",
            "found[place] + length",
        ),
        Slip("nowhere to go gives an empty dict", "return found", "return found if len(found) > 1 else {}"),
    ),
    edges=(
        ({}, "q"),
        ({"a": {"b": 9, "c": 1}, "c": {"b": 2}}, "a"),
        ({"a": {"b": 1}}, "a"),
        ({"a": {"b": 30}, "b": {}}, "a"),
        ({"a": {"c": 2, "b": 1}, "b": {"c": 9}, "c": {}}, "a"),
    ),
)


def spanning_cost(cables: list[list[int]]) -> int | None:
    houses = {house for a, b, _ in cables for house in (a, b)}
    group = {house: house for house in houses}
    total = joined = 0
    for a, b, cost in sorted(cables, key=lambda cable: cable[2]):
        old, new = group[a], group[b]
        if old != new:
            group = {house: new if value == old else value for house, value in group.items()}
            total, joined = total + cost, joined + 1
    return total if joined >= len(houses) - 1 else None


def _cables(rng: random.Random, size: int) -> Arguments:
    n = 2 if size <= 1 else min(size + 1, 6)
    tree = [[rng.randrange(node), node, rng.randint(1, 20)] for node in range(1, n)] if size else []
    extra = [[*edge, rng.randint(1, 20)] for edge in draws.edges(rng, n, size if size > 1 else 0)]
    if size > 2 and rng.random() < 0.2:
        extra.append([90, 91, 5])
    cables = tree + extra
    rng.shuffle(cables)
    return (cables,)


SPANNING_COST = Task(
    solve=spanning_cost,
    level=4,
    statement="Possible cables are given as [house, other house, cost]. Give the lowest cost at which all the "
    "houses named are connected with each other, or None if the cables can't do it. Without cables it costs 0.",
    draw=_cables,
    easy="lists of at most one cable",
    is_easy=lambda cables: len(cables) <= 1,
    shortcut="return sum(cost for _, _, cost in cables)",
    slips=(
        Slip(
            "does not see that houses stay apart", "return total if joined >= len(houses) - 1 else None", "return total"
        ),
        Slip("no cables connect nothing", "return total if", "return total if houses and"),
        Slip("no way is -1", "else None", "else -1"),
        Slip(
            "counts houses up to the largest number",
            "len(houses) - 1 else",
            "max(houses, default=0) - min(houses, default=0) else",
        ),
    ),
    edges=(
        ([],),
        ([[1, 2, 5], [3, 4, 5]],),
        ([[1, 2, 3], [2, 1, 1]],),
        ([[1, 2, 3], [2, 9, 4]],),
        ([[0, 1, 5], [5, 9, 1]],),
        ([[0, 1, 1], [1, 2, 1], [0, 2, 1], [0, 2, 2], [0, 1, 2], [1, 2, 2], [2, 3, 9]],),
    ),
)
