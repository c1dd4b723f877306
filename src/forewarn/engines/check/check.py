"""Checks an engine on a user's own model, and decides whether its importance weights can be trusted.

The measurements are in ``laws.py``, ``draws.py`` and ``adapter_law.py``. Not here: opening engines (``registry.py``),
printing (``cli/engine_check.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from forewarn.engines.base import Engine, Ids
from forewarn.engines.check.adapter_law import AdapterLaw
from forewarn.engines.check.drawing import by_length, draw_rows, longest_completion
from forewarn.engines.check.draws import MIN_P_VALUE, Frequencies, Support, frequencies, support
from forewarn.engines.check.laws import (
    Differences,
    ScoredDraws,
    batched_against_single,
    engine_against_engine,
)
from forewarn.errors import InputError, ModelError
from forewarn.formats import bind, detect_format
from forewarn.records import Policy

AUTO, NO_FORMAT = "auto", "none"
QUESTIONS = (
    "Write a Python function total(values) that returns the sum of a list of numbers.",
    "Name three rivers, and say in one sentence each where they flow.",
    "Why is the sky blue?",
    "Write a Python function longest(words).\n\nExamples:\n    longest(['a', 'bc']) -> 'bc'\n    longest([]) -> None",
)
SHORT = "The answer is"
"""a short prompt for the draws whose support is tested, and the first place whose frequencies are tested"""
PLACES = 4
"""number of further places whose frequencies are tested: those before the most surprising token of a completion, since
an almost certain next token does not show how tokens are drawn"""
TRUNCATING = (Policy(top_p=0.9), Policy(top_k=20), Policy(min_p=0.05))
MAX_RATE_FACTOR = 1.05
"""largest factor by which a trusted engine may change an estimated rate: well below any interval's width"""


