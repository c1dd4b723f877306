"""Tasks that sort into dicts and look things up."""

from __future__ import annotations

import random

from forewarn.problems.tasks.base import Arguments, Slip, Task
from forewarn.problems.tasks.draws import some, words
from forewarn.problems.tasks.draws import word as draw_word


def word_places(words: list[str]) -> dict[str, list[int]]:
    places: dict[str, list[int]] = {}
    for place, word in enumerate(words):
        if word:
            places.setdefault(word.lower(), []).append(place)
    return places


def _mixed_words(rng: random.Random, size: int) -> Arguments:
    pool = ("a", "to", "be", "or", "A", "To", "not", "", "ünder")
    if size <= 1:
        return (words(rng, size),)
    return (some(rng, pool[: rng.choice((4, 4, 6, 9))], rng.randint(size, 2 * size)),)


WORD_PLACES = Task(
    solve=word_places,
    level=1,
    statement="Map each word of a list, in lower case, to the places (from 0) where it stands. Empty words are left "
    "out.",
    draw=_mixed_words,
    easy="lists of at most one word, which is in lower case",
    is_easy=lambda words: len(words) <= 1 and all(word and word.islower() for word in words),
    shortcut="return {word: [0] for word in words}",
    slips=(
        Slip("case matters", "word.lower()", "word"),
        Slip("keeps empty words", "if word:", "if word is not None:"),
        Slip("empty words don't count as places", "enumerate(words)", "enumerate(w for w in words if w)"),
        Slip(
            "an empty word ends the text",
            "            places.setdefault(word.lower(), []).append(place)",
            "            places.setdefault(word.lower(), []).append(place)\n        else:\n            break",
        ),
    ),
    edges=(([],), ([""],), (["Be", "be"],), (["", "a"],), (["to"] * 12,), (["A"],)),
)


def names_by_length(words: list[str]) -> dict[int, set[str]]:
    groups: dict[int, set[str]] = {}
    for word in words:
        stripped = word.strip()
        if stripped:
            groups.setdefault(len(stripped), set()).add(stripped)
    return groups


def _spaced_words(rng: random.Random, size: int) -> Arguments:
    found = words(rng, size, 4)
    if size > 1:
        found[1] = draw_word(rng, len(found[0]))
    if size > 2:
        found += some(rng, (" a", "bb ", "  ", "ccc", "abc"), rng.choice((0, 0, 1, 2)))
    return (found,)


NAMES_BY_LENGTH = Task(
    solve=names_by_length,
    level=2,
    statement="Map each length to the set of the words of that length. White space around a word does not belong to "
    "it, and a word of nothing else is left out.",
    draw=_spaced_words,
    easy="lists of at most one word without spaces",
    is_easy=lambda words: len(words) <= 1 and all(word and word == word.strip() for word in words),
    shortcut="return {len(word): {word} for word in words}",
    slips=(
        Slip("white space counts", "word.strip()", "word"),
        Slip("the empty word has length 0", "if stripped:", "if stripped is not None:"),
        Slip("the length is taken before stripping", "len(stripped)", "len(word)"),
        Slip("strips the right side only", "word.strip()", "word.rstrip()"),
    ),
    edges=(([],), (["  "],), ([" a", "a"],), (["b ", "b"],), (["", "x"],), (["日本", "ab"],)),
)


def look_up(tree: dict[str, object], path: list[str]) -> object:
    node: object = tree
    for key in path:
        if not isinstance(node, dict) or key not in node:
            return None
        node = node[key]
    return node


def _tree(rng: random.Random, depth: int) -> dict[str, object]:
    leaves: tuple[object, ...] = (1, 2.5, "x", None, [1, 2], True, {})
    return {
        key: _tree(rng, depth - 1) if depth > 1 and rng.random() < 0.6 else rng.choice(leaves)
        for key in rng.sample("abcd", 3)
    }


def _tree_and_path(rng: random.Random, size: int) -> Arguments:
    tree = _tree(rng, 3)
    if size <= 1:
        return (tree, [])
    node: object = tree
    path: list[str] = []
    while isinstance(node, dict) and node and len(path) < size:
        path.append(rng.choice([*node, "e"]) if rng.random() < 0.2 else rng.choice(list(node)))
        node = node.get(path[-1])
    return (tree, [*path, "a"] if rng.random() < 0.15 else path)


LOOK_UP = Task(
    solve=look_up,
    level=2,
    statement="Follow a path of keys into a nested dict and give what is there, or None where the path leads "
    "nowhere, be it that a key is missing or that it goes on below something that is no dict. An empty path gives "
    "the whole dict.",
    draw=_tree_and_path,
    easy="empty paths",
    is_easy=lambda tree, path: not path,
    shortcut="return tree",
    slips=(
        Slip("a missing key is an error", "or key not in node", ""),
        Slip("goes on below what is no dict", "not isinstance(node, dict) or ", ""),
        Slip("an empty dict counts as nothing", "return node", "return node if node != {} else None"),
        Slip("an empty path leads nowhere", "return node", "return node if path else None"),
        Slip("a missing key gives an empty dict", "return None", "return {}"),
    ),
    edges=(
        ({}, []),
        ({"a": {}}, ["a"]),
        ({"a": 1}, ["a", "b"]),
        ({"a": {"b": {"c": [1]}}}, ["a", "b", "c"]),
        ({"a": "text"}, ["a", "text"]),
        ({"a": None}, ["b"]),
        ({"a": {"x": 0}}, ["a", "y"]),
        ({"b": True}, []),
    ),
)
