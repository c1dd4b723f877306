"""The laws of an engine, measured: what an engine must do for its log-probabilities to give importance weights.

Each function runs an engine and returns figures; nothing is judged here but ``Differences.rate_factor``. The test
suites of engines and ``forewarn engine check`` call the same functions. Not here: prompts, printing.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from forewarn.models.base import Engine, Ids, Sample
from forewarn.records import Policy

Floats = NDArray[np.float64]
MIN_P_VALUE = 1e-4
"""below it, draws are not those of the scored probabilities"""
BLOCK = 100
"""tokens over which differences are summed: about one completion's"""


@dataclass(frozen=True, slots=True)
class Differences:
    """Differences between two log-probabilities of the same tokens (nats)."""

    n_tokens: int
    worst_token: float
    """largest difference of one token"""
    worst_prefix: float
    """largest summed difference of a completion's first tokens, over all completions and lengths"""
    bias: float
    """mean difference, times ``BLOCK``: what a completion of that many tokens is off by, always in one direction"""
    bias_error: float
    """standard error of ``bias``"""
    spread: float
    """standard deviation, times the root of ``BLOCK``: what it is off by at random"""
    n_support: int
    """tokens that one of the two calls impossible and the other does not"""

    @property
    def weight_factor(self) -> float:
        """By how much a weight of a completion of ``BLOCK`` tokens is off, as a factor of at least 1."""
        return _exp(abs(self.bias) + self.spread)

    @property
    def rate_factor(self) -> float:
        """The same for an estimated rate: over many weights the random part leaves its mean, exp(spread^2 / 2)."""
        return _exp(abs(self.bias) + self.spread**2 / 2)


def _exp(value: float) -> float:
    return math.exp(value) if value < 700 else math.inf


def differences(first: Sequence[Floats], second: Sequence[Floats]) -> Differences:
    """Of log-probs of the same completions, token by token; tokens that both call impossible don't differ."""
    worst_prefix, n_support, all_rows = 0.0, 0, [np.empty(0)]
    for a, b in zip(first, second, strict=True):
        impossible = np.isneginf(a) | np.isneginf(b)
        n_support += int((np.isneginf(a) != np.isneginf(b)).sum())
        row = np.where(impossible, 0.0, np.where(impossible, 0.0, a) - np.where(impossible, 0.0, b))
        all_rows.append(row)
        if len(row):
            worst_prefix = max(worst_prefix, float(np.abs(np.cumsum(row)).max()))
    tokens = np.concatenate(all_rows)
    if not len(tokens):
        return Differences(0, 0.0, 0.0, 0.0, 0.0, 0.0, n_support)
    deviation = float(tokens.std())
    return Differences(
        n_tokens=len(tokens),
        worst_token=float(np.abs(tokens).max()),
        worst_prefix=worst_prefix,
        bias=BLOCK * float(tokens.mean()),
        bias_error=BLOCK * deviation / math.sqrt(len(tokens)),
        spread=math.sqrt(BLOCK) * deviation,
        n_support=n_support,
    )


@dataclass(frozen=True, slots=True)
class Drawn:
    """Samples, their scores, and how long both took."""

    prompts: tuple[Ids, ...]
    """one a sample"""
    samples: tuple[Sample, ...]
    scores: tuple[Floats, ...]
    sample_s: float
    score_s: float

    @property
    def continuations(self) -> list[tuple[int, ...]]:
        return [sample.token_ids for sample in self.samples]

    @property
    def differences(self) -> Differences:
        """Scored against sampled: zero where the engine scores the distribution that it samples from."""
        return differences(self.scores, [np.array(sample.log_probs, dtype=np.float64) for sample in self.samples])

    @property
    def n_tokens(self) -> int:
        return sum(len(sample.token_ids) for sample in self.samples)


