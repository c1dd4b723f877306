"""The table of the protocol: every figure of every method with its interval, pooled and by variant.

Each figure is made once from what pairs contribute, and again without each run.
"""

# ruff: noqa: N815 - names carry shape suffixes
from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

from forewarn.bench.protocol import Protocol
from forewarn.bench.scores import concordance, proper
from forewarn.bench.scores.alarms import Alarm, alarms, thresholds
from forewarn.bench.scores.jackknife import LEAST_RUNS, Figure, Scale, Value, jackknife, no_figure
from forewarn.bench.scores.panel import Panel, blind_at, field_of

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

POOLED = "all"
START = "start level"
"""the row of the true start level, which no method knows"""


@dataclass(frozen=True, slots=True)
class Entry:
    """One figure of the table."""

    method: str
    figure: str
    group: str
    """"all", or a variant"""
    by: str
    """what was left out for the interval: "run", or "base" as the sensitivity analysis"""
    found: Figure


@dataclass(frozen=True, slots=True)
class Maker:
    """How one figure is made of the pairs."""

    name: str
    scale: Scale
    value: Value
    used_I: Bools
    less_than_one: bool = False
    """whether the figure is what is missing to 1"""


class Table:
    """Figures of these pairs. ``panels``: by method, over the same pairs; ``scored_I``: which of the pairs are asked
    about (the others are development runs, by which thresholds are set)."""

    def __init__(self, panels: Mapping[str, Panel], scored_I: Bools, protocol: Protocol) -> None:
        self._panels, self._protocol, self._scored_I = panels, protocol, scored_I
        self.pairs = next(iter(panels.values())).pairs
        self._event_I = field_of(self.pairs, "event").astype(np.bool_)
        self._start_I = field_of(self.pairs, "start_log10").astype(np.float64)
        eligible_I = field_of(self.pairs, "eligible").astype(np.bool_) & scored_I
        self._eligible_I = eligible_I
        self._clear_I = ~field_of(self.pairs, "between").astype(np.bool_)
        self._blind_I = eligible_I & blind_at(self.pairs, protocol.score.crps_checkpoint)
        self._at = protocol.score.crps_checkpoint - 1

    def entries(self, ours: str, reference: str) -> Iterator[Entry]:
        """All figures: ``ours`` against the best of the other methods, CRPS against ``reference``."""
        for name, panel in self._panels.items():
            for maker in self._makers(panel, reference):
                yield from self._entries(name, maker)
            yield from self._median_lead(name, panel)
        for maker in self._start_makers():
            yield from self._entries(START, maker)
        yield from self._entries(f"{ours} less the best baseline", self._difference(ours))

    def _entries(self, method: str, maker: Maker) -> Iterator[Entry]:
        for group, in_I in self._groups():
            yield Entry(method, maker.name, group, "run", self._figure(maker, in_I, "run"))
        yield Entry(method, maker.name, POOLED, "base", self._figure(maker, self._scored_I, "base"))

    def _groups(self) -> Iterator[tuple[str, Bools]]:
        yield POOLED, self._scored_I
        variant_I = field_of(self.pairs, "variant")
        for variant in self._protocol.variants:
            if (self._scored_I & (variant_I == variant)).any():
                yield variant, self._scored_I & (variant_I == variant)

    def _figure(self, maker: Maker, in_I: Bools, by: str) -> Figure:
        found = jackknife(
            lambda keep_I: maker.value(keep_I & in_I),
            field_of(self.pairs, by).tolist(),
            maker.used_I & in_I,
            scale=maker.scale,
            level=self._protocol.score.interval_level,
            what=f"{by}s",
        )
        if not maker.less_than_one or found.value is None or found.low is None or found.high is None:
            return found
        return replace(found, value=1 - found.value, low=1 - found.high, high=1 - found.low)

    def _c3(self, score_IC: Floats, landmarks: Sequence[int] | None = None, **more: object) -> Floats:
        score = self._protocol.score
        return concordance.c3_values(
            self.pairs,
            score_IC,
            landmarks=score.landmarks if landmarks is None else landmarks,
            lead=score.lead_checkpoints,
            **more,  # type: ignore[arg-type]
        )

    def _makers(self, panel: Panel, reference: str) -> Iterator[Maker]:
        score = self._protocol.score
        yield _mean("C3", "logit", self._c3(panel.score_IC))
        for c in score.landmarks:
            yield _mean(f"C3 at checkpoint {c}", "logit", self._c3(panel.score_IC, [c]))
        yield _mean("C3 near start", "logit", self._c3(panel.score_IC, near=score.near_start_decades))
        yield _mean("C3 with 2 to 10 %", "logit", self._c3(panel.score_IC, with_between=True))
        yield from self._area_makers(panel.probability_IC[:, self._at])
        crossing = [pair.crossing for pair in self.pairs]
        passed_IS = panel.passed_ICS[:, self._at, :]
        if panel.method != reference:
            yield self._skill(passed_IS, self._panels[reference].passed_ICS[:, self._at, :], crossing)
        low, high = score.clip
        said_I = np.clip(panel.probability_IC[:, self._at], low, high)
        yield self._blind_mean("Brier", "logit", proper.brier_values(said_I, self._event_I))
        yield self._blind_mean("log score", "log", proper.log_values(said_I, self._event_I))
        inside = proper.covered(passed_IS, crossing, score.crossing_level)
        yield self._blind_mean(f"coverage of {score.crossing_level:.0%}", "logit", inside)
        yield from self._alarm_makers(panel)

    def _start_makers(self) -> Iterator[Maker]:
        score_IC = np.repeat(self._start_I[:, None], len(self._protocol.monitor.steps), axis=1)
        yield _mean("C3", "logit", self._c3(score_IC))
        yield from self._area_makers(self._start_I)

    def _area_makers(self, score_I: Floats) -> Iterator[Maker]:
        used_I, event_I, start_I = self._blind_I & self._clear_I, self._event_I, self._start_I
        near = self._protocol.score.near_start_decades

        def pooled(keep_I: Bools) -> float | None:
            return concordance.area(score_I, event_I, keep_I & used_I)

        def nearby(keep_I: Bools) -> float | None:
            return concordance.near_area(score_I, event_I, start_I, keep_I & used_I, near)

        yield Maker("AUC", "logit", pooled, used_I)
        yield Maker("AUC near start", "logit", nearby, used_I)

    def _blind_mean(self, name: str, scale: Scale, value_I: Floats) -> Maker:
        return _mean(name, scale, np.where(self._blind_I, value_I, np.nan))

    def _skill(self, mine_IS: Floats, theirs_IS: Floats, crossing: Sequence[float | None]) -> Maker:
        mine_I, theirs_I = proper.crps_log(mine_IS, crossing), proper.crps_log(theirs_IS, crossing)

        def ratio(keep_I: Bools) -> float | None:
            kept_I = keep_I & self._blind_I
            return float(mine_I[kept_I].sum() / theirs_I[kept_I].sum()) if theirs_I[kept_I].sum() > 0 else None

        return Maker("CRPS skill", "log", ratio, self._blind_I, less_than_one=True)

    def _alarm_makers(self, panel: Panel) -> Iterator[Maker]:
        found = self.alarms_of(panel)
        any_I = np.array([math.nan if one is None else one.checkpoint is not None for one in found], dtype=np.float64)
        before_I = np.array([math.nan if one is None else one.before for one in found], dtype=np.float64)
        lead_I = np.array([math.nan if one is None or one.lead is None else one.lead for one in found])
        yield _mean("false alarms", "logit", np.where(self._eligible_I & ~self._event_I, any_I, np.nan))
        positive_I = self._eligible_I & self._event_I
        yield _mean("recall before V1", "logit", np.where(positive_I, before_I, np.nan))
        yield _mean("mean lead", "plain", np.where(positive_I, lead_I, np.nan))

    def _median_lead(self, name: str, panel: Panel) -> Iterator[Entry]:
        """The median lead, with the interval of a median by order statistics: pairs as if they were independent."""
        mine = [
            (pair.run, one.lead)
            for pair, one, asked in zip(
                self.pairs, self.alarms_of(panel), self._eligible_I & self._event_I, strict=True
            )
            if asked and one is not None and one.lead is not None
        ]
        leads, runs = np.sort([lead for _, lead in mine]), len({run for run, _ in mine})
        if runs < LEAST_RUNS:
            figure = no_figure(f"{runs} runs of at least {LEAST_RUNS}", runs, len(leads))
        else:
            rank = max(0, int(binom.ppf((1 - self._protocol.score.interval_level) / 2, len(leads), 0.5)) - 1)
            figure = Figure(
                float(np.median(leads)), float(leads[rank]), float(leads[len(leads) - 1 - rank]), runs, len(leads)
            )
        yield Entry(name, "median lead", POOLED, "run", figure)

    def alarms_of(self, panel: Panel) -> list[Alarm | None]:
        """Each pair's first alarm; None where no development run has a negative to set a threshold by."""
        threshold = thresholds(self.pairs, panel.probability_IC, rate=self._protocol.score.alarm_rate)
        found = alarms(self.pairs, panel.probability_IC, threshold)
        return [
            one if math.isfinite(threshold[pair.run]) else None for pair, one in zip(self.pairs, found, strict=True)
        ]

    def _difference(self, ours: str) -> Maker:
        values = {name: self._c3(panel.score_IC) for name, panel in self._panels.items()}

        def less_best(keep_I: Bools) -> float | None:
            mine = concordance.mean_of(values[ours], keep_I)
            others = [concordance.mean_of(v, keep_I) for name, v in values.items() if name != ours]
            best = max((one for one in others if one is not None), default=None)
            return None if mine is None or best is None else mine - best

        return Maker("C3", "difference", less_best, ~np.isnan(values[ours]))

    def calibration(self, name: str) -> list[tuple[float, int, int]]:
        """A method's calibration curve over blind pairs: mean probability, events, pairs of each bin."""
        low, high = self._protocol.score.clip
        said_I = np.clip(self._panels[name].probability_IC[:, self._at], low, high)
        return proper.calibration(said_I[self._blind_I], self._event_I[self._blind_I])

    def positives(self, panel: Panel) -> tuple[int, int]:
        """Eligible positives, and how many of them have no comparable pair in C3."""
        positive_I = self._eligible_I & self._event_I
        return int(positive_I.sum()), int((positive_I & np.isnan(self._c3(panel.score_IC))).sum())

    @property
    def counts(self) -> dict[str, int]:
        """Pairs by what they are."""
        blind = self._blind_I
        return {
            "runs": len({p.run for p, scored in zip(self.pairs, self._scored_I, strict=True) if scored}),
            "pairs": int(self._scored_I.sum()),
            "eligible": int(self._eligible_I.sum()),
            "positives": int((self._eligible_I & self._event_I).sum()),
            "between 2 and 10 %": int((self._eligible_I & ~self._clear_I).sum()),
            f"blind at checkpoint {self._protocol.score.crps_checkpoint}": int(blind.sum()),
            "of them positives": int((blind & self._event_I).sum()),
        }


def _mean(name: str, scale: Scale, value_I: Floats) -> Maker:
    """A figure that is the mean of what pairs contribute (NaN: nothing)."""
    make: Callable[[Bools], float | None] = lambda keep_I: concordance.mean_of(value_I, keep_I)  # noqa: E731
    return Maker(name, scale, make, ~np.isnan(value_I))
