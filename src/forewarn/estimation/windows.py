"""Who writes which token under a span's rule, and the log-ratio of random windows, summed over their draws.

Letters: N completions, I tokens, R bursts not begun, J tokens that a burst of fixed length has still to write. Does not
cover sampling (``interpolation/turns.py``) or what makes an anchor (``formats/anchors.py``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from forewarn.errors import InputError
from forewarn.estimation.inputs import Floats, Ints
from forewarn.records import RandomWindows, Span

Bools = NDArray[np.bool_]
Anchors = Mapping[str, Sequence[int]]
"""anchor -> the tokens of a completion at which a count starts"""


def stretch_of(channel: str, n_reasoning: int, n_token: int) -> tuple[int, int]:
    """First token of a channel, and the one behind its last."""
    return {"reasoning": (0, n_reasoning), "answer": (n_reasoning, n_token), "all": (0, n_token)}[channel]


def _starts(span: Span, anchors: Anchors, first: int, end: int) -> Ints:
    """The tokens of a stretch at which a count starts."""
    if span.anchor is None:
        return np.array([first], dtype=np.int64)
    if span.anchor not in anchors:
        raise InputError(f"anchors has no {span.anchor!r}, from which the windows of span {span.name} are counted")
    starts = np.unique(np.asarray(anchors[span.anchor], dtype=np.int64))
    return starts[(starts >= first) & (starts < end)]


def _since(starts: Ints, first: int, end: int) -> Ints:
    """How many tokens lie between each token of a stretch and the last start; -1 before the first start."""
    token = np.arange(first, end)
    if not len(starts):
        return np.full(end - first, -1, dtype=np.int64)
    last = np.searchsorted(starts, token, side="right") - 1
    return np.where(last >= 0, token - starts[np.maximum(last, 0)], -1)


def fixed_windows(span: Span, n_reasoning: int, n_token: int) -> list[tuple[int, int]]:
    """First token and end of the fixed windows of a span without an anchor."""
    found = []
    for channel, low, high in (("reasoning", span.k0, span.k), ("answer", span.m0, span.m)):
        first, end = stretch_of(channel, n_reasoning, n_token)
        if first + low < min(first + high, end):
            found.append((first + low, min(first + high, end)))
    return found


def in_fixed_window(span: Span, n_reasoning: int, n_token: int, anchors: Anchors) -> Bools:
    """For each token, whether it lies in one of the span's fixed windows."""
    inside = np.zeros(n_token, dtype=np.bool_)
    if span.anchor is None:
        for start, stop in fixed_windows(span, n_reasoning, n_token):
            inside[start:stop] = True
        return inside
    for channel, low, high in (("reasoning", span.k0, span.k), ("answer", span.m0, span.m)):
        first, end = stretch_of(channel, n_reasoning, n_token)
        if high and end > first:
            count = _since(_starts(span, anchors, first, end), first, end)
            inside[first:end] = (count >= low) & (count < high)
    return inside


def places_of(span: Span, n_reasoning: int, n_token: int, anchors: Anchors) -> tuple[int, int, Ints]:
    """(first token, end, number of the place at each token between, -1 where no burst may begin) of random windows."""
    assert span.random is not None
    first, end = stretch_of(span.random.channel, n_reasoning, n_token)
    if span.anchor is None:
        return first, end, np.arange(end - first)
    starts = _starts(span, anchors, first, end)
    if span.anchor != "line":
        return first, end, _since(starts, first, end)
    place = np.full(end - first, -1, dtype=np.int64)
    place[starts - first] = np.arange(len(starts))
    return first, end, place


def hazards(random: RandomWindows, place_N: Ints, left_R: Ints) -> Floats:
    """N x R: the probability that a burst begins at a place, with so many bursts left that have not begun.

    Of the places that are left every set of the bursts' number is as likely; what a burst passes over while it writes
    is lost to the next, which keeps to the places that are left.
    """
    open_N1 = ((place_N >= 0) & (place_N < random.starts))[:, None]
    hazard_NR = np.minimum(1.0, left_R[None, :] / np.maximum(random.starts - place_N, 1)[:, None])
    return np.where(open_N1, hazard_NR, 0.0)


def log_ratio_of_random_windows(step_NI: Floats, place_NI: Ints, random: RandomWindows) -> Floats:
    """log q(y) - log p(y) of random windows (nats), one per completion, summed over every draw of the windows.

    ``step_NI``: log d - log p of each token of the channel, 0 behind its end; ``place_NI``: from ``places_of``. The
    state before each token is how many bursts have begun and, while the donor writes, the tokens it has still to write.
    What would have been drawn behind the last token sums to 1, so that a burst cut short by the end of the channel, or
    a place never reached, needs no case of its own. O(I) for each completion.
    """
    n, n_token = step_NI.shape
    most = min(random.bursts, n_token)  # more can't begin
    left_R = random.bursts - np.arange(most)
    # a burst that is longer than the channel never ends in it
    n_state = min(int(random.mean), max(n_token, 1)) if random.length == "fixed" else 1
    subject_NR = np.full((n, most + 1), -np.inf)  # by bursts begun
    subject_NR[:, 0] = 0.0
    donor_NRJ = np.full((n, most, n_state), -np.inf)
    with np.errstate(divide="ignore"):  # log 0 is a move that never happens
        log_stop, log_go = np.log(1 / random.mean), np.log1p(-1 / random.mean)
        for i in range(n_token):
            if (place_NI[:, i] >= 0).any():
                hazard_NR = hazards(random, place_NI[:, i], left_R)
                begun = subject_NR[:, :-1] + np.log(hazard_NR)
                donor_NRJ[:, :, -1] = np.logaddexp(donor_NRJ[:, :, -1], begun)
                subject_NR[:, :-1] += np.log1p(-hazard_NR)
            donor_NRJ += step_NI[:, i, None, None]
            if random.length == "fixed":
                ended = donor_NRJ[:, :, 0].copy()
                donor_NRJ[:, :, :-1] = donor_NRJ[:, :, 1:]
                donor_NRJ[:, :, -1] = -np.inf
            else:
                ended = donor_NRJ[:, :, 0] + log_stop
                donor_NRJ += log_go
            subject_NR[:, 1:] = np.logaddexp(subject_NR[:, 1:], ended)
    total = np.logaddexp.reduce(subject_NR, axis=1)
    return np.asarray(np.logaddexp(total, np.logaddexp.reduce(donor_NRJ.reshape(n, -1), axis=1, initial=-np.inf)))
