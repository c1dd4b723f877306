"""Tries a model before it is used: does this engine sample and score it as the model itself does?

Only pure attention keeps all its state in keys and values. A model that keeps other state, looks ahead, or counts its
own positions may silently behave as another model in the decode loop. A configuration does not show this, so a few
tokens are drawn and compared with a plain forward pass. ``engines/check`` measures far more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

import numpy as np
import torch
from numpy.typing import NDArray

from forewarn.engines.base import Ids, Sample
from forewarn.engines.transformers.memory import ran_out
from forewarn.errors import EngineFault, ModelError

Floats = NDArray[np.float64]
N_PROMPTS = (5, 2)
"""lengths of the prompts (tokens): unequal, so that one is padded"""
N_NEW = 4
"""tokens drawn after each"""
TOLERANCE, HALF_TOLERANCE = 0.05, 1.0
"""nats per token that rounding may change a log-prob, in full and half precision; a wrongly run model is off by far
more"""
_UNFIT = (TypeError, AttributeError, ValueError, LookupError, AssertionError, RuntimeError)
"""exceptions of a forward pass that doesn't support the given cache, mask or positions"""


def try_model(
    name: str,
    vocab_size: int,
    max_len: int | None,
    dtype: torch.dtype,
    *,
    sample: Callable[[Sequence[Ids], int], list[Sample]],
    score: Callable[[Sequence[Ids], Sequence[Ids]], list[Floats]],
    plain: Callable[[Ids, Ids], Floats],
) -> None:
    """Raise ModelError if three ways to get log-probs of the same tokens disagree, or if the model can't run them.

    ``sample``: draws samples for prompts and a limit. ``score``: log-probs of continuations, in one batch. ``plain``:
    log-probs of one row, from the model's plain forward pass.
    """
    n_new = N_NEW if max_len is None else min(N_NEW, max_len - max(N_PROMPTS))
    if n_new < 1:
        return
    # from the middle of the vocabulary, since special tokens are often at its ends
    ids = [(vocab_size // 2 + 13 * i) % vocab_size for i in range(sum(N_PROMPTS))]
    prompts = [ids[: N_PROMPTS[0]], ids[N_PROMPTS[0] :]]
    with suppress(EngineFault):  # damaged weights and lack of memory are reported when the model is used
        try:
            samples = sample(prompts, n_new)
            rows = [one.token_ids for one in samples]
            batched = score(prompts, rows)
            alone = [plain(prompt, row) for prompt, row in zip(prompts, rows, strict=True)]
        except _UNFIT as error:
            if isinstance(error, RuntimeError) and ran_out(error):
                return
            reason = " ".join(str(error).split())[:160] or type(error).__name__
            raise ModelError(
                f"{name} is not a model that this engine can run ({reason}): it runs decoder-only models of attention "
                "layers; serve it with vLLM if vLLM supports it"
            ) from error
        found = [np.array(one.log_probs) for one in samples]
        worst = max(float(np.abs(a - b).max()) for way in (found, batched) for a, b in zip(way, alone, strict=True))
        if worst > (TOLERANCE if dtype in (torch.float32, torch.float64) else HALF_TOLERANCE):
            raise ModelError(
                f"{name} is not a model that this engine can run: its samples or scores are off by {worst:.2g} nats "
                "per token, as happens if a model keeps a state beside keys and values, looks ahead, or counts its own "
                "positions; serve it with vLLM if vLLM supports it"
            )
