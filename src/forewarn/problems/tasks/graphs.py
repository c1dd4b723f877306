"""Tasks on graphs."""

from __future__ import annotations

import random

from forewarn.problems.tasks import draws
from forewarn.problems.tasks.base import Arguments, Slip, Task


def reachable(graph: dict[str, list[str]], start: str) -> set[str]:
    found: set[str] = set()
    waiting = [start]
    while waiting:
        node = waiting.pop()
        if node not in found:
            found.add(node)
            waiting += graph.get(node, [])
    return found


def _graph_and_start(rng: random.Random, size: int) -> Arguments:
    if size <= 1:
        nodes = "".join(rng.sample("abcdef", 3))
        return ({node: [] for node in nodes}, nodes[0])
    graph = draws.graph(rng, "abcdef"[: max(3, min(size, 6))], size + 1)
    if rng.random() < 0.4:
        graph["a"] = ["z", *graph["a"]]
    return (graph, "a")


REACHABLE = Task(
    solve=reachable,
    level=2,
    statement="Give the set of nodes that can be reached from a start node, the start itself included. The graph "
    "maps nodes to the nodes that their edges lead to; a node may be missing from it if no edge starts there.",
    draw=_graph_and_start,
    easy="graphs without edges",
    is_easy=lambda graph, start: not any(graph.values()),
    shortcut="return {start}",
    slips=(
        Slip("a node without an entry is an error", "graph.get(node, [])", "graph[node]"),
        Slip(
            "goes two edges far",
            "",
            """
found = {start}
for _ in range(2):
    found |= {other for node in found for other in graph.get(node, [])}
return found""",
        ),
        Slip("leaves out nodes without an entry", "return found", "return {node for node in found if node in graph}"),
        Slip("the start counts only in a cycle", "return found", "return found if len(found) > 1 else set()"),
    ),
    edges=(
        ({}, "x"),
        ({"a": ["a"]}, "a"),
        ({"a": ["b"]}, "a"),
        ({"a": ["b"], "b": ["c"], "c": ["d"], "d": ["e"]}, "a"),
        ({"a": ["b", "c", "d"]}, "a"),
        ({"a": ["b"], "b": ["a"]}, "b"),
    ),
)


def build_order(needs: dict[str, list[str]]) -> list[str] | None:
    order: list[str] = []
    left = {name: set(others) for name, others in needs.items()}
    while left:
        ready = [name for name in left if not left[name] - set(order)]
        if not ready:
            return None
        order.append(min(ready))
        del left[order[-1]]
    return order


def _needs(rng: random.Random, size: int) -> Arguments:
    nodes = "abcdefg"[: min(size + 1, 7)]
    if size <= 1:
        return ({name: [] for name in rng.sample("abcdef", 2 * size)},)
    graph = draws.graph(rng, nodes, size, forward=True)
    names = list(nodes)
    if rng.random() < 0.6:
        rng.shuffle(names)
    if rng.random() < 0.15:
        graph[nodes[-1]] = [nodes[0]]
    return ({name: graph[name] for name in names},)


BUILD_ORDER = Task(
    solve=build_order,
    level=3,
    statement="Packages are given with the packages that each needs. Give an order in which they can be built, "
    "every one after all that it needs, and always the alphabetically first of those that could come next. None if "
    "there is none, as for packages that need each other.",
    draw=_needs,
    easy="packages that need nothing",
    is_easy=lambda needs: not any(needs.values()),
    shortcut="return sorted(needs)",
    slips=(
        Slip("takes the first in the order given", "min(ready)", "ready[0]"),
        Slip("packages that need each other are left out", "return None", "return order"),
        Slip("a package that needs itself is ready", "left[name] - set(order)", "left[name] - set(order) - {name}"),
        Slip("no packages have no order", "return order", "return order or None"),
    ),
    edges=(
        ({},),
        ({"a": ["b"], "b": ["a"]},),
        ({"a": ["a"]},),
        ({"b": [], "a": []},),
        ({"c": [], "a": ["c"], "d": []},),
        ({"b": [], "a": ["b"], "c": []},),
    ),
)


def components(n: int, edges: list[list[int]]) -> list[list[int]]:
    group = list(range(n))
    for a, b in edges:
        old, new = group[a], group[b]
        group = [new if value == old else value for value in group]
    members: dict[int, list[int]] = {}
    for node in range(n):
        members.setdefault(group[node], []).append(node)
    return list(members.values())


