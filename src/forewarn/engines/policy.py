"""A sampling policy's exact density: takes logits, returns log-probabilities of the sampled distribution.

The warpers are transformers' own, in the order ``generate`` applies them (temperature, top-k, top-p, min-p), so
that a policy means the same in both. A truncating policy has log-probability -inf outside its support.
"""

from __future__ import annotations

import torch
from transformers.generation.logits_process import (
    MinPLogitsWarper,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from forewarn.records import Policy


def is_truncating(policy: Policy) -> bool:
    """Return whether the policy gives some tokens probability zero."""
    return policy.top_k > 0 or policy.top_p < 1.0 or policy.min_p > 0.0


def policy_log_probs(logits: torch.Tensor, policy: Policy) -> torch.Tensor:
    """Return normalised log-probabilities (nats) of every token under ``policy``.

    ``logits``: (..., vocabulary), any float type. Computed in float32, or in float64 for float64 logits.
    """
    scores = logits if logits.dtype == torch.float64 else logits.float()
    if policy.temperature == 1.0 and not is_truncating(policy):
        return torch.log_softmax(scores, dim=-1)
    shape = scores.shape
    scores = scores.reshape(-1, shape[-1])
    no_ids = torch.empty((scores.shape[0], 0), dtype=torch.long, device=scores.device)
    if policy.temperature != 1.0:
        scores = TemperatureLogitsWarper(policy.temperature)(no_ids, scores)
    if policy.top_k > 0:
        scores = TopKLogitsWarper(policy.top_k)(no_ids, scores)
    if policy.top_p < 1.0:
        scores = TopPLogitsWarper(policy.top_p)(no_ids, scores)
    if policy.min_p > 0.0:
        scores = MinPLogitsWarper(policy.min_p)(no_ids, scores)
    return torch.log_softmax(scores, dim=-1).reshape(shape)


def draw(log_probs: torch.Tensor, uniforms: torch.Tensor) -> torch.Tensor:
    """Draw tokens by the inverse CDF: row b takes the token whose slice of [0, 1) contains ``uniforms[b]``.

    ``log_probs``: (batch, vocabulary). ``uniforms``: (batch,) float64. Returns (batch,) token ids. The sums are in
    float64: in float32 the rate of a token with probability 1e-7 would be off by as much as the rate itself.
    """
    cdf = torch.cumsum(log_probs.exp(), dim=-1, dtype=torch.float64)
    total = cdf[:, -1]
    # u * total may round up to the total, past every token
    target = torch.minimum(uniforms * total, torch.nextafter(total, torch.zeros_like(total)))
    # rows of NaN get the last token, and its NaN log-probability shows the fault
    return torch.searchsorted(cdf, target.unsqueeze(1), right=True).squeeze(1).clamp_max_(cdf.shape[1] - 1)
