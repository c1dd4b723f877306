"""A sampling policy's exact density: logits in, log-probabilities of the distribution sampled from out.

The warpers are transformers' own, in the order ``generate`` applies them (temperature, top-k, top-p, min-p), so
that a policy means the same here and there. A truncating policy has log-probability -inf outside its support.
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
    """Does the policy give some tokens probability zero?"""
    return policy.top_k > 0 or policy.top_p < 1.0 or policy.min_p > 0.0


def policy_log_probs(logits: torch.Tensor, policy: Policy) -> torch.Tensor:
    """Normalised log-probabilities (nats) of every token under ``policy``.

    ``logits``: (..., vocabulary), any float type. Computed in float32, or in float64 where the logits are.
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
    """Inverse-CDF draws: row b takes the token whose slice of [0, 1) holds ``uniforms[b]``.

    ``log_probs``: (batch, vocabulary). ``uniforms``: (batch,) float64. Returns (batch,) token ids. The sums run in
    float64: in float32 a token of probability 1e-7 would be drawn at a rate off by its own size.
    """
    cdf = torch.cumsum(log_probs.exp(), dim=-1, dtype=torch.float64)
    total = cdf[:, -1]
    # u * total may round up to the total, past every token
    target = torch.minimum(uniforms * total, torch.nextafter(total, torch.zeros_like(total)))
    # rows of NaN find no place: they get the last token, and NaN as its log-probability tells on them
    return torch.searchsorted(cdf, target.unsqueeze(1), right=True).squeeze(1).clamp_max_(cdf.shape[1] - 1)
