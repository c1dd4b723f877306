"""Samples from worlds of long answers, all completions of all spans at once, a token of each at a time.

The writers switch as ``interpolation/turns.py`` has them switch; written for arrays, so that one can be held against
the other. Letters: N completions, S spans, L tokens.
"""

# ruff: noqa: N815 - fields carry shape suffixes
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forewarn.errors import InputError
from forewarn.estimation import span_log_ratios
from forewarn.records import SUBJECT, Span
from forewarn.records.spans import donor_key
from forewarn.worlds.long import DONE, END, LongWorld
from forewarn.worlds.process import Floats, Ints

Bools = NDArray[np.bool_]
_CHANNEL = {"reasoning": 0, "answer": 1, "all": 2}
_NO_CHANNEL = 3
_TIDY = 16
"""steps after which completions that ended are put aside"""


@dataclass(frozen=True, slots=True)
class LongDraws:
    """Completions of a long world."""

    token_NL: NDArray[np.int8]
    """-1 beyond the end"""
    donor_NL: Bools
    """whether the donor wrote the token"""
    n_reasoning_N: Ints
    span_N: Ints
    is_exploit_N: Bools


class _Rows:
    """Completions that are being written, as arrays of one entry a completion."""

    def __init__(self, world: LongWorld, spans: Sequence[Span], span_N: Ints, models: Sequence[str]) -> None:
        if any(span.anchor is not None for span in spans):
            raise InputError("long worlds have no text: give spans without an anchor")
        random = [span.random for span in spans]

        def of_span(values: Sequence[float]) -> NDArray[np.int64]:
            return np.array(values, dtype=np.int64)[span_N]

        self.number = np.arange(len(span_N))
        self.model = of_span([models.index(donor_key(span)) if span.writes else 0 for span in spans])
        self.k0, self.k = of_span([span.k0 for span in spans]), of_span([span.k for span in spans])
        self.m0, self.m = of_span([span.m0 for span in spans]), of_span([span.m for span in spans])
        self.channel = of_span([_NO_CHANNEL if r is None else _CHANNEL[r.channel] for r in random])
        self.starts = of_span([0 if r is None else r.starts for r in random])
        self.left = of_span([0 if r is None else r.bursts for r in random])
        self.fixed = np.array([r is not None and r.length == "fixed" for r in random])[span_N]
        self.mean = np.array([1.0 if r is None else r.mean for r in random])[span_N]
        self.writing = np.zeros(len(span_N), np.int64)
        self.state = np.full(len(span_N), world.shape.first_state)
        self.place = np.zeros(len(span_N), np.int64)
        self.ended = np.zeros(len(span_N), np.bool_)

    def keep(self, chosen: Bools) -> None:
        for name, values in vars(self).items():
            setattr(self, name, values[chosen])

    def donor_writes(self, t: int, rng: np.random.Generator) -> Bools:
        """Whether the donor writes token ``t`` of each."""
        answer = self.state >= DONE
        fixed = np.zeros(len(answer), np.bool_)
        if (self.k > 0).any() or (self.m > 0).any():
            fixed = np.where(answer, (self.place >= self.m0) & (self.place < self.m), (self.k0 <= t) & (t < self.k))
        if not self.starts.any():
            return fixed
        inside = (self.channel == _CHANNEL["all"]) | (self.channel == answer)
        place = np.where(answer & (self.channel == _CHANNEL["answer"]), self.place, t)
        open_places = self.starts - place
        may = np.flatnonzero(inside & (self.writing == 0) & (self.left > 0) & (open_places > 0))
        begins = may[rng.random(len(may)) * open_places[may] < self.left[may]]
        mean = self.mean[begins]
        self.writing[begins] = np.where(self.fixed[begins], mean.astype(np.int64), rng.geometric(1 / mean))
        self.left[begins] -= 1
        bursts = inside & (self.writing > 0)
        self.writing = self.writing - bursts
        return np.asarray(fixed | bursts)


def draw_long(world: LongWorld, spans: Sequence[Span], span_N: Ints, rng: np.random.Generator) -> LongDraws:
    """One completion for each entry of ``span_N``, an index into ``spans``; the first model is the subject."""
    shape = world.shape
    models = [SUBJECT, *(name for name in world.laws if name != SUBJECT)]
    laws = np.stack([world.laws[name] for name in models])
    used = np.flatnonzero(laws.sum(axis=(0, 1, 2)))  # a world without reasoning has no closers
    cumulative = np.cumsum(laws[..., used], axis=3)
    cumulative /= cumulative[..., -1:]
    n_place, n_case = shape.longest + 1, shape.n_state * (shape.longest + 1)
    flat, after = cumulative.reshape(-1, len(used)), world.after_GIV.reshape(n_case, -1)
    n, length = len(span_N), min(shape.limit, shape.longest + 1) if not shape.reasoning else shape.limit
    token_NL, donor_NL = np.full((n, length), -1, np.int8), np.zeros((n, length), np.bool_)
    n_reasoning, exploit = np.zeros(n, np.int64), np.zeros(n, np.bool_)
    rows = _Rows(world, spans, span_N, models)
    for t in range(length):
        by_donor = rows.donor_writes(t, rng)
        case = rows.state * n_place + rows.place
        law_NV = flat.take(case + by_donor * rows.model * n_case, axis=0)
        token = used[(rng.random(len(law_NV))[:, None] >= law_NV).sum(axis=1)]
        live = ~rows.ended
        number = rows.number[live]
        token_NL[number, t], donor_NL[number, t] = token[live], by_donor[live]
        answer = rows.state >= DONE
        n_reasoning[number] += ~answer[live]
        ends = answer & (token == END)
        exploit[rows.number[live & ends]] = rows.state[live & ends] == DONE
        rows.ended = rows.ended | ends
        rows.state = np.where(rows.ended, rows.state, after[case, token])
        rows.place = np.minimum(rows.place + (answer & ~rows.ended), shape.longest)
        if t % _TIDY == 0 and rows.ended.any():
            rows.keep(~rows.ended)
        if not len(rows.number):
            break
    return LongDraws(token_NL, donor_NL, n_reasoning, span_N, exploit)


def log_ratios_of_hits(world: LongWorld, spans: Sequence[Span], draws: LongDraws) -> Floats:
    """H x S log-ratios of the exploits among some draws, made from per-token log-probs as a study makes them."""
    hit_H = np.flatnonzero(draws.is_exploit_N)
    token = draws.token_NL[hit_H]
    n_token = (token >= 0).sum(axis=1)
    scores = {name: world.log_probs(token, name) for name in world.laws}

    def rows(name: str) -> list[Floats]:
        return [row[:end] for row, end in zip(scores[name], n_token.tolist(), strict=True)]

    donors = {donor_key(span) for span in spans if span.writes}
    return span_log_ratios(
        rows(SUBJECT),
        {name: rows(name) for name in donors},
        draws.n_reasoning_N[hit_H].tolist(),
        spans,
        span_N=draws.span_N[hit_H].tolist(),
        donor_wrote=[row[:end] for row, end in zip(draws.donor_NL[hit_H], n_token.tolist(), strict=True)],
    )
