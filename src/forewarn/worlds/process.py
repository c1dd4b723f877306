"""Hidden-Markov token processes with a reasoning and an answer channel, enumerated completion by completion.

Letters: Y completions (leaves, in depth-first order, so that completions sharing a prefix are neighbours), I
positions, V tokens, K hidden states, P live prefixes.
"""

# ruff: noqa: N815 - fields carry shape suffixes
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forewarn.errors import InputError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Channel:
    """One channel of a hidden-Markov process: how states emit tokens and move."""

    emission_KV: Floats
    transition_KK: Floats


@dataclass(frozen=True, slots=True)
class TokenModel:
    """A subject or donor: start states and one ``Channel`` each for reasoning and answer; ``top_p`` truncates
    tokens."""

    start_K: Floats
    reasoning: Channel
    answer: Channel
    top_p: float = 1.0

    def next_token(self, belief_PK: Floats, in_answer_P: NDArray[np.bool_]) -> Floats:
        """Next-token probabilities (P x V) given beliefs over hidden states."""
        prob_PV = np.where(
            in_answer_P[:, None], belief_PK @ self.answer.emission_KV, belief_PK @ self.reasoning.emission_KV
        )
        if self.top_p < 1:
            order = np.argsort(-prob_PV, axis=1, kind="stable")
            ranked = np.take_along_axis(prob_PV, order, axis=1)
            keep = np.cumsum(ranked, axis=1) - ranked < self.top_p  # the token that passes top_p stays in
            kept = np.zeros_like(prob_PV)
            np.put_along_axis(kept, order, np.where(keep, ranked, 0.0), axis=1)
            prob_PV = kept / kept.sum(axis=1, keepdims=True)
        return prob_PV

    def update(self, belief_PK: Floats, token_P: Ints, in_answer_P: NDArray[np.bool_]) -> Floats:
        """Beliefs after each prefix's next token; uniform where this model could not have written it."""
        moved = np.empty_like(belief_PK)
        for channel, rows in ((self.reasoning, ~in_answer_P), (self.answer, in_answer_P)):
            seen = belief_PK[rows] * channel.emission_KV[:, token_P[rows]].T
            total = seen.sum(axis=1, keepdims=True)
            fallback = np.full_like(seen, 1 / seen.shape[1])
            seen = np.where(total > 0, seen / np.where(total > 0, total, 1), fallback)
            moved[rows] = seen @ channel.transition_KK
        return moved


@dataclass(frozen=True, slots=True)
class Tree:
    """Every completion some model can write, within the length limit."""

    token_YI: Ints
    """-1 beyond the end"""
    n_token_Y: Ints
    n_reasoning_Y: Ints
    log_prob: Mapping[str, Floats]
    """for each model Y x I per-token log-probs, nats; 0 beyond the end, -inf where it can't write the token"""


def enumerate_tree(
    models: Mapping[str, TokenModel], *, closer: tuple[int, ...], end: int, max_total: int, n_vocab: int
) -> Tree:
    """All completions of at most ``max_total`` tokens. The reasoning closes with the tokens ``closer``; the answer
    ends with ``end``, which ends the turn in the reasoning too (then no answer opens). The limit emits no token.
    """
    if not closer:
        raise InputError("closer is empty: the reasoning channel needs at least one closing token")
    names = list(models)
    token_PI = np.full((1, max_total), -1, dtype=np.int64)
    matched, in_answer, n_reasoning = np.zeros(1, np.int64), np.zeros(1, np.bool_), np.zeros(1, np.int64)
    belief = {name: models[name].start_K[None, :] for name in names}
    log_prob = {name: np.zeros((1, max_total)) for name in names}
    leaves: list[tuple[Ints, Ints, Ints, dict[str, Floats]]] = []
    for i in range(max_total):
        probs = {name: models[name].next_token(belief[name], in_answer) for name in names}
        possible = np.any([p > 0 for p in probs.values()], axis=0)
        parent, token = np.nonzero(possible)
        token = token.astype(np.int64)
        token_PI = token_PI[parent]
        token_PI[:, i] = token
        with np.errstate(divide="ignore"):
            for name in names:
                log_prob[name] = log_prob[name][parent]
                log_prob[name][:, i] = np.log(probs[name][parent, token])
        belief = {n: models[n].update(belief[n][parent], token, in_answer[parent]) for n in names}
        was_answer, before = in_answer[parent], matched[parent]
        hit = token == np.asarray(closer)[np.minimum(before, len(closer) - 1)]
        matched = np.where(was_answer, before, np.where(hit, before + 1, (token == closer[0]).astype(np.int64)))
        in_answer = was_answer | (matched >= len(closer))
        n_reasoning = n_reasoning[parent] + ~was_answer
        done = (token == end) | (i == max_total - 1)
        leaves.append((token_PI[done], np.full(int(done.sum()), i + 1), n_reasoning[done],
                       {name: log_prob[name][done] for name in names}))  # fmt: skip
        live = ~done
        token_PI, matched, in_answer, n_reasoning = token_PI[live], matched[live], in_answer[live], n_reasoning[live]
        belief = {name: belief[name][live] for name in names}
        log_prob = {name: log_prob[name][live] for name in names}
        if not len(token_PI):
            break
    tokens = np.concatenate([leaf[0] for leaf in leaves])
    order = np.lexsort(tokens.T[::-1])  # depth-first order
    return Tree(
        tokens[order],
        np.concatenate([leaf[1] for leaf in leaves])[order].astype(np.int64),
        np.concatenate([leaf[2] for leaf in leaves])[order].astype(np.int64),
        {name: np.concatenate([leaf[3][name] for leaf in leaves])[order] for name in names},
    )
