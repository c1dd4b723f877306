"""The interface of an engine, which samples from a policy and scores under it; the estimator relies on nothing else.

Every engine must pass ``tests/contracts/engine_laws.py``: scoring a sample reproduces its log-probs, a batch gives the
same scores as single rows, and sampling frequencies match the policy's probabilities.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from forewarn.records import FinishReason, Policy

Ids = Sequence[int]


@dataclass(frozen=True, slots=True)
class Sample:
    """The tokens that one row of a sampling call emitted."""

    token_ids: tuple[int, ...]
    """the emitted tokens; a stop token is emitted and counts"""
    log_probs: tuple[float, ...]
    """nats, one per emitted token, under the policy that it was drawn from"""
    finish: FinishReason
    """"stop": the last token is one of ``stop_ids``; "length": the limit was reached (which emits no token)"""


class Engine(Protocol):
    """Samples from and scores under a causal language model, by token ids.

    If an engine can't give a policy's exact density, ``sample`` or ``score`` refuses it with InputError.
    """

    @property
    def vocab_size(self) -> int:
        """Number of token ids."""
        ...

    @property
    def max_len(self) -> int | None:
        """Longest row, prompt and completion together (tokens); None: unknown."""
        ...

    def sample(
        self,
        prompts_ids: Sequence[Ids],
        *,
        policy: Policy,
        seed: int | Sequence[int],
        max_new_tokens: int | Sequence[int],
        stop_ids: Sequence[int],
        n: int = 1,
        adapter: str | None = None,
    ) -> list[Sample]:
        """Draw ``n`` completions of each prompt: ``len(prompts_ids) * n`` samples, prompt-major.

        ``seed`` is one for the call, or one for each prompt: what is drawn of a prompt that has a seed of its own
        doesn't depend on the prompts beside it. ``max_new_tokens`` is one limit, or one for each prompt.
        ``policy.max_total_tokens`` has to be applied by the caller, since the engine can't know how much of a
        completion its prompt already contains.
        """
        ...

    def score(
        self,
        prompts_ids: Sequence[Ids],
        continuations_ids: Sequence[Ids],
        *,
        policy: Policy,
        adapter: str | None = None,
    ) -> list[NDArray[np.float64]]:
        """Return log-probs (nats) of each continuation's tokens under the policy; -inf outside its support."""
        ...

    def load_adapter(self, name: str, folder: Path, *, scale: float = 1.0) -> None:
        """Make the PEFT adapter in ``folder`` available as ``name``, with its weight change multiplied by ``scale`` in
        (0, 1]. Raises ModelError if it can't be used."""
        ...

    def drop_adapter(self, name: str) -> None:
        """Forget an adapter. Raises ModelError for an unknown name."""
        ...
