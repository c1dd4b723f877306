"""What is wrong with a study's spans, in one sentence, before anything is sampled."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import polars as pl

from forewarn.checkpoints.sources import ModelSource
from forewarn.errors import InputError
from forewarn.estimation import donor_key
from forewarn.records import SUBJECT, Policy, Span


def check_span(span: Span, count: int, donors: Mapping[str, ModelSource], policy: Policy) -> None:
    """InputError for a span that the study can't draw."""
    if count < 1:
        raise InputError(f"span {span.name} has a count of {count}: give at least 1 completion a problem")
    if not span.writes:
        return
    limit = policy.max_total_tokens
    for letter, first in (("k", span.k0), ("m", span.m0)):
        if first >= limit:
            raise InputError(
                f"span {span.name} has a window from {letter}0 = {first}, and a completion has {limit} tokens at most "
                "(policy.max_total_tokens): the donor would write nothing; begin earlier"
            )
    if span.donor == SUBJECT:
        if span.temperature == policy.temperature:
            raise InputError(
                f"span {span.name} gives the subject the temperature of the policy, {policy.temperature:g}: that is "
                "brute force; give another temperature"
            )
        return
    if span.donor not in donors:
        raise InputError(f"span {span.name} names a donor that the study lacks; it has {sorted(donors) or 'none'}")
    if span.scale != 1.0 and donors[span.donor].adapter is None:
        raise InputError(f"span {span.name} scales a donor that is not an adapter: only a LoRA can be scaled")


def check_spans(spans: Sequence[Span], where: str, policy: Policy) -> None:
    """InputError where two spans are one, listed twice or written in two ways, or share a name."""
    if len(set(spans)) < len(spans):
        raise InputError(f"{where} lists a span twice: give it one larger count")
    names: dict[str, Span] = {}
    laws: dict[Span, Span] = {}
    donors: dict[str, Span] = {}
    for span in spans:
        heat = None if span.temperature == policy.temperature else span.temperature
        other = laws.setdefault(replace(span, temperature=heat), span)
        if other is not span:
            raise InputError(
                f"{where} has spans {other.name} and {span.name}, which are one, since {policy.temperature:g} is the "
                "policy's temperature: list one of them, with a larger count"
            )
        if names.setdefault(span.name, span) is not span:
            raise InputError(f"{where} has two spans of one name, {span.name}: give their donors other names or scales")
        other = donors.setdefault(donor_key(span), span)
        if span.writes and (other.donor, other.scale, other.temperature) != (span.donor, span.scale, span.temperature):
            raise InputError(
                f"{where} has two donors that are both called {donor_key(span)!r}: give them other names or scales"
            )


def check_anchors(spans: Sequence[Span], read: Callable[[], pl.DataFrame]) -> None:
    """InputError where windows are counted from an anchor that none of their span's completions holds, so that the
    donor wrote nothing in any of them. What was measured is kept. ``read``: the study's completions."""
    anchored = [span for span in spans if span.anchor not in (None, "line")]
    if not anchored:
        return
    drawn = read().select("span", wrote=pl.col("donor_wrote").list.any())
    for span in anchored:
        own = drawn.filter(pl.col("span") == span.name)
        if own.height and not own["wrote"].any():
            raise InputError(
                f"the anchor {span.anchor!r}, from which the windows of span {span.name} are counted, comes in none of "
                f"its {own.height} completions, or too late, so that its donor wrote nothing: give another anchor, or "
                "none"
            )