def sample_then_score(
    engine: Engine,
    prompts: Sequence[Ids],
    *,
    policy: Policy,
    stop_ids: Sequence[int],
    n: int,
    max_new_tokens: int,
    seed: int,
    adapter: str | None = None,
) -> Drawn:
    """Draw ``n`` completions of each prompt and score them."""
    start = time.perf_counter()
    samples = engine.sample(
        prompts, policy=policy, seed=seed, max_new_tokens=max_new_tokens, stop_ids=stop_ids, n=n, adapter=adapter
    )
    middle = time.perf_counter()
    spread = [prompt for prompt in prompts for _ in range(n)]
    scores = engine.score(spread, [sample.token_ids for sample in samples], policy=policy, adapter=adapter)
    end = time.perf_counter()
    return Drawn(tuple(spread), tuple(samples), tuple(scores), middle - start, end - middle)


def batched_against_single(
    engine: Engine,
    prompts: Sequence[Ids],
    continuations: Sequence[Ids],
    *,
    policy: Policy,
    adapter: str | None = None,
) -> Differences:
    """The same rows scored in one call and one by one."""
    together = engine.score(prompts, continuations, policy=policy, adapter=adapter)
    alone = [
        engine.score([prompt], [continuation], policy=policy, adapter=adapter)[0]
        for prompt, continuation in zip(prompts, continuations, strict=True)
    ]
    return differences(together, alone)


def engine_against_engine(
    first: Engine,
    second: Engine,
    prompts: Sequence[Ids],
    continuations: Sequence[Ids],
    *,
    policy: Policy,
    adapter: str | None = None,
) -> Differences:
    """The same rows scored by two engines."""
    scores = [engine.score(prompts, continuations, policy=policy, adapter=adapter) for engine in (first, second)]
    return differences(scores[0], scores[1])


@dataclass(frozen=True, slots=True)
class Frequencies:
    """How often tokens were drawn against their scored probabilities."""

    n: int
    n_cells: int
    p_value: float | None
    """of a chi-square test; None where too few outcomes are likely enough to test"""
    n_outside: int
    """draws that the score calls impossible"""


def frequencies(
    engine: Engine, prompt: Ids, *, policy: Policy, n: int, seed: int, adapter: str | None = None, length: int = 2
) -> Frequencies:
    """Are ``n`` samples of ``length`` tokens drawn as often as they are scored probable?

    Outcomes seen in a first draw are the cells that a second one is tested on, everything else being one more, so that
    no vocabulary has to be enumerated.
    """
    pilot, fresh = (
        Counter(
            sample.token_ids
            for sample in engine.sample(
                [prompt], policy=policy, seed=seed + i, max_new_tokens=length, stop_ids=(), n=n, adapter=adapter
            )
        )
        for i in range(2)
    )
    outcomes = sorted(pilot.keys() | fresh.keys())
    scores = engine.score([prompt] * len(outcomes), outcomes, policy=policy, adapter=adapter)
    probability = {ids: math.exp(float(score.sum())) for ids, score in zip(outcomes, scores, strict=True)}
    n_outside = sum(fresh[ids] + pilot[ids] for ids in outcomes if probability[ids] == 0)
    cells = [ids for ids in sorted(pilot) if n * probability[ids] >= 5]
    observed = np.array([fresh[ids] for ids in cells], dtype=np.float64)
    expected = np.array([n * probability[ids] for ids in cells])
    n_cells, p_value = _chi_square(observed, expected, n)
    return Frequencies(n, n_cells, p_value, n_outside)


