"""Log-ratios of every span from per-token log-probs and channel boundaries: D_S(y) = log q_S(y) - log p(y), nats.

Covers the support rule and what of the exactness conditions can be seen from scores. Does not cover sampling or
channel parsing: every emitted token must be among those scored, closers and end of turn included. Who writes which
token: ``windows.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forewarn.errors import EngineFault, InputError
from forewarn.estimation.inputs import Floats, numbers
from forewarn.estimation.windows import (
    Anchors,
    Bools,
    fixed_windows,
    in_fixed_window,
    log_ratio_of_random_windows,
    places_of,
    stretch_of,
)
from forewarn.records import UNBOUNDED, Span
from forewarn.records.spans import donor_key as donor_key

_BLOCK = 1 << 20
"""most padded tokens of completions whose random windows are summed together"""


def n_deciding(n_reasoning: int, n_tokens: int, spans: Sequence[Span]) -> int:
    """How many of a completion's first tokens decide its log-ratios under all ``spans``, or a few more of them where
    windows are counted from an anchor, whose place is not asked for.

    Behind them every span leaves the writing to the subject, whose density cancels: they need no scores. The rows that
    ``span_log_ratios`` gives for scores of these tokens alone, with ``min(n_reasoning, n_deciding)``, are the same.
    """
    return max((_last_deciding(span, n_reasoning, n_tokens) for span in spans), default=0)


def _last_deciding(span: Span, n_reasoning: int, n_tokens: int) -> int:
    ends = [0]
    for channel, low, high in (("reasoning", span.k0, span.k), ("answer", span.m0, span.m)):
        first, end = stretch_of(channel, n_reasoning, n_tokens)
        reach = UNBOUNDED if span.anchor is not None and high else high
        if reach and first + low < end:
            ends.append(min(first + reach, end))
    if (random := span.random) is not None:
        first, end = stretch_of(random.channel, n_reasoning, n_tokens)
        fixed = random.length == "fixed" and span.anchor is None
        # the last burst begins at the last place at the latest
        reach = random.starts - 1 + int(random.mean) if fixed else UNBOUNDED
        if end > first:
            ends.append(min(first + reach, end))
    return max(ends)


def _check_spans(spans: Sequence[Span], donors: Mapping[str, Sequence[NDArray[np.float64]]], n: int) -> None:
    if not spans:
        raise InputError("spans is empty: give at least the subject's own, Span()")
    for span in spans:
        if span.writes and donor_key(span) not in donors:
            raise InputError(f"donor_log_probs has no {donor_key(span)!r}, the donor of span {span.name}")
    for name, scores in donors.items():
        if len(scores) != n:
            raise InputError(f"donor_log_probs[{name!r}] has {len(scores)} completions: subject_log_probs has {n}")


def _token_log_probs(name: str, value: NDArray[np.float64], n_token: int | None) -> Floats:
    log_prob = numbers(name, value)
    if log_prob.ndim != 1 or (n_token is not None and len(log_prob) != n_token):
        raise InputError(f"{name} has shape {log_prob.shape}: the subject scored {n_token} tokens")
    if np.isnan(log_prob).any():
        raise InputError(
            f"{name} holds NaN at token {int(np.flatnonzero(np.isnan(log_prob))[0])}: missing is not a score"
        )
    if (log_prob > 1e-4).any():
        i = int(np.flatnonzero(log_prob > 1e-4)[0])
        raise InputError(f"{name}[{i}] is {log_prob[i]}: a log-probability is at most 0")
    return log_prob


@dataclass(frozen=True, slots=True)
class _Scored:
    """One completion's tokens under every model."""

    subject: Floats
    donors: Mapping[str, Floats]
    n_reasoning: int
    anchors: Anchors

    @property
    def off_support(self) -> bool:
        return bool(np.isneginf(self.subject).any())

    def step(self, span: Span) -> Floats:
        """log d - log p of each token, on the subject's support."""
        return self.donors[donor_key(span)] - self.subject

    def fixed(self, span: Span) -> float:
        """The log-ratio of a span's fixed windows. Summed token by token: a difference of cumulative sums would be NaN
        behind a token that the donor can't write."""
        if span.anchor is None:
            windows = fixed_windows(span, self.n_reasoning, len(self.subject))
            donor = self.donors[donor_key(span)]
            return float(sum((donor[i:j] - self.subject[i:j]).sum() for i, j in windows))
        inside = in_fixed_window(span, self.n_reasoning, len(self.subject), self.anchors)
        return float(self.step(span)[inside].sum())


