"""Spans as records: names, keys, and what can't be meant."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from forewarn.errors import InputError
from forewarn.records import UNBOUNDED, RandomWindows, Span, content_key
from forewarn.records.spans import donor_key, span_entry, span_of

NAMES = {
    "brute": Span(),
    "k5m0:d": Span(5, 0, "d"),
    "k0minf:d*0.5": Span(0, UNBOUNDED, "d", 0.5),
    "k2-9m4-inf:d": Span(9, UNBOUNDED, "d", k0=2, m0=4),
    "k0m2@line:d": Span(0, 2, "d", anchor="line"),
    "k0m3-9@body:d": Span(0, 9, "d", m0=3, anchor="body"),
    "k0m~8/256:d": Span(0, 0, "d", random=RandomWindows()),
    "k7m~8.5x2/64:d*0.25": Span(7, 0, "d", 0.25, random=RandomWindows("answer", 8.5, 2, 64)),
    "k~8/32m5:d": Span(0, 5, "d", random=RandomWindows("reasoning", starts=32)),
    "all=8/99@line:subject^1.5": Span(
        0, 0, "subject", anchor="line", random=RandomWindows("all", starts=99, length="fixed"), temperature=1.5
    ),
}


@pytest.mark.parametrize("name", NAMES)
def test_names_and_plain_data(name: str) -> None:
    span = NAMES[name]
    assert span.name == name
    assert span_of(json.loads(json.dumps(span_entry(span)))) == span


def test_spans_without_windows_have_the_keys_that_they_had() -> None:
    """Run folders are found again by these."""
    old = {"k": 5, "m": 3, "donor": "d", "scale": 0.5}
    span = Span(5, 3, "d", 0.5)
    assert span_entry(span) == old
    assert content_key([(span_entry(span), 8)]) == "81a0be51c97e6b2f6f87ec13499e1660de3c014a9ef4b626061299a19469c934"
    assert span_of(old) == span
    assert len({content_key(span_entry(span)) for span in NAMES.values()}) == len(NAMES)
    assert set(asdict(span)) > set(old)


def test_a_donor_has_a_key_for_each_policy() -> None:
    spans = (Span(1, 0, "d"), Span(1, 0, "d", 0.5), Span(1, 0, "d", 0.5, temperature=2.0), Span(1, temperature=1.25))
    assert [donor_key(span) for span in spans] == ["d", "d*0.5", "d*0.5^2", "subject^1.25"]
    assert [span.writes for span in (*spans, Span())] == [True] * 4 + [False]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"k": 4, "k0": 4}, "from k0 = 4 to k = 4 is empty"),
        ({"m": 4, "m0": 9}, "from m0 = 9 to m = 4 is reversed"),
        ({"k0": 3}, "from k0 = 3 to k = 0 is reversed"),
        ({"m": -1}, "m is -1"),
        ({"m0": -1, "m": 2}, "m0 is -1"),
        ({"m": 2, "anchor": "page"}, "anchor is 'page': give one of line, code, body"),
        ({"k": 2, "anchor": "code"}, "'code' lies in answers"),
        ({"random": RandomWindows("all"), "anchor": "body"}, "'body' lies in answers"),
        ({"m": 2, "random": RandomWindows()}, "random windows in 'answer' and a fixed window in the answer"),
        ({"k": 2, "random": RandomWindows("all")}, "random windows in 'all' and a fixed window in the reasoning"),
        ({"m": 2, "temperature": 0.0}, "temperature is 0.0"),
        ({"m": 2, "scale": 0.0}, "scale is 0.0"),
        ({}, "names donor 'd', which has nothing to write"),
        ({"donor": "subject", "m": 2}, "give a donor, except for brute force"),
        ({"donor": "subject", "anchor": "line"}, "the anchor 'line' and no window"),
        ({"donor": "subject", "m": 2, "scale": 0.5, "temperature": 2.0}, "only a donor is scaled"),
    ],
)
def test_spans_that_cannot_be_meant(given: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Span(**{"donor": "d", **given})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"channel": "code"}, "channel 'code': give one of reasoning, answer, all"),
        ({"length": "poisson"}, "length 'poisson': give one of geometric, fixed"),
        ({"mean": 0.5}, "a mean of 0.5"),
        ({"mean": float("nan")}, "a mean of nan"),
        ({"mean": 2.5, "length": "fixed"}, "a fixed length of 2.5"),
        ({"bursts": 0}, "bursts = 0"),
        ({"bursts": 3, "starts": 2}, "3 bursts and starts = 2"),
    ],
)
def test_random_windows_that_cannot_be_meant(given: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        RandomWindows(**given)  # type: ignore[arg-type]
