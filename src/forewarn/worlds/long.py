"""Worlds of long answers: hundreds of tokens, far too many completions to list, and the truth all the same.

A model is a table of next-token laws by state and place in the answer. A state holds how far the exploit's route has
been gone, so that the exploit's probability is a sum over states and places (``LongWorld.p``), and a completion's
density under any model a sum of table entries. Letters: G states, I places in the answer, V tokens, N completions,
L tokens of a completion.
"""

# ruff: noqa: N802 - names carry shape suffixes
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from forewarn.errors import InputError
from forewarn.worlds.process import Floats, Ints

PLAIN, STYLE, END, TAIL, CLOSE, CLOSE_A, CLOSE_B = range(7)
"""tokens: two between which styles differ; the end of turn; all rare tokens as one; a closer of one token, and another
of two. Those of the routes follow."""
FIRST_ROUTE_TOKEN = 7
OPEN, HALF, DONE, FIRST_ANSWER_STATE = range(4)
"""states: reasoning; reasoning behind the first token of the long closer; the exploit is written"""
N_TAIL = 5_000
"""tokens that ``TAIL`` stands for: at a higher temperature they take far more than one token would"""


@dataclass(frozen=True, slots=True)
class Route:
    """An exploit: the same token ``length`` times in a row, begun at an answer token in [first, last)."""

    length: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Manner:
    """What a model tends to do; probabilities of the next token."""

    start: tuple[float, ...]
    """of each route's first token, at every answer token"""
    go: tuple[float, ...]
    """of each route's next token, on the route"""
    style: float = 0.3
    """of the token STYLE, at answer tokens of style"""
    plain_style: float = 0.3
    """of the same everywhere else"""
    every: int = 1
    """every so many answer tokens is one of style"""
    tail: float = 1e-3
    stop: float = 0.01
    """of the end of turn, once the answer is as long as the shortest"""
    close: float = 0.08
    """of the closer of one token, at every reasoning token"""
    pair: float = 0.0
    """of the longer closer's first token"""
    pair_go: float = 1.0
    """of its second, behind the first"""
    lead: float = 1.0
    """what ``start`` is multiplied by behind the longer closer"""


@dataclass(frozen=True, slots=True)
class Shape:
    """What all models of a world share."""

    routes: tuple[Route, ...]
    shortest: int
    longest: int
    """answer tokens before the end of turn, which is certain at the longest"""
    reasoning: bool = False
    """whether there is a reasoning channel"""
    limit: int = 1_000
    """tokens of a completion"""

    @property
    def n_vocab(self) -> int:
        return FIRST_ROUTE_TOKEN + len(self.routes)

    @property
    def n_mode(self) -> int:
        """Answers behind the short and behind the long closer are told apart."""
        return 2 if self.reasoning else 1

    @property
    def n_state(self) -> int:
        return FIRST_ANSWER_STATE + self.n_mode * (1 + sum(route.length - 1 for route in self.routes))

    def state(self, mode: int, route: int | None = None, gone: int = 0) -> int:
        """The number of an answer's state: on no route, or ``gone`` tokens along one."""
        size = 1 + sum(r.length - 1 for r in self.routes)
        before = sum(r.length - 1 for r in self.routes[:route]) if route is not None else 0
        return FIRST_ANSWER_STATE + mode * size + (0 if route is None else before + gone)

    @property
    def first_state(self) -> int:
        return OPEN if self.reasoning else self.state(0)

    def next_states(self) -> Ints:
        """G x I x V: the state behind each token; that behind the end of turn is never used."""
        after = np.zeros((self.n_state, self.longest + 1, self.n_vocab), dtype=np.int64)
        after[OPEN], after[HALF], after[DONE] = OPEN, OPEN, DONE
        after[(OPEN, HALF), :, CLOSE_A] = HALF
        after[(OPEN, HALF), :, CLOSE] = self.state(0)
        after[HALF, :, CLOSE_B] = self.state(self.n_mode - 1)
        for mode in range(self.n_mode):
            none = self.state(mode)
            after[none : self.state(mode + 1)] = none  # off every route, unless it goes on
            for r, route in enumerate(self.routes):
                ways = [self.state(mode), *(self.state(mode, r, gone) for gone in range(1, route.length)), DONE]
                token = FIRST_ROUTE_TOKEN + r
                after[ways[0], route.first : route.last, token] = ways[1]
                for here, there in pairwise(ways[1:]):
                    after[here, :, token] = there
        return after