def _n_and_edges(rng: random.Random, size: int) -> Arguments:
    n = rng.randint(0, 30) if size <= 1 else size + 2
    return (n, [] if size <= 1 else draws.edges(rng, n, rng.randint(1, max(1, size - 2))))


COMPONENTS = Task(
    solve=components,
    level=3,
    statement="A graph has the nodes 0 to n - 1 and undirected edges. Give its connected components, each as an "
    "ascending list, in the order of their smallest nodes.",
    draw=_n_and_edges,
    easy="graphs without edges",
    is_easy=lambda n, edges: not edges,
    shortcut="return [[node] for node in range(n)]",
    slips=(
        Slip(
            "an edge moves one node only",
            "group = [new if value == old else value for value in group]",
            "group[a] = new",
        ),
        Slip(
            "joins the neighbours of a node, not theirs",
            "",
            """
seen, found = set(), []
for node in range(n):
    if node not in seen:
        part = sorted({node} | {b for a, b in edges if a == node} | {a for a, b in edges if b == node})
        seen.update(part)
        found.append(part)
return found""",
        ),
        Slip(
            "the largest component comes first",
            "return list(members.values())",
            "return sorted(members.values(), key=len, reverse=True)",
        ),
        Slip("no nodes are one empty component", "list(members.values())", "list(members.values()) or [[]]"),
    ),
    edges=(
        (0, []),
        (4, [[0, 1], [2, 3], [1, 2]]),
        (3, [[1, 2]]),
        (5, [[3, 4], [0, 4]]),
        (9, [[0, 8]]),
        (6, [[0, 1], [2, 3], [4, 5], [0, 5]]),
    ),
)


def two_teams(rivals: list[list[int]]) -> bool:
    side: dict[int, int] = {}
    pairs = rivals + [[b, a] for a, b in rivals]
    for start, _ in pairs:
        waiting = [] if start in side else [start]
        side.setdefault(start, 0)
        while waiting:
            node = waiting.pop()
            for a, b in pairs:
                if a == node and b not in side:
                    side[b] = 1 - side[node]
                    waiting.append(b)
    return all(side[a] != side[b] for a, b in rivals)


def _rivals(rng: random.Random, size: int) -> Arguments:
    if size <= 1:
        pairs = draws.edges(rng, 20, 2 * size)
        return ([[9, 9], *pairs[1:]] if pairs and rng.random() < 0.4 else pairs,)
    return (draws.edges(rng, min(size + 2, 7), rng.randint(size + 1, size + 3)),)


TWO_TEAMS = Task(
    solve=two_teams,
    level=3,
    statement="Pairs of rivals are given by their numbers. Say whether everybody can be put into one of two teams "
    "such that no two rivals are in the same one. Somebody may be his own rival, which no team allows.",
    draw=_rivals,
    easy="lists of at most two pairs",
    is_easy=lambda rivals: len(rivals) <= 2,
    shortcut="return all(a != b for a, b in rivals)",
    slips=(
        Slip(
            "looks for triangles only",
            "",
            """
pairs = {(a, b) for a, b in rivals} | {(b, a) for a, b in rivals}
return not any((a, c) in pairs for a, b in pairs for d, c in pairs if b == d)""",
        ),
        Slip("somebody may be his own rival", "for a, b in rivals)", "for a, b in rivals if a != b)"),
        Slip(
            "the first team takes everybody not met yet",
            "",
            """
side = {}
for a, b in rivals:
    side.setdefault(a, 1 - side[b] if b in side else 0)
    side.setdefault(b, 1 - side[a])
return all(side[a] != side[b] for a, b in rivals)""",
        ),
        Slip("no rivals are no teams", "return all(", "return bool(rivals) and all("),
    ),
    edges=(
        ([],),
        ([[1, 1]],),
        ([[0, 1], [1, 2], [2, 0]],),
        ([[0, 1], [1, 2], [2, 3], [3, 4], [4, 0]],),
        ([[0, 1], [2, 3], [1, 3]],),
        ([[0, 1], [2, 3], [0, 2]],),
        ([[0, 1], [2, 3], [4, 5], [1, 2], [3, 4], [0, 4]],),
    ),
)
