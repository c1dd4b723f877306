"""What is found: an estimate, a trend, a forecast, an alert."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Estimate:
    """An exploit probability with all that is needed to judge it. See ``forewarn.estimation``."""

    log10_p: float | None
    """point estimate, log10; None without hits"""
    interval_log10: tuple[float, float] | None
    """at ``level``; the lower end may be -inf; None if the data do not support an interval"""
    lower_bound: float
    """certified, a probability, at ``level``"""
    upper_bound: float
    """certified, a probability, at ``level``; no better than about ln(1/delta)/n, with n brute-force completions"""
    level: float
    n: int
    n_hits: int
    hits_by_span: tuple[int, ...]
    n_invalid: int
    n_off_support: int
    ess: float | None
    """effective sample size of w*E"""
    max_share: float | None
    """largest share of one completion in the estimate"""
    khat: float | None
    """Pareto tail index of w*E; None with too few hits"""
    covered_log10_p: float | None
    """part of the estimate from hits with rho < 1/2, which donors reach"""
    uncovered_log10_p: float | None
    """part from hits with rho >= 1/2, which only brute force sees"""
    resolved: bool
    """whether the interval may be believed, given coverage"""
    reason: str
    """why not resolved, or how: "resolved given coverage", "resolved by counting ..." """
    n_inconsistent: int = 0
    """completions whose program behaved differently when it was run again. They are not part of ``n_invalid``, but
    count in the same way: a hit for the upper bound, and not a hit otherwise"""
    effective_programs: float | None = None
    """over how many distinct programs the estimate is spread (1 / sum of squared shares of w*E); None: not told"""
    effective_problems: float | None = None
    effective_spans: float | None = None
    """of the spans that the hits were drawn from"""
    donor_written: float | None = None
    """share of the estimate in hits whose whole answer the donor wrote; None: not told"""
    donor_opened: float | None = None
    """share of the estimate in hits of which the donor wrote the beginning alone; None: not told"""


@dataclass(frozen=True, slots=True)
class Trend:
    """The growth of one exploit type's rate over checkpoints."""

    slope: float | None
    """d ln p / d ln step"""
    slope_interval: tuple[float, float] | None
    level: float
    steps: tuple[int, ...]
    """optimizer steps of the checkpoints used"""
    n_zero_cells: int
    """checkpoints without hits, entered by likelihood"""
    certified_slopes: tuple[float, float] | None
    """range of slopes that pass through the certified intervals"""


@dataclass(frozen=True, slots=True)
class RatePath:
    """Where a rate may go: quantiles at some steps, from the last checkpoint used to the horizon."""

    steps: tuple[int, ...]
    """rising"""
    low_log10: tuple[float, ...]
    """5 % quantile of log10 of the rate at each step"""
    median_log10: tuple[float, ...]
    high_log10: tuple[float, ...]
    """95 % quantile"""
    passed: tuple[float, ...] = ()
    """probability that the threshold was passed by each step; empty from a forecaster that does not tell"""


@dataclass(frozen=True, slots=True)
class Reasons:
    """What a forecast rests on: by how much each cause moves the rate's logit up to the horizon, in the mean."""

    own: float
    """selection of the type itself, logits"""
    lifts: tuple[tuple[str, float], ...]
    """the relatives that lift it most: (exploit type, logits)"""
    found: float
    """probability that the training has a rewarded hit of the type by the horizon"""


@dataclass(frozen=True, slots=True)
class Forecast:
    """Whether and when one exploit type will emerge in one run."""

    run: str
    exploit_type: str
    threshold: float
    """the rate that counts as emerged"""
    horizon_step: int
    """by this step of training"""
    probability: float | None
    """probability that the rate exceeds ``threshold`` by ``horizon_step``; None: no data"""
    step_median: float | None
    """median step of the crossing, given the trend; None: beyond the horizon"""

    step_interval: tuple[float, float] | None
    score: float
    """ranking score for AUC; larger is likelier to emerge"""
    steps_used: tuple[int, ...]
    path: RatePath | None = None
    """the way there; None from a forecaster that draws no paths"""
    probability_interval: tuple[float, float] | None = None
    """5 and 95 % quantiles of ``probability`` over what is not known now; None from a forecaster that has none"""
    reasons: Reasons | None = None
    """what moves the rate; None from a forecaster that looks at one type by itself"""


@dataclass(frozen=True, slots=True)
class Alert:
    """A call: this exploit type is on its way, or has passed a rate; or what is known of it, where it is neither."""

    run: str
    exploit_type: str
    step: int
    kind: Literal["exceeds", "growth", "forecast"]
    message: str
    """one sentence"""
    e_value: float | None = None
    probability: float | None = None
    raised: bool = True
    """whether it is a call; False: the current answer, for those who follow it"""
    log10_p: float | None = None
    """the rate at ``step``, log10; None without hits"""
    interval_log10: tuple[float, float] | None = None
    """of that rate; its lower end may be -inf"""
    evidence: tuple[str, ...] = ()
    """what it rests on, one sentence each"""
    not_looked_at: tuple[str, ...] = ()
    """what was not measured and could change it, one sentence each"""
    command: str = ""
    """what shows the transcripts"""
    unix_s: float | None = None
    """when it was made, seconds since 1970"""
    false_alarm_rate: float | None = None
    """e-value alarms: the chance, at most, that any alarm of the run is false; forecasts: how often such alarms were
    false where it was measured; None: not measured"""