def _random_column(rows: Sequence[_Scored], span: Span) -> Floats:
    """The log-ratios of completions under a span's random windows alone."""
    assert span.random is not None
    found = [places_of(span, row.n_reasoning, len(row.subject), row.anchors) for row in rows]
    width = max((end - first for first, end, _ in found), default=0)
    column = np.zeros(len(rows))
    size = max(1, _BLOCK // max(width, 1, min(span.random.bursts, width) * int(min(span.random.mean, width))))
    for start in range(0, len(rows), size):
        block = range(start, min(start + size, len(rows)))
        step_NI, place_NI = np.zeros((len(block), width)), np.full((len(block), width), -1, dtype=np.int64)
        for i, n in enumerate(block):
            first, end, place = found[n]
            step_NI[i, : end - first] = rows[n].step(span)[first:end]
            place_NI[i, : end - first] = place
        column[block.start : block.stop] = log_ratio_of_random_windows(step_NI, place_NI, span.random)
    return column


def _check_writers(i: int, row: _Scored, drawn: Span | None, wrote: Bools | None) -> None:
    """A token that its own writer scored -inf is an engine fault, never a zero."""
    possible = np.isfinite(row.subject)
    if drawn is None or (drawn.random is not None and wrote is None):
        # the writer is unknown: at least one model must have been able to write each token
        for key, score in row.donors.items():
            if drawn is None or key == donor_key(drawn):
                possible = possible | np.isfinite(score)
    elif drawn.writes:
        if wrote is None:
            wrote = in_fixed_window(drawn, row.n_reasoning, len(row.subject), row.anchors)
        possible = np.where(wrote, np.isfinite(row.donors[donor_key(drawn)]), possible)
    if not possible.all():
        token = int(np.flatnonzero(~possible)[0])
        raise EngineFault(
            f"completion {i}, token {token}: its own writer scored it -inf; the engine's scores are not those of the "
            "policy it sampled from"
        )


def span_log_ratios(
    subject_log_probs: Sequence[NDArray[np.float64]],
    donor_log_probs: Mapping[str, Sequence[NDArray[np.float64]]],
    n_reasoning: Sequence[int],
    spans: Sequence[Span],
    *,
    span_N: Sequence[int] | None = None,
    anchors: Sequence[Anchors] | None = None,
    donor_wrote: Sequence[NDArray[np.bool_]] | None = None,
) -> Floats:
    """``log_ratio_NS`` (N x S, nats, columns in the order of ``spans``) for ``mixture_estimate``.

    ``subject_log_probs[i]``: log-probs of completion i's tokens under the subject and its policy, one a token.
    ``donor_log_probs[donor_key(span)][i]``: the same under each donor and its policy. ``n_reasoning[i]``: R, tokens of
    the reasoning with those that close it. D_S sums log d - log p over the tokens in the span's windows; for random
    windows exp(D_S) is the mean over all their draws (``windows.py``). ``anchors[i]``: where spans are counted from an
    anchor, the tokens of completion i at which that count starts (``formats.anchor_starts``). ``span_N``: index into
    ``spans`` each completion was drawn from; with it every token is checked against its own writer, which of random
    windows ``donor_wrote[i]`` says (True: the donor), without it only against all of them.

    A row is +inf (off support; 0 in the subject's columns) where the subject scored any token -inf; -inf where the
    donor cannot have written its part. Raises InputError (lengths, NaN, unknown donor, lacking anchors) and EngineFault
    (a token its own writer scored -inf). Source: method.md, "Definitions" and "Windows and better donors".
    """
    n = len(subject_log_probs)
    _check_spans(spans, donor_log_probs, n)
    for name, value in (
        ("n_reasoning", n_reasoning),
        ("span_N", span_N),
        ("anchors", anchors),
        ("donor_wrote", donor_wrote),
    ):
        if value is not None and len(value) != n:
            raise InputError(f"{name} has {len(value)} values: subject_log_probs has {n} completions")
    used = {donor_key(span) for span in spans if span.writes}
    rows = []
    for i in range(n):
        subject = _token_log_probs(f"subject_log_probs[{i}]", subject_log_probs[i], None)
        if not 0 <= n_reasoning[i] <= len(subject):
            raise InputError(f"n_reasoning[{i}] is {n_reasoning[i]}: completion {i} has {len(subject)} tokens")
        scores = {
            name: _token_log_probs(f"donor_log_probs[{name!r}][{i}]", donor_log_probs[name][i], len(subject))
            for name in used
        }
        row = _Scored(subject, scores, n_reasoning[i], {} if anchors is None else anchors[i])
        wrote = None if donor_wrote is None else np.asarray(donor_wrote[i], dtype=np.bool_)
        if wrote is not None and wrote.shape != subject.shape:
            raise InputError(f"donor_wrote[{i}] has shape {wrote.shape}: completion {i} has {len(subject)} tokens")
        _check_writers(i, row, None if span_N is None else spans[span_N[i]], wrote)
        rows.append(row)
    on = [i for i, row in enumerate(rows) if not row.off_support]
    log_ratio_NS = np.zeros((n, len(spans)))
    for s, span in enumerate(spans):
        if span.writes:
            log_ratio_NS[:, s] = np.inf
            log_ratio_NS[on, s] = [rows[i].fixed(span) for i in on]
            if span.random is not None:
                log_ratio_NS[on, s] += _random_column([rows[i] for i in on], span)
    return log_ratio_NS
