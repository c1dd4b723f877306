"""Log-ratios of every span from per-token log-probs and channel boundaries: D_S(y) = log q_S(y) - log p(y), nats.

Covers the support rule and what of the exactness conditions can be seen from scores. Does not cover sampling or
channel parsing: every emitted token must be among those scored, closers and end of turn included.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from forewarn.errors import EngineFault, InputError
from forewarn.estimation.inputs import Floats, numbers
from forewarn.records import SUBJECT, Span


def donor_key(span: Span) -> str:
    """The key of a span's donor in ``donor_log_probs``: its name, with ``*scale`` where its LoRA is scaled."""
    return span.donor if span.scale == 1.0 else f"{span.donor}*{span.scale:g}"


def n_deciding(n_reasoning: int, n_tokens: int, spans: Sequence[Span]) -> int:
    """How many of a completion's first tokens decide its log-ratios under all ``spans``.

    Behind them every span leaves the writing to the subject, whose density cancels: they need no scores. The rows that
    ``span_log_ratios`` gives for scores of these tokens alone, with ``min(n_reasoning, n_deciding)``, are the same.
    """
    ends = [0]
    for span in spans:
        if span.donor != SUBJECT:
            ends.append(min(span.k, n_reasoning))
            if span.m > 0 and n_tokens > n_reasoning:
                ends.append(min(n_reasoning + span.m, n_tokens))
    return max(ends)


def _check_spans(spans: Sequence[Span], donors: Mapping[str, Sequence[NDArray[np.float64]]], n: int) -> None:
    if not spans:
        raise InputError("spans is empty: give at least the subject's own, Span()")
    for span in spans:
        if span.donor != SUBJECT and donor_key(span) not in donors:
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


def _written_by_donor(span: Span, n_reasoning: int, n_token: int) -> NDArray[np.bool_]:
    donor = np.zeros(n_token, dtype=np.bool_)
    donor[: min(span.k, n_reasoning)] = True
    donor[n_reasoning : min(n_reasoning + span.m, n_token)] = True
    return donor


def _row(subject: Floats, donor_scores: Mapping[str, Floats], n_reasoning: int, spans: Sequence[Span]) -> Floats:
    """One completion's log-ratios: two cumulative sums a donor, read off at each span's k and m."""
    if np.isneginf(subject).any():
        return np.array([0.0 if span.donor == SUBJECT else np.inf for span in spans])
    n_token = len(subject)
    cumulative: dict[str, tuple[Floats, Floats]] = {}
    for name, score in donor_scores.items():
        step = score - subject
        cumulative[name] = (
            np.concatenate(([0.0], np.cumsum(step[:n_reasoning]))),
            np.concatenate(([0.0], np.cumsum(step[n_reasoning:]))),
        )
    row = np.zeros(len(spans))
    for s, span in enumerate(spans):
        if span.donor != SUBJECT:
            reasoning, answer = cumulative[donor_key(span)]
            row[s] = reasoning[min(span.k, n_reasoning)] + answer[min(span.m, n_token - n_reasoning)]
    return row


def _check_writers(
    i: int, subject: Floats, donor_scores: Mapping[str, Floats], n_reasoning: int, drawn: Span | None
) -> None:
    """A token that its own writer scored -inf is an engine fault, never a zero."""
    if drawn is None:
        # the writer is unknown: at least one model must have been able to write each token
        possible = np.isfinite(subject)
        for score in donor_scores.values():
            possible = possible | np.isfinite(score)
    elif drawn.donor == SUBJECT:
        possible = np.isfinite(subject)
    else:
        donor = _written_by_donor(drawn, n_reasoning, len(subject))
        possible = np.where(donor, np.isfinite(donor_scores[donor_key(drawn)]), np.isfinite(subject))
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
) -> Floats:
    """``log_ratio_NS`` (N x S, nats, columns in the order of ``spans``) for ``mixture_estimate``.

    ``subject_log_probs[i]``: log-probs of completion i's tokens under the subject and its policy, one a token.
    ``donor_log_probs[donor_key(span)][i]``: the same under each donor. ``n_reasoning[i]``: R, tokens of the reasoning
    with those that close it. D_S sums log d - log p over the first min(k, R) reasoning and the first min(m, A) answer
    tokens. ``span_N``: index into ``spans`` each completion was drawn from; with it every token is checked against its
    own writer, without it only against all of them.

    A row is +inf (off support; 0 in the subject's columns) where the subject scored any token -inf; -inf where the
    donor cannot have written its part. Raises InputError (lengths, NaN, unknown donor) and EngineFault (a token its
    own writer scored -inf). Source: method.md, "Definitions".
    """
    n = len(subject_log_probs)
    _check_spans(spans, donor_log_probs, n)
    if len(n_reasoning) != n:
        raise InputError(f"n_reasoning has {len(n_reasoning)} values: subject_log_probs has {n} completions")
    if span_N is not None and len(span_N) != n:
        raise InputError(f"span_N has {len(span_N)} values: subject_log_probs has {n} completions")
    used = {donor_key(span) for span in spans if span.donor != SUBJECT}
    log_ratio_NS = np.empty((n, len(spans)))
    for i in range(n):
        subject = _token_log_probs(f"subject_log_probs[{i}]", subject_log_probs[i], None)
        if not 0 <= n_reasoning[i] <= len(subject):
            raise InputError(f"n_reasoning[{i}] is {n_reasoning[i]}: completion {i} has {len(subject)} tokens")
        scores = {
            name: _token_log_probs(f"donor_log_probs[{name!r}][{i}]", donor_log_probs[name][i], len(subject))
            for name in used
        }
        _check_writers(i, subject, scores, n_reasoning[i], None if span_N is None else spans[span_N[i]])
        log_ratio_NS[i] = _row(subject, scores, n_reasoning[i], spans)
    return log_ratio_NS
