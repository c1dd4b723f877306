"""Samples from an exact world: stratified, random design, and with donor traces shared between spans."""

# ruff: noqa: N815 - fields carry shape suffixes
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forewarn.estimation.routes import opened_by_donor
from forewarn.records import SUBJECT
from forewarn.worlds.process import Floats, Ints, Tree
from forewarn.worlds.world import World

_BASE = 16
"""above the number of tokens of any world here"""


@dataclass(frozen=True, slots=True)
class Draws:
    """Arguments of ``mixture_estimate``; non-hits carry NaN log-ratios, as in real use."""

    log_ratio_NS: Floats
    is_exploit_N: NDArray[np.bool_]
    span_N: Ints
    problem_N: Ints
    cluster_N: Ints
    leaf_N: Ints
    program_N: Ints
    """of each hit the code of its answer's tokens; 0 elsewhere"""
    donor_wrote_answer_N: NDArray[np.bool_]
    """of each hit, whether its span's donor wrote the whole answer"""
    donor_opened_N: NDArray[np.bool_]
    """of each hit, whether its span's donor wrote the beginning alone (``estimation.routes``)"""


def _leaves(cumulative: Floats, size: int, rng: np.random.Generator) -> Ints:
    leaf: Ints = np.searchsorted(cumulative, rng.random(size) * cumulative[-1], side="right").astype(np.int64)
    return np.minimum(leaf, len(cumulative) - 1)


def _pack(world: World, span_N: Ints, problem_N: Ints, cluster_N: Ints, leaf_N: Ints) -> Draws:
    log_ratio = np.full((len(span_N), len(world.spans)), np.nan)
    is_exploit = np.zeros(len(span_N), dtype=np.bool_)
    program = np.zeros(len(span_N), np.int64)
    whole, opened = np.zeros(len(span_N), np.bool_), np.zeros(len(span_N), np.bool_)
    kind_N = world.kind_T[problem_N]
    k_S, m_S = (np.array([getattr(span, end) for span in world.spans]) for end in "km")
    for k in np.unique(kind_N):
        rows = np.flatnonzero(kind_N == k)
        is_exploit[rows] = world.kinds[k].is_exploit_Y[leaf_N[rows]]
        hits = rows[is_exploit[rows]]
        log_ratio[hits] = world.kinds[k].log_ratio_YS[leaf_N[hits]]
        tree = world.kinds[k].tree
        program[hits] = answer_codes(tree)[leaf_N[hits]]
        r, n = tree.n_reasoning_Y[leaf_N[hits]], tree.n_token_Y[leaf_N[hits]]
        k, m = k_S[span_N[hits]], m_S[span_N[hits]]
        whole[hits] = m >= n - r
        place = np.arange(tree.token_YI.shape[1])
        wrote = np.where(place < r[:, None], place < k[:, None], place - r[:, None] < m[:, None]) & (place < n[:, None])
        opened[hits] = opened_by_donor(wrote, r, n)
    return Draws(log_ratio, is_exploit, span_N, problem_N, cluster_N, leaf_N, program, whole, opened)


def answer_codes(tree: Tree) -> Ints:
    """A number for each leaf's answer: equal answers have the same, behind whatever reasoning and in every tree."""
    place = np.arange(tree.token_YI.shape[1])[None, :] - tree.n_reasoning_Y[:, None]
    in_answer = (place >= 0) & (tree.token_YI >= 0)
    return np.asarray(np.where(in_answer, (tree.token_YI + 1) * _BASE ** np.maximum(place, 0), 0).sum(axis=1))


def planned_counts(world: World, n: int) -> Ints | None:
    """Completions of each span for every problem, near the shares; None where ``n`` is too few for every cell."""
    count = np.maximum(1, np.round(world.share_S * n / world.n_problem)).astype(np.int64)
    return count if n >= 2 * world.n_problem * len(world.spans) else None


def draw(world: World, count_S: Ints, rng: np.random.Generator) -> Draws:
    """``count_S`` completions of each span for every problem, each with its own donor trace."""
    span_T = np.repeat(np.arange(len(count_S)), count_S)
    span_N, problem_N = np.tile(span_T, world.n_problem), np.repeat(np.arange(world.n_problem), len(span_T))
    return _fill(world, span_N, problem_N, rng)


