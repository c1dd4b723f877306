"""What it costs to build the sets and dicts of a value: members that share a hash are compared with each other."""

from __future__ import annotations

import collections
import operator
from collections.abc import Hashable, Sequence

_MAX_COLLIDING = 16
"""members of a set or keys of a dict that share a hash, however small it is, since a message may contain thousands of
sets. Honest data has two or three such members, for example -1 and -2"""
_CHARACTERS_AT_ONCE = 64
"""characters that are compared in about the time of two numbers"""


class CollisionsError(ValueError):
    """Members that share a hash would take too long to compare."""


class Comparisons:
    """The budget for comparing members of sets that share a hash, over all sets of a value. The unit is the time to
    compare two numbers."""

    __slots__ = ("left",)

    def __init__(self, most: int) -> None:
        self.left = most

    def spend(self, members: Sequence[Hashable], costs: Sequence[int]) -> int:
        """Return an upper bound on the cost of comparing a set of these members with one of the same hash: each member
        with all that share its hash. Building the set costs no more. Raises ``CollisionsError`` if that is too much.

        ``costs``: of comparing each member with one of the same hash.
        """
        plain = sum(costs)
        if len(members) < 2:
            return 1 + plain
        hashes = list(map(hash, members))
        if len(set(hashes)) == len(hashes):
            return 1 + plain
        sharing = collections.Counter(hashes)
        if max(sharing.values()) > _MAX_COLLIDING:
            raise CollisionsError("members that collide")
        cost: int = sum(map(operator.mul, costs, map(sharing.__getitem__, hashes)))
        self.left -= cost - plain
        if self.left < 0:
            raise CollisionsError("members that collide, and take long to compare")
        return 1 + cost


def text_cost(text: str) -> int:
    """What it costs to compare a text, or the hex digits of a number or of bytes, with another."""
    return 1 + len(text) // _CHARACTERS_AT_ONCE
