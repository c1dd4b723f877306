"""Spans: which tokens of a completion the donor writes, as records. Who samples and weighs by them lies elsewhere.

A span's rule is a function of the tokens before and of draws independent of them, which is what keeps densities exact.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

from forewarn.errors import InputError

UNBOUNDED = 1_000_000_000
"""A window's end when the donor writes the channel to its end (tokens)."""

SUBJECT = "subject"
"""The donor name of brute force, the span in which the subject writes everything; also the name of the subject at
another temperature, as a donor."""

Anchor = Literal["line", "code", "body"]
"""Where a count of tokens starts in the text so far. "line": where the channel opens, and again after every line
break. "code": after the line that opens the answer's first fenced block. "body": after the colon that ends the header
of the entry point's first definition in the answer."""
ANCHORS: tuple[Anchor, ...] = get_args(Anchor)

Channel = Literal["reasoning", "answer", "all"]
Length = Literal["geometric", "fixed"]


def _exact(value: float) -> str:
    """A number as short as it can be written without loss."""
    short = f"{value:g}"
    return short if float(short) == value else repr(value)


def _count(n: int) -> str:
    return "inf" if n >= UNBOUNDED else str(n)


def _window(first: int, end: int) -> str:
    return _count(end) if first == 0 else f"{first}-{_count(end)}"


@dataclass(frozen=True, slots=True)
class RandomWindows:
    """Bursts of donor tokens at random places. The draws are summed over: it is one proposal with one density.

    Places are the tokens from where the channel opens or from the span's anchor; with the anchor "line" they are the
    beginnings of lines. A burst starts at each of the first ``starts`` places with the same probability, whatever the
    length that the completion turns out to have: one that ends before the burst's place is the subject's own.
    """

    channel: Channel = "answer"
    """"all": reasoning and answer as one stretch of tokens"""
    mean: float = 8.0
    """tokens of a burst, in the mean; it ends earlier where its channel or the completion ends"""
    bursts: int = 1
    """most bursts; each begins behind the one before it"""
    starts: int = 256
    """places; about as many as the channel usually has. What lies further on is never begun at"""
    length: Length = "geometric"
    """"geometric": after every token it ends with probability 1/mean; "fixed": after ``mean`` tokens"""

    def __post_init__(self) -> None:
        for name, value, known in (
            ("channel", self.channel, get_args(Channel)),
            ("length", self.length, get_args(Length)),
        ):
            if value not in known:
                raise InputError(f"random windows have {name} {value!r}: give one of {', '.join(known)}")
        if not 1 <= self.mean < UNBOUNDED:
            raise InputError(f"random windows have a mean of {self.mean}: give 1 token or more")
        if self.length == "fixed" and self.mean != int(self.mean):
            raise InputError(f"random windows have a fixed length of {self.mean}: give whole tokens")
        if self.bursts < 1:
            raise InputError(f"random windows have bursts = {self.bursts}: give at least 1")
        if self.starts < self.bursts:
            raise InputError(
                f"random windows have {self.bursts} bursts and starts = {self.starts}: give at least as many places "
                "as bursts"
            )

    @property
    def text(self) -> str:
        """As it stands in a span's name."""
        mark = "~" if self.length == "geometric" else "="
        times = "" if self.bursts == 1 else f"x{self.bursts}"
        return f"{mark}{_exact(self.mean)}{times}/{self.starts}"


