"""A completion, the policy that it was sampled under, and its scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Literal

from forewarn.errors import InputError
from forewarn.records.keys import content_key
from forewarn.records.spans import Span

FinishReason = Literal["stop", "length"]


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
