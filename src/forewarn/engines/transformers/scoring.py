"""Scoring one batch: right-padded rows in a single forward pass, without a cache and without a mask.

Not here: how rows are cut into batches (``engine.py``), sampling (``decode.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from forewarn.engines.base import Ids
from forewarn.engines.policy import policy_log_probs
from forewarn.errors import EngineFault
from forewarn.records import Policy


def score_batch(model: Any, pairs: Sequence[tuple[Ids, Ids]], policy: Policy) -> list[NDArray[np.float64]]:
    """Return log-probs (nats) of each pair's second part after its first. Raises EngineFault if the model gives NaN."""
    device = torch.device(model.device)
    # the last token's prediction is not needed, so the token is not fed
    width = max(len(p) + len(c) for p, c in pairs) - 1
    first = min(len(p) for p, _ in pairs) - 1  # the earliest position whose logits are needed
    ids = np.zeros((len(pairs), width), dtype=np.int64)
    wanted = np.zeros((len(pairs), width - first), dtype=np.int64)
    for i, (prompt, continuation) in enumerate(pairs):
        row = [*prompt, *continuation]
        ids[i, : len(row) - 1] = row[:-1]
        start = len(prompt) - 1 - first
        wanted[i, start : start + len(continuation)] = continuation
    # padding is on the right, where causal attention never looks, so a mask is not needed
    positions = torch.arange(width, device=device).expand(len(pairs), -1)
    out = model(
        input_ids=torch.from_numpy(ids).to(device),
        position_ids=positions,
        use_cache=False,
        logits_to_keep=width - first,
    )
    log_probs = policy_log_probs(out.logits, policy)
    index = torch.from_numpy(wanted).to(device).unsqueeze(-1)
    picked = log_probs.gather(-1, index).squeeze(-1).double().cpu().numpy()
    results = []
    for i, (prompt, continuation) in enumerate(pairs):
        start = len(prompt) - 1 - first
        values = picked[i, start : start + len(continuation)].copy()
        if np.isnan(values).any():
            raise EngineFault(f"{type(model).__name__} gave NaN log-probabilities; its weights may be damaged")
        results.append(values)
    return results


def score_plainly(model: Any, prompt: Ids, row: Ids, policy: Policy) -> NDArray[np.float64]:
    """Score one row with the model's plain forward pass, without our padding and positions."""
    ids = torch.tensor([[*prompt, *row]], device=torch.device(model.device))
    log_probs = policy_log_probs(model(input_ids=ids).logits[0, len(prompt) - 1 : -1], policy)
    picked: NDArray[np.float64] = log_probs.gather(1, ids[0, len(prompt) :, None]).squeeze(1).double().cpu().numpy()
    return picked