@dataclass(frozen=True, slots=True)
class CheckSizes:
    """The amounts to measure."""

    completions: int = 8
    """completions of each question"""
    max_new_tokens: int | None = None
    """longest completion, a study's ``max_total_tokens``; None: ``USUAL_TOKENS``, or less if rows must be shorter"""
    singles: int = 8
    """rows scored one by one"""
    draws: int = 400
    """short samples at each place for frequencies, and one-token samples of each policy for support"""
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("completions", "max_new_tokens", "singles", "draws"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise InputError(f"{name} is {value}: give at least 1")


@dataclass(frozen=True, slots=True)
class EngineReceipt:
    """The measurements of an engine on one model."""

    agreement: Differences
    """scored, against as sampled"""
    batched: Differences
    """scored in a batch, against scored one by one"""
    drawn: tuple[Frequencies, ...]
    """one a place"""
    supports: tuple[Support, ...]
    refused: tuple[str, ...]
    """truncating policies that the engine refuses, which is as safe as exact densities"""
    against: Differences | None
    """scored against a second engine"""
    sampled_per_s: float
    """tokens a second"""
    scored_per_s: float
    """tokens a second"""
    longest_row: int
    """tokens of the longest row measured, prompt and completion; longer rows are not covered"""
    adapters: AdapterLaw | None = None
    """how loading the adapter affects the base and other adapters; None without an adapter"""

    @property
    def p_value(self) -> float | None:
        """The p-value of all places' frequencies together (Bonferroni); None if no place could be tested."""
        tested = [found.p_value for found in self.drawn if found.p_value is not None]
        return min(1.0, len(tested) * min(tested)) if tested else None

    @property
    def faults(self) -> list[str]:
        """Reasons why importance weights from this engine can't be trusted; empty if they can."""
        named = {"sampled and scored log-probs": self.agreement, "batched and single scores": self.batched}
        if self.against is not None:
            named["the two engines"] = self.against
        if self.adapters is not None:
            named |= self.adapters.equal
        found = []
        for what, measured in named.items():
            if measured.rate_factor > MAX_RATE_FACTOR:
                found.append(f"{what} differ so much that a rate is off by a factor of {measured.rate_factor:.3g}")
            if measured.n_support:
                found.append(f"{what} disagree on {measured.n_support} tokens that only one of them calls impossible")
        if self.adapters is not None and not self.adapters.scale_holds:
            found.append("an adapter loaded at scale 0.5 scores as the base or as the whole adapter does")
        n_outside = sum(one.n_outside for one in self.drawn)
        if n_outside:
            found.append(f"{n_outside} draws are impossible by their score")
        if self.p_value is None:
            found.append("there are too few draws to test token frequencies: ask for more (--draws, --tokens)")
        elif self.p_value < MIN_P_VALUE:
            found.append(f"tokens are not drawn as often as they are scored probable (p = {self.p_value:.1e})")
        found += [f"the density under {_said(s.policy)} is not the truncated one" for s in self.supports if not s.holds]
        return found

    @property
    def trusted(self) -> bool:
        return not self.faults

    @property
    def sentence(self) -> str:
        """The conclusion, with the effect of the largest measured difference on a weight and a rate."""
        laws = () if self.adapters is None else tuple(self.adapters.equal.values())
        worst = max(
            (d for d in (self.agreement, self.batched, self.against, *laws) if d), key=lambda d: d.weight_factor
        )
        effect = (
            f"the largest difference measured changes a weight by a factor of {worst.weight_factor:.5g} "
            f"and a rate by {worst.rate_factor:.5g} per 100 tokens"
        )
        if self.trusted:
            return f"Importance weights from this engine can be trusted: {effect}."
        return f"Importance weights from this engine can NOT be trusted: {'; '.join(self.faults)} ({effect})."


def _said(policy: Policy) -> str:
    parts = {"top_p": policy.top_p, "top_k": policy.top_k, "min_p": policy.min_p}
    plain = {"top_p": 1.0, "top_k": 0, "min_p": 0.0}
    return ", ".join(f"{name} {value:g}" for name, value in parts.items() if value != plain[name])


@dataclass(frozen=True, slots=True)
class Prompts:
    """The prompts given to the engine."""

    ids: tuple[tuple[int, ...], ...]
    short: tuple[int, ...]
    stop_ids: tuple[int, ...]
    form: str
    """the chat format, or why the prompts are plain text"""


def make_prompts(tokenizer: Any, form: str = AUTO, system: str | None = None, *, ends: Sequence[int] = ()) -> Prompts:
    """Return the questions in a chat format, or as plain text if ``form`` is "none" or "auto" finds no format.

    ``ends``: the model's own end tokens. Raises ModelError if a named format doesn't fit the tokenizer.
    """
    short = tuple(tokenizer.encode(SHORT, add_special_tokens=False))
    why = "plain text, as asked"
    if form != NO_FORMAT:
        try:
            chosen = detect_format(tokenizer, system=system) if form == AUTO else form
            channels = bind(chosen, tokenizer, system=system, ends=ends)
            ids = tuple(channels.prompt_ids(question) for question in QUESTIONS)
            return Prompts(ids, short, channels.end_ids, channels.format.name)
        except ModelError as error:
            if form != AUTO:
                raise
            why = f"plain text, as {error}"
    plain = tuple(tuple(tokenizer.encode(f"{question}\n", add_special_tokens=False)) for question in QUESTIONS)
    return Prompts(plain, short, (), why)


def check_engine(
    engine: Engine,
    prompts: Prompts,
    *,
    sizes: CheckSizes | None = None,
    adapter: str | None = None,
    against: Engine | None = None,
    adapters: AdapterLaw | None = None,
) -> EngineReceipt:
    """Run every measurement on ``engine``; ``adapter`` is one that both engines have loaded.

    ``adapters``: the measurements made while the adapter was being loaded, which can't be made afterwards.
    """
    sizes = sizes or CheckSizes()
    plain = Policy()
    drawn = draw_rows(
        engine,
        prompts.ids,
        stop_ids=prompts.stop_ids,
        completions=sizes.completions,
        longest=longest_completion(engine, prompts.ids, sizes.max_new_tokens),
        seed=sizes.seed,
        adapter=adapter,
    )
    rows = by_length(drawn, sizes.singles)
    few: Sequence[Ids] = [drawn.prompts[i] for i in rows]
    supports, refused = [], []
    for policy in TRUNCATING:
        try:
            supports.append(
                support(engine, prompts.short, policy=policy, n=sizes.draws, seed=sizes.seed, adapter=adapter)
            )
        except InputError as error:
            refused.append(f"{_said(policy)}: {error}")
    second = None
    if against is not None:
        second = engine_against_engine(
            engine, against, drawn.prompts, drawn.continuations, policy=plain, adapter=adapter
        )
    return EngineReceipt(
        agreement=drawn.differences,
        batched=batched_against_single(
            engine, few, [drawn.continuations[i] for i in rows], policy=plain, adapter=adapter
        ),
        drawn=_frequencies(engine, prompts, drawn, sizes, adapter),
        supports=tuple(supports),
        refused=tuple(refused),
        against=second,
        sampled_per_s=drawn.n_tokens / drawn.sample_s,
        scored_per_s=drawn.n_tokens / drawn.score_s,
        longest_row=max(len(p) + len(c) for p, c in zip(drawn.prompts, drawn.continuations, strict=True)),
        adapters=adapters,
    )


def _frequencies(
    engine: Engine, prompts: Prompts, drawn: ScoredDraws, sizes: CheckSizes, adapter: str | None
) -> tuple[Frequencies, ...]:
    places = [(prompts.short, 2), *((place, 1) for place in uncertain_places(drawn, PLACES))]
    return tuple(
        frequencies(
            engine, place, policy=Policy(), n=sizes.draws, seed=sizes.seed + 1 + 2 * i, adapter=adapter, length=length
        )
        for i, (place, length) in enumerate(places)
    )


def uncertain_places(drawn: ScoredDraws, count: int) -> list[tuple[int, ...]]:
    """Return rows of ids (prompt and beginning) before each completion's most surprising token, sorted by surprise.

    A completion gives at most one row, and none if all its tokens were almost certain.
    """
    places: dict[tuple[int, ...], float] = {}
    for prompt, sample, scores in zip(drawn.prompts, drawn.samples, drawn.scores, strict=True):
        if len(scores):
            at = int(np.argmin(scores))
            place = (*prompt, *sample.token_ids[:at])
            places[place] = min(places.get(place, 0.0), float(scores[at]))
    return sorted((place for place, score in places.items() if score < -0.1), key=places.__getitem__)[:count]
