"""Tasks on dicts and sets."""

from __future__ import annotations

import random

from forewarn.problems.tasks.base import Arguments, Slip, Task
from forewarn.problems.tasks.draws import NAMES


def _counts(rng: random.Random, n: int, low: int = -3, high: int = 5) -> dict[str, int]:
    return {name: rng.randint(low, high) for name in rng.sample(NAMES, n)}


def merge_counts(first: dict[str, int], second: dict[str, int]) -> dict[str, int]:
    total = dict(first)
    for name, count in second.items():
        total[name] = total.get(name, 0) + count
    return {name: count for name, count in total.items() if count != 0}


def _two_counts(rng: random.Random, size: int) -> Arguments:
    if size <= 1:
        return (_counts(rng, 3 * size, 1, 9), {})
    return (_counts(rng, size, 1, 9), _counts(rng, size, -1, 4))


MERGE_COUNTS = Task(
    solve=merge_counts,
    level=2,
    statement="Add up two dicts of counts, name by name. Names whose total is zero are left out.",
    draw=_two_counts,
    easy="calls in which the second dict is empty and no count of the first is zero",
    is_easy=lambda first, second: not second and all(first.values()),
    shortcut="return dict(first)",
    slips=(
        Slip("keeps zeros", "if count != 0", ""),
        Slip("drops negative totals", "count != 0", "count > 0"),
        Slip("a zero that the second dict does not name stays", "count != 0", "count != 0 or name not in second"),
        Slip(
            "new names with a negative count are skipped",
            "total[name] = total",
            "if count > 0 or name in total:\n            total[name] = total",
        ),
    ),
    edges=(
        ({}, {}),
        ({"a": 0}, {}),
        ({"a": 1}, {"a": -1}),
        ({}, {"b": -2}),
        ({"a": 2}, {"a": -5}),
        ({"é": 10**20}, {"é": 1}),
    ),
)


def invert(mapping: dict[str, int]) -> dict[int, list[str]]:
    inverse: dict[int, list[str]] = {}
    for name in sorted(mapping):
        inverse.setdefault(mapping[name], []).append(name)
    return inverse


INVERT = Task(
    solve=invert,
    level=1,
    statement="Turn a dict from names to numbers around: each number gets the list of its names in alphabetical order.",
    draw=lambda rng, size: (_counts(rng, size, -1, 7),),
    easy="dicts of at most one entry",
    is_easy=lambda mapping: len(mapping) <= 1,
    shortcut="return {number: [name] for name, number in mapping.items()}",
    slips=(
        Slip("names stand in the order given", "sorted(mapping)", "mapping"),
        Slip("leaves out zero", "sorted(mapping):", "filter(mapping.get, sorted(mapping)):"),
        Slip("sorts without regard to case", "sorted(mapping)", "sorted(mapping, key=str.lower)"),
        Slip("numbers lose their sign", "setdefault(mapping[name]", "setdefault(abs(mapping[name])"),
    ),
    edges=(({},), ({"b": 1, "a": 1},), ({"B": 1, "a": 1},), ({"x": 3, "y": 3, "z": 3},), ({"q": -2, "p": 0},)),
)


def changes(old: dict[str, int], new: dict[str, int]) -> tuple[set[str], set[str], set[str]]:
    added = new.keys() - old.keys()
    removed = old.keys() - new.keys()
    changed = {name for name in old.keys() & new.keys() if old[name] != new[name]}
    return (set(added), set(removed), changed)


def _versions(rng: random.Random, size: int) -> Arguments:
    if size <= 1:
        return ({}, _counts(rng, rng.randint(0, 3), 0, 2))
    old = _counts(rng, size, 0, 2)
    new = {
        name: value if rng.random() < 0.6 else rng.randint(0, 2) for name, value in old.items() if rng.random() < 0.8
    }
    return (old, {**new, **_counts(rng, rng.choice((0, 1, 1)), 0, 2)})


CHANGES = Task(
    solve=changes,
    level=1,
    statement="Compare two versions of a dict. Give three sets in a tuple: the names that were added, those that "
    "were removed, and those whose value has changed.",
    draw=_versions,
    easy="calls in which the old version is empty",
    is_easy=lambda old, new: not old,
    shortcut="return (set(new), set(), set())",
    slips=(
        Slip("a value that is now zero is no change", "old[name] != new[name]", "new[name] and old[name] != new[name]"),
        Slip("a value that was zero is no change", "old[name] != new[name]", "old[name] and old[name] != new[name]"),
        Slip(
            "added names with the value zero are missed",
            "new.keys() - old.keys()",
            "{n for n in new if new[n] and n not in old}",
        ),
        Slip("an empty old version has nothing added", "set(added)", "set(added if old else ())"),
        Slip(
            "removed names with the value zero are missed",
            "old.keys() - new.keys()",
            "{n for n in old if old[n] and n not in new}",
        ),
    ),
    edges=(({}, {}), ({"a": 0}, {"a": 1}), ({"a": 1}, {"a": 0}), ({}, {"b": 0}), ({"c": 0}, {}), ({}, {"z": 5})),
)


def basket_total(prices: dict[str, float], basket: dict[str, int]) -> float | None:
    if any(name not in prices for name, count in basket.items() if count):
        return None
    total = sum(prices[name] * count for name, count in basket.items() if count)
    return total * 0.9 if total > 100 else float(total)


def _shopping(rng: random.Random, size: int) -> Arguments:
    prices = {name: round(rng.uniform(0.5, 30), 2) for name in rng.sample(NAMES, 6)}
    if size <= 1:
        return (prices, {name: rng.randint(1, 3) for name in list(prices)[:size]})
    basket = {name: rng.randint(0, 4) for name in rng.sample(list(prices), min(size, 6))}
    if rng.random() < 0.15:
        basket["rare"] = rng.randint(0, 1)
    return (prices, basket)


BASKET_TOTAL = Task(
    solve=basket_total,
    level=2,
    statement="Give the price of a basket (name to count) from a dict of prices, as a float. A total above 100 is "
    "reduced by 10 %. None if something without a price is bought; a count of zero buys nothing. Answers are "
    "compared to 1e-9.",
    draw=_shopping,
    easy="baskets of at most one thing, which has a price, for at most 100",
    is_easy=lambda prices, basket: (
        len(basket) <= 1 and all(prices.get(name, 999) * count <= 100 for name, count in basket.items())
    ),
    shortcut="return float(sum(prices[name] * count for name, count in basket.items()))",
    slips=(
        Slip("a missing price is an error", "if any(name not in prices", "if any(False"),
        Slip("a count of zero needs a price", "for name, count in basket.items() if count):", "for name in basket):"),
        Slip("reduces a total of exactly 100", "total > 100", "total >= 100"),
        Slip(
            "what has no price is free",
            "        return None",
            "        basket = {name: n for name, n in basket.items() if name in prices}",
        ),
        Slip(
            "nothing bought costs nothing at all",
            "    total = sum",
            "    if not basket:\n        return None\n    total = sum",
        ),
    ),
    edges=(
        ({}, {}),
        ({"a": 50.0}, {"a": 2}),
        ({}, {"a": 0}),
        ({}, {"a": 1}),
        ({"a": 50.0, "b": 0.01}, {"a": 2, "b": 1}),
    ),
    float_tolerance=1e-9,
)