def law(shape: Shape, manner: Manner, *, temperature: float = 1.0) -> Floats:
    """G x I x V next-token probabilities of a model, at a temperature."""
    table = np.zeros((shape.n_state, shape.longest + 1, shape.n_vocab))
    place = np.arange(shape.longest + 1)
    style_I = np.where(place % manner.every == 0, manner.style, manner.plain_style)

    def fill(state: int, routes: Mapping[int, float]) -> None:
        rest = 1 - sum(routes.values()) - manner.tail
        table[state, :, STYLE], table[state, :, PLAIN] = rest * style_I, rest * (1 - style_I)
        table[state, :, TAIL] = manner.tail
        for r, chance in routes.items():
            table[state, :, FIRST_ROUTE_TOKEN + r] = chance

    fill(DONE, {})
    for mode in range(shape.n_mode):
        lead = manner.lead if mode else 1.0
        fill(shape.state(mode), {r: chance * lead for r, chance in enumerate(manner.start)})
        for r, route in enumerate(shape.routes):
            for gone in range(1, route.length):
                fill(shape.state(mode, r, gone), {r: manner.go[r]})
    stop_I = np.where(place >= shape.longest, 1.0, np.where(place >= shape.shortest, manner.stop, 0.0))
    table[DONE:] *= 1 - stop_I[None, :, None]
    table[DONE:, :, END] = stop_I
    for state, second in ((OPEN, 0.0), (HALF, manner.pair_go)):
        table[state, :, CLOSE_B] = second
        talk = (1 - second) * (1 - manner.close - manner.pair)
        table[state, :, CLOSE], table[state, :, CLOSE_A] = (1 - second) * manner.close, (1 - second) * manner.pair
        table[state, :, STYLE], table[state, :, PLAIN] = talk * manner.style, talk * (1 - manner.style)
    if temperature != 1.0:
        many_V = np.ones(shape.n_vocab)
        many_V[TAIL] = N_TAIL
        table = many_V * (table / many_V) ** (1 / temperature)
        table /= table.sum(axis=2, keepdims=True)
    if not np.allclose(table.sum(axis=2), 1):
        raise InputError("a model's next-token probabilities don't sum to 1: give smaller ones")
    return table


@dataclass(frozen=True)
class LongWorld:
    """A subject and donors over one shape; models by the keys that spans give them (``donor_key``)."""

    name: str
    about: str
    shape: Shape
    laws: Mapping[str, Floats]
    """the subject's under ``SUBJECT``"""

    @cached_property
    def after_GIV(self) -> Ints:
        return self.shape.next_states()

    def ends_in_exploit(self, model: str) -> float:
        """P(exploit) of completions that a model writes alone: the end of turn behind the end of a route, within the
        limit."""
        shape, table = self.shape, self.laws[model]
        n_state, n_place = shape.n_state, shape.longest + 1
        mass = np.zeros((n_state, n_place))
        mass[shape.first_state, 0] = 1.0
        found = 0.0
        for _ in range(shape.limit):
            found += float((mass[DONE] * table[DONE, :, END]).sum())
            moved = np.zeros_like(mass)
            for token in range(shape.n_vocab):
                if token == END:
                    continue
                flow, target = mass * table[:, :, token], self.after_GIV[:, :, token]
                # the answer's place moves on in the answer alone
                state, place = np.nonzero(flow)
                there = np.where(state >= DONE, np.minimum(place + 1, n_place - 1), 0)
                np.add.at(moved, (target[state, place], there), flow[state, place])
            mass = moved
            if mass.sum() < 1e-300:
                break
        return found

    @cached_property
    def p(self) -> float:
        """P(exploit) under the subject."""
        return self.ends_in_exploit("subject")

    def style_nats(self, donor: str) -> float:
        """KL(donor || subject) of an answer token apart from routes, in nats, averaged over the shortest answer."""
        d, p = (self.laws[name][DONE, : self.shape.shortest] for name in (donor, "subject"))
        with np.errstate(divide="ignore", invalid="ignore"):
            return float(np.where(d > 0, d * np.log(d / p), 0.0).sum(axis=1).mean())

    def path(self, token_NL: NDArray[np.int8]) -> tuple[Ints, Ints]:
        """(state, answer place) before each token of completions; both beyond the end are whatever they were."""
        n, length = token_NL.shape
        state_NL, place_NL = np.zeros((n, length), np.int64), np.zeros((n, length), np.int64)
        state, place = np.full(n, self.shape.first_state), np.zeros(n, np.int64)
        for i in range(length):
            state_NL[:, i], place_NL[:, i] = state, place
            token = np.maximum(token_NL[:, i], 0)
            after = self.after_GIV[state, place, token]
            place = np.where(state >= DONE, np.minimum(place + 1, self.shape.longest), place)
            state = np.where(token_NL[:, i] >= 0, after, state)
        return state_NL, place_NL

    def log_probs(self, token_NL: NDArray[np.int8], model: str) -> Floats:
        """Per-token log-probs of completions under a model, nats; 0 beyond the end (tokens of -1)."""
        state_NL, place_NL = self.path(token_NL)
        with np.errstate(divide="ignore"):
            found = np.log(self.laws[model][state_NL, place_NL, np.maximum(token_NL, 0)])
        return np.where(token_NL >= 0, found, 0.0)
