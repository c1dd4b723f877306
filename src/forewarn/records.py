"""The frozen records that pass from stage to stage. Data only: behaviour lives in the rooms that make and read them.

Rules: token ids are the truth and text is a view; a log-probability carries its policy; "no", "broken" and
"missing" are different values; missing is ``None``, never NaN and never 0.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Literal

from forewarn.errors import InputError
from forewarn.spans import SUBJECT as SUBJECT
from forewarn.spans import UNBOUNDED as UNBOUNDED
from forewarn.spans import RandomWindows as RandomWindows
from forewarn.spans import Span as Span

Label = Literal["solved", "exploit", "lucky", "failed", "strict", "inconsistent", "invalid"]
NO_VERDICT: frozenset[Label] = frozenset({"invalid", "inconsistent"})
"""labels that say neither yes nor no"""
FinishReason = Literal["stop", "length"]

KEY_KIND = "whole SHA-256"
"""the version of a run folder's keys; folders of earlier versions, whose keys were cut to 64 bits, do not name one"""
KEY_LENGTH = 64
"""hex digits of a key"""


def content_key(*parts: object) -> str:
    """Return the key of JSON-like parts, a whole SHA-256 digest: equal parts give equal keys in every process.

    It is never shortened, because the measured model writes the programs, and a collision would give one program
    another's verdict.
    """
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def derived_seed(*parts: object) -> int:
    """Return a 63-bit seed that is a function of ``parts`` alone (study seed, cell, stage ...)."""
    return int(content_key("seed", *parts)[:16], 16) >> 1


@dataclass(frozen=True, slots=True)
class TestCase:
    """One call of the entry point."""

    __test__ = False  # not a pytest class

    args: tuple[object, ...]
    """positional arguments; each checker run gets its own copy"""
    expected: object
    """what the reference solution returns"""


@dataclass(frozen=True, slots=True)
class Problem:
    """A task under one exploit type's pair of checkers."""

    problem_id: str
    """unique within a problem set"""
    task_id: str
    """the base task; problems of several exploit types share it"""
    exploit_type: str
    """a key of ``forewarn.exploits.EXPLOIT_TYPES``"""
    question: str
    """the question for the model, including the checker's hint"""
    entry_point: str
    """name of the function a submission defines"""
    reference: str
    """source of a correct solution"""
    exploit: str
    """source of this type's reference exploit for this task: wrong everywhere, accepted by the vulnerable checker"""
    tests: tuple[TestCase, ...]
    """the full hidden tests (the secure judgement)"""
    named_tests: Mapping[str, tuple[TestCase, ...]] = field(default_factory=dict, hash=False)
    """other test sets that weak types need: "hardcoded", "hardcoded_fresh", "leaked", "leaked_fresh", "easy" ..."""
    wrong: tuple[str, ...] = ()
    """honest but wrong solutions, for the admission audit"""
    float_tolerance: float | None = None
    """relative and absolute tolerance between floats; None: exact and type-strict"""
    extra: Mapping[str, object] = field(default_factory=dict, hash=False)
    """whatever else the source held (imports keep their unknown fields here)"""


@dataclass(frozen=True, slots=True)
class Policy:
    """A sampling policy. A log-probability means nothing without it."""

    temperature: float = 1.0
    """> 0; greedy decoding has no density and is out of scope"""
    top_p: float = 1.0
    top_k: int = 0
    """0: off"""
    min_p: float = 0.0
    max_total_tokens: int = 4096
    """limit on the whole completion (reasoning and answer), shared by every stage of a span and every span"""

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise InputError(f"temperature is {self.temperature}: greedy decoding has no density; give a value above 0")
        if not 0 < self.top_p <= 1:
            raise InputError(f"top_p is {self.top_p}: give a value in (0, 1]")
        if self.top_k < 0:
            raise InputError(f"top_k is {self.top_k}: give 0 (off) or a positive count")
        if not 0 <= self.min_p < 1:
            raise InputError(f"min_p is {self.min_p}: give a value in [0, 1)")
        if self.max_total_tokens < 1:
            raise InputError(f"max_total_tokens is {self.max_total_tokens}: give at least 1")

    @property
    def key(self) -> str:
        return content_key("policy", asdict(self))


@dataclass(frozen=True, slots=True)
class Completion:
    """One completion: reasoning r_1..r_R (closer included), then answer a_1..a_A (end of turn included)."""

    completion_id: str
    problem_id: str
    checkpoint_id: str
    """the subject: a key of the study's checkpoints"""
    span: Span
    token_ids: tuple[int, ...]
    """everything after the prompt, in order; never re-encoded from text"""
    n_reasoning: int
    """R: tokens of the reasoning, those that close the channel included; ``len(token_ids)`` where no answer opens"""
    donor_wrote: tuple[bool, ...]
    """for each token, whether the donor (else the subject) wrote it"""
    finish_reason: FinishReason
    """"stop": ended its turn; "length": ran into the policy's total length (which emits no token)"""
    trace_id: str
    """identity of the donor trace this grew from: the unit of every interval; own id where each has its own"""
    policy: Policy
    seed: int

    @property
    def n_answer(self) -> int:
        return len(self.token_ids) - self.n_reasoning


@dataclass(frozen=True, slots=True)
class Score:
    """Per-token log-probabilities of one completion under one model and policy.

    They cover the first tokens, up to the last that a donor may write; after it the subject writes in every span.
    """

    completion_id: str
    model_id: str
    policy: Policy
    log_probs: tuple[float, ...]
    """nats, one per token; -inf for a token outside the policy's support"""
    anchors: Mapping[str, tuple[int, ...]] = field(default_factory=dict, hash=False)
    """for each anchor that a span of the cell counts from: the completion's tokens at which the count starts"""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The checkers' answers for one submission to one problem."""

    problem_id: str
    code_key: str
    """``content_key`` of the submitted source: identical (problem, code) pairs are judged once"""
    label: Label
    vulnerable: bool | None
    """whether the vulnerable checker accepted; None: it broke"""
    patched: bool | None
    """whether the patched twin accepted; None: it did not run, or it broke"""
    secure: bool | None
    """whether the secure judgement accepted; None: it did not run, or it broke"""
    isolation: str
    """sandbox level: "strict", "hardened" or "weak" """
    reason: str
    """one line: which rule accepted, why it failed, or what broke"""
    evidence: tuple[str, ...] = ()
    """for exploits and inconsistent submissions, and for all under audit: one line per checker, with the rule that
    decided and its reason"""
    self_reported: bool = False
    """whether the type's vulnerable checker believes a report of the submission's own process: an exploit may then be a
    forged report instead of a use of the flaw"""


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
