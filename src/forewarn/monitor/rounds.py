"""How much of a checkpoint is drawn at a time: a budget, and the counts that fit into it.

Draws are cut by count, for all spans and problems alike, and the cut is made before any of them is drawn. It depends on
the budget and on what earlier checkpoints took, and on nothing that the checkpoint itself turns out to do: so an
estimate from a part is an estimate like any other, with fewer completions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from forewarn.errors import InputError
from forewarn.study.plan import PlannedSpan

Counts = tuple[int, ...]
"""completions of each problem, of each span in the study's order"""


@dataclass(frozen=True, slots=True)
class Drawn:
    """What has been drawn at one checkpoint, round by round."""

    rounds: tuple[Counts, ...] = ()
    """all completions by the end of each round"""
    begun: Counts | None = None
    """of the round under way, fixed before it began"""
    completions: int | None = None
    """that the last round drew"""
    seconds: float | None = None
    """that it took; None where it was interrupted"""
    donors: Mapping[str, str] = field(default_factory=dict)
    """who writes in the place of a donor of the study's file: a refined one, fixed before the first round"""

    @property
    def counts(self) -> Counts | None:
        """What is to be there now."""
        return self.begun or (self.rounds[-1] if self.rounds else None)

    @property
    def all_rounds(self) -> tuple[Counts, ...]:
        return self.rounds if self.begun is None else (*self.rounds, self.begun)


@dataclass(frozen=True, slots=True)
class Plan:
    """A study's completions at one checkpoint."""

    counts: Counts
    """planned"""
    sizes: tuple[int, ...]
    """problems that each span is drawn for"""

    def total(self, counts: Counts | None = None) -> int:
        """Completions of a checkpoint, all that are planned or these."""
        return sum(n * size for n, size in zip(counts or self.counts, self.sizes, strict=True))

    @property
    def least(self) -> int:
        """One completion of each problem and span, with less of which there is no estimate."""
        return sum(self.sizes)

    def upto(self, budget: int, before: Counts | None = None) -> Counts:
        """The counts that ``budget`` more completions lead to: the same part of every span, each span once at least."""
        start = before or (0,) * len(self.counts)
        wanted = self.total(start) + budget if before else budget
        if wanted >= self.total():
            return self.counts
        part = wanted / self.total()
        while True:
            found = tuple(max(1, was, int(part * n)) for was, n in zip(start, self.counts, strict=True))
            if self.total(found) <= wanted or found == tuple(max(1, was) for was in start):
                break
            part *= 0.99
        return found if found != start else tuple(min(was + 1, n) for was, n in zip(start, self.counts, strict=True))


@dataclass(frozen=True, slots=True)
class Budget:
    """What one visit to a checkpoint may take; None: as much as is planned."""

    completions: int | None = None
    minutes: float | None = None

    def check(self, plan: Plan) -> None:
        """Raise InputError for fewer completions than an estimate needs."""
        if self.completions is not None and self.completions < plan.least:
            raise InputError(
                f"a budget of {self.completions:,} completions a checkpoint is too small: one completion of each "
                f"problem and span are {plan.least:,}; give that or more, or fewer spans or problems"
            )

    def fits(self, past: Mapping[str, Drawn]) -> int | None:
        """How many completions fit, by what earlier rounds took; None: all, or the first whose time tells of others."""
        timed = [one for one in past.values() if one.seconds is not None and one.completions]
        fitting = [] if self.completions is None else [self.completions]
        if self.minutes is not None and timed:
            seconds, completions = sum(one.seconds or 0.0 for one in timed), sum(one.completions or 0 for one in timed)
            fitting.append(max(1, int(60 * self.minutes * completions / max(seconds, 1e-3))))
        return min(fitting, default=None)


def next_round(plan: Plan, drawn: Drawn, budget: Budget, past: Mapping[str, Drawn]) -> Drawn:
    """What is drawn at a checkpoint next. A round that was begun, and interrupted, goes on as it was."""
    if drawn.begun is not None:
        return drawn
    fits = budget.fits(past)
    counts = plan.counts if fits is None else plan.upto(fits, drawn.counts)
    return replace(drawn, begun=counts)


def ended(plan: Plan, drawn: Drawn, seconds: float | None) -> Drawn:
    """A round that is done."""
    assert drawn.begun is not None
    before = plan.total(drawn.rounds[-1]) if drawn.rounds else 0
    return Drawn((*drawn.rounds, drawn.begun), None, plan.total(drawn.begun) - before, seconds, drawn.donors)


def spans_drawn(spans: Sequence[PlannedSpan], drawn: Drawn) -> tuple[PlannedSpan, ...]:
    """A study's spans as they are drawn at a checkpoint."""
    found = []
    for i, planned in enumerate(spans):
        upto = [counts[i] for counts in drawn.all_rounds]
        span = replace(planned.span, donor=drawn.donors.get(planned.span.donor, planned.span.donor))
        pieces = tuple(n - before for before, n in zip([0, *upto], upto, strict=False) if n > before)
        found.append(PlannedSpan(span, upto[-1], planned.exploit_types, pieces if len(pieces) > 1 else ()))
    return tuple(found)