def draw_looks(world: World, count_S: Ints, n_look: int, rng: np.random.Generator) -> tuple[Floats, Ints]:
    """The hits of ``n_look`` samples of a world with one kind of problem: the weight w of each hit under the mixture of
    these counts, and its sample. Every sample has ``count_S`` completions of each span; only hits take memory."""
    kind, n_unit = world.kinds[0], int(count_S.sum())
    weight_Y = np.where(kind.is_exploit_Y, np.exp(kind.log_weight_Y(count_S / n_unit)), 0.0)
    weights, looks = [], []
    for s, count in enumerate(count_S):
        leaf = _leaves(kind.cumulative_YS[:, s], n_look * int(count), rng).reshape(n_look, int(count))
        hit = kind.is_exploit_Y[leaf]
        weights.append(weight_Y[leaf[hit]])
        looks.append(np.nonzero(hit)[0])
    return np.concatenate(weights), np.concatenate(looks)


def draw_random(world: World, n: int, rng: np.random.Generator) -> Draws:
    """``n`` completions, problem uniform and span by the shares."""
    problem_N = rng.integers(0, world.n_problem, n)
    return _fill(world, rng.choice(len(world.spans), n, p=world.share_S), problem_N, rng)


def _fill(world: World, span_N: Ints, problem_N: Ints, rng: np.random.Generator) -> Draws:
    leaf_N = np.empty(len(span_N), dtype=np.int64)
    kind_N = world.kind_T[problem_N]
    for k in np.unique(kind_N):
        for s in range(len(world.spans)):
            rows = np.flatnonzero((kind_N == k) & (span_N == s))
            leaf_N[rows] = _leaves(world.kinds[k].cumulative_YS[:, s], len(rows), rng)
    return _pack(world, span_N, problem_N, np.arange(len(span_N)), leaf_N)


def prefix_groups(tree: Tree, length: int) -> tuple[Ints, Ints]:
    """First and last-plus-one leaf that share each leaf's first min(length, R) tokens (leaves are in depth-first
    order)."""
    cut = np.minimum(length, tree.n_reasoning_Y)
    position = np.arange(tree.token_YI.shape[1])[None, :]
    prefix = np.where(position < cut[:, None], tree.token_YI, -1)
    new = np.concatenate([[True], (prefix[1:] != prefix[:-1]).any(axis=1)])
    code = np.cumsum(new) - 1
    first = np.flatnonzero(new)
    last = np.append(first[1:], len(code))
    return first[code], last[code]


def draw_units(
    worlds: tuple[World, ...], n_trace: int, n_own: int, rng: np.random.Generator, *, answer_only: int = 0
) -> tuple[Draws, ...]:
    """Draws at several checkpoints (worlds of one problem, same completions and donor) with shared donor traces.

    Each of ``n_trace`` reasoning traces, written by the donor to its end, serves every span with k > 0 at every
    checkpoint: the subject of each checkpoint goes on from its first k tokens. ``n_own`` completions of the subject's
    own span, and ``answer_only`` of each span with k = 0, are independent.
    """
    base = worlds[0]
    spans, tree = base.spans, base.kinds[0].tree
    donor = next(s.donor for s in spans if s.donor != SUBJECT)
    reasoning = np.where(
        np.arange(tree.token_YI.shape[1])[None, :] < tree.n_reasoning_Y[:, None], tree.log_prob[donor], 0.0
    )
    # one leaf stands for each reasoning: any leaf's own law works once what follows the reasoning is summed out
    first, _ = prefix_groups(tree, tree.token_YI.shape[1])
    head = np.flatnonzero(first == np.arange(len(first)))
    trace = head[_leaves(np.cumsum(np.exp(reasoning[head].sum(axis=1))), n_trace, rng)]
    group = {span.k: prefix_groups(tree, span.k) for span in spans if span.k > 0}
    out = []
    for world in worlds:
        span_list, cluster_list, leaf_list = [], [], []
        next_cluster = n_trace
        for s, span in enumerate(world.spans):
            law = world.kinds[0].cumulative_YS[:, s]
            if span.k > 0:
                cumulative = np.concatenate([[0.0], law])
                low, high = (cumulative[bound[trace]] for bound in group[span.k])
                u = low + rng.random(n_trace) * (high - low)
                leaf = np.searchsorted(cumulative, u, side="right") - 1
                cluster = np.arange(n_trace)
            else:
                leaf = _leaves(law, n_own if span.donor == SUBJECT else answer_only, rng)
                cluster = np.arange(next_cluster, next_cluster + len(leaf))
                next_cluster += len(leaf)
            span_list.append(np.full(len(leaf), s))
            cluster_list.append(cluster)
            leaf_list.append(leaf)
        span_N, cluster_N, leaf_N = (np.concatenate(part) for part in (span_list, cluster_list, leaf_list))
        out.append(_pack(world, span_N, np.zeros(len(span_N), dtype=np.int64), cluster_N, leaf_N))
    return tuple(out)