@dataclass(frozen=True, slots=True)
class Support:
    """Is a truncating policy's density the truncated, renormalised one?"""

    policy: Policy
    n_tokens: int
    """tokens whose density was looked at, at one position"""
    n_inside: int
    n_drawn_outside: int
    """sampled tokens that the score calls impossible"""
    n_misplaced: int
    """tokens inside that are less likely than one outside"""
    n_excess: int
    """tokens inside that the policy leaves out, by the full policy's log-probs"""
    worst_constant: float
    """nats: how far log-probs inside are from the full policy's plus one constant"""
    worst_gap: float
    """nats: how far scored log-probs are from those given when sampled"""
    mass: float
    """sum of the probabilities inside that were looked at: at most 1"""
    p_value: float | None
    """of a chi-square test of the draws; None where too few outcomes are likely enough to test"""

    @property
    def holds(self) -> bool:
        counts = self.n_drawn_outside == self.n_misplaced == self.n_excess == 0
        densities = max(self.worst_constant, self.worst_gap) < 0.01 and self.mass < 1.001
        return counts and densities and (self.p_value is None or self.p_value > MIN_P_VALUE)


def support(engine: Engine, prompt: Ids, *, policy: Policy, n: int, seed: int, adapter: str | None = None) -> Support:
    """Hold a truncating policy's log-probs of single tokens against those at the same temperature without truncation.

    Looked at are the tokens of ``n`` draws of each of both policies.
    """
    full = Policy(temperature=policy.temperature)
    drawn = [
        engine.sample([prompt], policy=p, seed=seed + i, max_new_tokens=1, stop_ids=(), n=n, adapter=adapter)
        for i, p in enumerate((policy, full))
    ]
    tokens = sorted({sample.token_ids for samples in drawn for sample in samples})
    scores = [
        np.array([float(row[0]) for row in engine.score([prompt] * len(tokens), tokens, policy=p, adapter=adapter)])
        for p in (policy, full)
    ]
    inside = np.isfinite(scores[0])
    scored = dict(zip(tokens, scores[0].tolist(), strict=True))
    constant = scores[0][inside] - scores[1][inside]
    edge = scores[1][~inside].max() if (~inside).any() else -math.inf
    kept = [sample for sample in drawn[0] if math.isfinite(scored[sample.token_ids])]
    counts = Counter(sample.token_ids for sample in drawn[0])
    likely = [token for token in tokens if n * math.exp(scored[token]) >= 5]
    observed = np.array([float(counts[token]) for token in likely])
    return Support(
        policy=policy,
        n_tokens=len(tokens),
        n_inside=int(inside.sum()),
        n_drawn_outside=n - len(kept),
        n_misplaced=int((scores[1][inside] < edge).sum()),
        n_excess=_excess(np.exp(scores[1][inside]), policy),
        worst_constant=float(np.abs(constant - np.median(constant)).max()) if inside.any() else 0.0,
        worst_gap=max((abs(sample.log_probs[0] - scored[sample.token_ids]) for sample in kept), default=0.0),
        mass=float(np.exp(scores[0][inside]).sum()),
        p_value=_chi_square(observed, np.array([n * math.exp(scored[token]) for token in likely]), n)[1],
    )


def _excess(probability_inside: Floats, policy: Policy) -> int:
    """Tokens that the policy certainly leaves out: past the k likeliest, past a mass of top_p, below min_p's share."""
    ordered = np.sort(probability_inside)[::-1]
    before = np.cumsum(ordered) - ordered
    out = before >= policy.top_p + 1e-3
    if policy.top_k > 0:
        out |= np.arange(len(ordered)) >= policy.top_k
    if len(ordered):
        out |= ordered < ordered[0] * policy.min_p * 0.999
    return int(out.sum())


def _chi_square(observed: Floats, expected: Floats, n: int) -> tuple[int, float | None]:
    """(cells, p-value) of counts against expected ones, everything else of the ``n`` draws being one more cell."""
    rest = n - float(expected.sum())
    if rest >= 5:
        observed, expected = np.append(observed, n - observed.sum()), np.append(expected, rest)
    if len(expected) < 2:
        return len(expected), None
    if not observed.any():
        return len(expected), 0.0
    expected = expected * (observed.sum() / expected.sum())
    return len(expected), float(stats.chisquare(observed, expected).pvalue)