@dataclass(frozen=True, slots=True)
class Span:
    """Which tokens the donor writes: the window [k0, k) of the reasoning and [m0, m) of the answer, or random ones."""

    k: int = 0
    m: int = 0
    donor: str = SUBJECT
    """name of the donor model; ``SUBJECT`` where the donor writes nothing, or is the subject at ``temperature``"""
    scale: float = 1.0
    """scale of the donor's LoRA, in (0, 1]"""
    k0: int = 0
    m0: int = 0
    anchor: Anchor | None = None
    """where windows are counted from; None: from where their channel opens"""
    random: RandomWindows | None = None
    """windows at random places, in a channel without a fixed one"""
    temperature: float | None = None
    """the donor's; None: the study's policy. All else of the policy is the study's"""

    def __post_init__(self) -> None:
        for name, value in (("k", self.k), ("m", self.m), ("k0", self.k0), ("m0", self.m0)):
            if value < 0:
                raise InputError(f"a span's {name} is {value}: give 0 or a positive number of tokens")
        for letter, first, end in (("k", self.k0, self.k), ("m", self.m0, self.m)):
            if first >= end and first > 0:
                kind = "empty" if first == end else "reversed"
                raise InputError(
                    f"a span's window from {letter}0 = {first} to {letter} = {end} is {kind}: give an end above its "
                    "beginning"
                )
        if not 0 < self.scale <= 1:
            raise InputError(f"a span's scale is {self.scale}: give a value in (0, 1]")
        if self.temperature is not None and not 0 < self.temperature < float("inf"):
            raise InputError(f"a span's temperature is {self.temperature}: give a value above 0")
        self._check_places()
        self._check_donor()

    def _check_places(self) -> None:
        fixed = [channel for channel, end in (("reasoning", self.k), ("answer", self.m)) if end]
        if self.random is not None:
            channel = self.random.channel
            if fixed and channel in ("all", *fixed):
                raise InputError(
                    f"a span has random windows in {channel!r} and a fixed window in the {fixed[0]}: give one of them "
                    "a channel"
                )
            fixed.append(channel)
        if self.anchor is None:
            return
        if self.anchor not in ANCHORS:
            raise InputError(f"a span's anchor is {self.anchor!r}: give one of {', '.join(ANCHORS)}")
        if not fixed:
            raise InputError(f"a span has the anchor {self.anchor!r} and no window: give one that is counted from it")
        if self.anchor != "line" and fixed != ["answer"]:
            raise InputError(f"the anchor {self.anchor!r} lies in answers: give a window of the answer alone")

    def _check_donor(self) -> None:
        if self.donor == SUBJECT and self.scale != 1.0:
            raise InputError(f"a span of the subject's own has scale {self.scale}: only a donor is scaled")
        if self.writes and self.donor == SUBJECT and self.temperature is None:
            raise InputError(
                f"span (k={self.k}, m={self.m}) names donor {self.donor!r}: give a donor, except for brute force "
                "(0, 0), or give the subject a temperature of its own"
            )
        if not self.writes and (self.donor != SUBJECT or self.temperature is not None):
            raise InputError(
                f"span (k={self.k}, m={self.m}) names donor {self.donor!r}, which has nothing to write: give a "
                "window, or leave the donor out for brute force (0, 0)"
            )

    @property
    def writes(self) -> bool:
        """Whether the donor writes anything; False is brute force, the subject's own span."""
        return self.k > 0 or self.m > 0 or self.random is not None

    @property
    def name(self) -> str:
        """Unique among the spans of a study, and the same in every version."""
        if not self.writes:
            return "brute"
        k, m = _window(self.k0, self.k), _window(self.m0, self.m)
        places = f"k{k}m{m}"
        if self.random is not None:
            text = self.random.text
            places = {"reasoning": f"k{text}m{m}", "answer": f"k{k}m{text}", "all": f"all{text}"}[self.random.channel]
        anchor = "" if self.anchor is None else f"@{self.anchor}"
        scale = "" if self.scale == 1.0 else f"*{self.scale:g}"
        heat = "" if self.temperature is None else f"^{_exact(self.temperature)}"
        return f"{places}{anchor}:{self.donor}{scale}{heat}"


def donor_key(span: Span) -> str:
    """The key of a span's donor in ``donor_log_probs``: its name, with ``*scale`` where its LoRA is scaled and
    ``^temperature`` where it has one of its own."""
    scale = "" if span.scale == 1.0 else f"*{span.scale:g}"
    return f"{span.donor}{scale}" + ("" if span.temperature is None else f"^{_exact(span.temperature)}")


_ALWAYS = ("k", "m", "donor", "scale")


def span_entry(span: Span) -> dict[str, Any]:
    """A span as plain data. Fields that came later stand in it only where they say something: keys of run folders are
    made of it, and those of spans without windows are what they were."""
    plain = {f.name: f.default for f in fields(Span)}
    return {name: value for name, value in asdict(span).items() if name in _ALWAYS or value != plain[name]}


def span_of(entry: Mapping[str, Any]) -> Span:
    """The span of ``span_entry``."""
    random = entry.get("random")
    return Span(**{**entry, "random": None if random is None else RandomWindows(**random)})
