"""A model tried before it is used: does this engine sample and score it as the model itself does?

Attention alone keeps all it needs in keys and values. A model that keeps a state beside them, looks ahead, or counts
positions of its own can come out of the decode loop as another model, without an error. Which does can't be told from a
configuration, so a few tokens are drawn and held against a plain forward pass. ``engine_check.py`` measures far more.
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
"""nats a token by which rounding may move a log-prob, and in half precision; a model run wrongly is off by far more"""
_UNFIT = (TypeError, AttributeError, ValueError, LookupError, AssertionError, RuntimeError)
"""what a forward pass raises that is handed a cache, a mask or positions that it doesn't know"""


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
    """Raise ModelError where the three ways to get a log-prob of the same tokens disagree, or the model takes none.

    ``sample``: prompts and a limit to samples. ``score``: prompts and continuations to log-probs, in one batch.
    ``plain``: the same of one row, by nothing but a forward pass of the model.
    """
    n_new = N_NEW if max_len is None else min(N_NEW, max_len - max(N_PROMPTS))
    if n_new < 1:
        return
    # from the middle of the vocabulary: its ends are often tokens with a meaning of their own
    ids = [(vocab_size // 2 + 13 * i) % vocab_size for i in range(sum(N_PROMPTS))]
    prompts = [ids[: N_PROMPTS[0]], ids[N_PROMPTS[0] :]]
    with suppress(EngineFault):  # damaged weights, too little memory: told where they are used
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
                f"{name} is no model that this engine can run ({reason}): it takes decoder-only models of attention "
                "layers; serve it with vLLM if vLLM knows it"
            ) from error
        found = [np.array(one.log_probs) for one in samples]
        worst = max(float(np.abs(a - b).max()) for way in (found, batched) for a, b in zip(way, alone, strict=True))
        if worst > (TOLERANCE if dtype in (torch.float32, torch.float64) else HALF_TOLERANCE):
            raise ModelError(
                f"{name} is no model that this engine can run: what it samples or scores is off by {worst:.2g} nats a "
                "token, as where a model keeps a state beside keys and values, looks ahead, or counts positions of "
                "its own; serve it with vLLM if vLLM knows it"
            )
