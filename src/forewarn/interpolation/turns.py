"""Whose turn it is: who writes the next token of a completion under its span, and for how many tokens at most.

A function of the tokens so far, and for random windows of draws that are independent of them (``estimation/windows.py``
sums over these draws by the same rule).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from forewarn.estimation.windows import hazards
from forewarn.formats import Channels, anchor_starts
from forewarn.records import RandomWindows, Span
from forewarn.records.spans import Anchor


@dataclass(frozen=True, slots=True)
class Turn:
    """Who goes on, and when to ask again."""

    donor: bool
    limit: int | None
    """tokens after which to ask again; None: as many as there is room for"""
    through: bool
    """may the writer pass the end of the reasoning"""
    anchor: Anchor | None
    """whose tokens the writer has to stop at"""


@dataclass(slots=True)
class Bursts:
    """The draws of one completion's random windows, made one by one as the completion grows."""

    rule: RandomWindows
    rng: np.random.Generator
    most: int
    """tokens of a completion at most"""
    left: int
    """bursts not begun"""
    writing: int = 0
    """tokens that the donor has still to write"""
    start: int | None = None
    """the place at which the next burst begins; None: not drawn"""

    def next_start(self, place: int) -> int | None:
        """The place of the next burst, ``place`` being the first that is left; None where there is none."""
        if self.start is None and self.left:
            left = np.arange(place, min(self.rule.starts, place + self.most))  # what lies beyond is never reached
            begins = self.rng.random(len(left)) < hazards(self.rule, left, np.array([self.left]))[:, 0]
            if begins.any():
                self.start = int(left[int(np.argmax(begins))])
            else:
                self.left = 0
        return self.start

    def begin(self) -> None:
        self.left, self.start = self.left - 1, None
        fixed = self.rule.length == "fixed"
        self.writing = int(self.rule.mean) if fixed else int(self.rng.geometric(1 / self.rule.mean))


@dataclass(slots=True)
class Hand:
    """A span's rule for one completion."""

    span: Span
    channels: Channels
    entry_point: str | None
    bursts: Bursts | None = None

    @classmethod
    def of(cls, span: Span, channels: Channels, entry_point: str | None, *, most: int, seed: int) -> Hand:
        """The rule of a completion of ``most`` tokens at most; ``seed``: of its draws."""
        random = span.random
        bursts = None if random is None else Bursts(random, np.random.default_rng(seed), most, random.bursts)
        return cls(span, channels, entry_point, bursts)

    def turn(self, ids: Sequence[int], n_reasoning: int | None) -> Turn:
        """Whose turn it is after ``ids``. ``n_reasoning``: None while the reasoning is open."""
        channel = "reasoning" if n_reasoning is None else "answer"
        bursts, span = self.bursts, self.span
        if bursts is not None and bursts.rule.channel in (channel, "all"):
            donor, limit, anchor = self._random(ids, n_reasoning, bursts)
            whole = bursts.rule.channel == "all" and anchor is None  # a line begins where the answer opens
        else:
            low, high = (span.k0, span.k) if n_reasoning is None else (span.m0, span.m)
            donor, limit, anchor = self._fixed(ids, n_reasoning, low, high)
            whole = False
        # the subject goes through into the answer in one go where the donor writes none of it: its reasoning is
        # found in the ids afterwards; otherwise it has to stop where the channel may have closed
        through = channel == "answer" or whole or (not donor and not self._in_answer())
        return Turn(donor, limit, through, anchor)

    def wrote(self, donor: bool, n: int) -> None:
        """Be told what was written."""
        if donor and self.bursts is not None and self.bursts.writing:
            self.bursts.writing -= n

    def _in_answer(self) -> bool:
        return self.span.m > 0 or (self.bursts is not None and self.bursts.rule.channel != "reasoning")

    def _fixed(
        self, ids: Sequence[int], n_reasoning: int | None, low: int, high: int
    ) -> tuple[bool, int | None, Anchor | None]:
        if not high:
            return False, None, None
        count = self._count(ids, n_reasoning, n_reasoning or 0)
        if count is None:
            return False, None, self.span.anchor
        again = self.span.anchor if self.span.anchor == "line" else None  # the count may start again
        if count < low:
            return False, low - count, again
        return (True, high - count, again) if count < high else (False, None, again)

    def _random(
        self, ids: Sequence[int], n_reasoning: int | None, bursts: Bursts
    ) -> tuple[bool, int | None, Anchor | None]:
        if bursts.writing:
            return True, bursts.writing, None
        first = 0 if bursts.rule.channel == "all" else n_reasoning or 0
        by_line = self.span.anchor == "line"
        if by_line:
            lines = [at for at in self._starts(ids, n_reasoning) if at >= first]
            here = lines[-1] == len(ids)
            place: int | None = len(lines) - 1 if here else len(lines)
        else:
            place, here = self._count(ids, n_reasoning, first), True
        start = bursts.next_start(place or 0)
        if start is None:
            return False, None, None
        if place is None:
            return False, None, self.span.anchor
        if start == place and here:
            bursts.begin()
            return True, bursts.writing, None
        return (False, None, "line") if by_line else (False, start - place, None)

    def _starts(self, ids: Sequence[int], n_reasoning: int | None) -> Sequence[int]:
        assert self.span.anchor is not None
        return anchor_starts(self.channels, ids, n_reasoning, self.span.anchor, self.entry_point)

    def _count(self, ids: Sequence[int], n_reasoning: int | None, first: int) -> int | None:
        """Tokens between the last start of the count and the next token; None before the first start."""
        if self.span.anchor is None:
            return len(ids) - first
        starts = [at for at in self._starts(ids, n_reasoning) if at >= first]
        return len(ids) - starts[-1] if starts else None
