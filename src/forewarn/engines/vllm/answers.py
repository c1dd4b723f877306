"""Reads vLLM's answers as plain data and checks them.

A proxy or another program may offer the same interface. Anything that is missing, of the wrong kind, or in
contradiction to the request is an EngineFault in one sentence. Not here: the requests (``requests.py``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forewarn.engines.base import Ids, Sample
from forewarn.errors import EngineFault

ROUNDING = 1e-3
"""how far above 0 rounding may put a log-prob (nats)"""


def as_sample(
    token_ids: Sequence[int],
    log_probs: Sequence[float],
    reason: str | None,
    *,
    stop_ids: Sequence[int],
    limit: int,
    vocab_size: int,
) -> Sample:
    """Return vLLM's completion. Raises EngineFault if its parts contradict each other or the request."""
    if len(token_ids) != len(log_probs):
        raise EngineFault(f"vLLM gave {len(log_probs)} log-probs for {len(token_ids)} tokens; update it")
    if any(math.isnan(value) for value in log_probs):
        raise EngineFault("vLLM gave NaN log-probabilities while sampling; the weights may be damaged")
    if wrong := [value for value in log_probs if not -math.inf < value <= ROUNDING]:
        raise EngineFault(f"vLLM gave {wrong[0]} as the log-prob of a token it sampled; look into its log")
    if outside := [token for token in token_ids if not 0 <= token < vocab_size]:
        raise EngineFault(
            f"vLLM sampled token {outside[0]}, outside the tokenizer's {vocab_size} tokens; does it serve the study's "
            "own model?"
        )
    if reason not in ("stop", "length"):
        raise EngineFault(f"vLLM ended a completion with {reason!r}; look into the server's log")
    if reason == "stop" and (not token_ids or token_ids[-1] not in stop_ids):
        raise EngineFault(
            f"vLLM stopped after token {token_ids[-1] if token_ids else None}, which is not a stop token; start the "
            "server with --generation-config vllm"
        )
    n = len(token_ids)
    if n > limit or (reason == "length" and n < limit):
        raise EngineFault(f"vLLM ended a completion ({reason}) after {n} tokens where at most {limit} were asked for")
    if any(token in stop_ids for token in token_ids[: n - 1 if reason == "stop" else n]):
        raise EngineFault("vLLM continued after a token that should end the completion; does a proxy drop fields?")
    return Sample(tuple(token_ids), tuple(map(float, log_probs)), "stop" if reason == "stop" else "length")


def sample_of(choice: Mapping[str, Any], *, stop_ids: Sequence[int], limit: int, vocab_size: int) -> Sample:
    """Return the completion in a server's answer; see ``as_sample``."""
    token_ids: Any = choice.get("token_ids")
    if not _all(token_ids, int):
        raise EngineFault("the server gave a completion without token ids; it must be vLLM's own, of a recent release")
    found = choice.get("logprobs")
    log_probs: Any = found.get("token_logprobs") if isinstance(found, Mapping) else None
    if not token_ids:
        log_probs = []
    if not _all(log_probs, int | float):
        raise EngineFault("the server gave a completion without a log-prob of every token; does a proxy drop fields?")
    return as_sample(
        token_ids, log_probs, choice.get("finish_reason"), stop_ids=stop_ids, limit=limit, vocab_size=vocab_size
    )


def continuation_log_probs(prompt_log_probs: Any, row: Ids, n_prompt: int) -> NDArray[np.float64]:
    """Return log-probs (nats) of ``row[n_prompt:]`` from vLLM's prompt log-probs, one mapping by token per position."""
    if not isinstance(prompt_log_probs, Sequence):
        raise EngineFault("vLLM gave no prompt log-probs; use vLLM's own server, without a proxy that drops fields")
    if len(prompt_log_probs) != len(row):
        raise EngineFault(f"vLLM gave prompt log-probs of {len(prompt_log_probs)} tokens for a row of {len(row)}")
    out = np.empty(len(row) - n_prompt)
    for i in range(n_prompt, len(row)):
        at = prompt_log_probs[i] if isinstance(prompt_log_probs[i], Mapping) else {}
        entry = at.get(row[i], at.get(str(row[i])))
        value = entry.get("logprob") if isinstance(entry, Mapping) else getattr(entry, "logprob", None)
        if not isinstance(value, int | float | np.floating) or not value <= ROUNDING:
            raise EngineFault(f"vLLM gave no log-prob of token {row[i]} at position {i} of a row")
        out[i - n_prompt] = min(float(value), 0.0)
    return out


def choice_of(answer: Any) -> Mapping[str, Any] | None:
    """Return the one completion in a server's answer, or None."""
    choices = answer.get("choices") if isinstance(answer, Mapping) else None
    first = choices[0] if isinstance(choices, list) and choices else None
    return first if isinstance(first, Mapping) else None


def served_model(answer: Any) -> tuple[str, str | None, int] | None:
    """Return (name, root, longest row) of the model that a server lists; None for a list that is not vLLM's."""
    models = answer.get("data") if isinstance(answer, Mapping) else None
    for model in models if isinstance(models, list) else []:
        if not isinstance(model, Mapping):
            return None
        if model.get("parent") is None:  # with one: an adapter
            name, root, max_len = model.get("id"), model.get("root"), model.get("max_model_len")
            if isinstance(name, str) and isinstance(root, str | None) and isinstance(max_len, int):
                return name, root, max_len
            return None
    return None


def top_log_probs(choice: Mapping[str, Any]) -> dict[str, float]:
    """Return log-probs (nats) of the likeliest first tokens, by the server's names. Raises EngineFault without them."""
    found = choice.get("logprobs")
    top = found.get("top_logprobs") if isinstance(found, Mapping) else None
    first = top[0] if isinstance(top, list) and top else None
    if not isinstance(first, Mapping) or not _all(list(first.values()), int | float):
        raise EngineFault("the server gave no log-probs of the likeliest tokens; it must be vLLM's own")
    return {str(name): float(value) for name, value in first.items()}


def follow_temperature(pairs: Sequence[tuple[Mapping[str, float], Mapping[str, float]]], temperature: float) -> bool:
    """Return whether log-probs are those of the policy. ``pairs``: ``top_log_probs`` at 1 and at ``temperature``, one
    pair per prompt.

    The differences of a tempered distribution are the plain ones divided by the temperature. Raw log-probs don't
    change with it, and logits aren't normalised. Prompts are tested together, since half precision rounds each one.
    """
    plain_sum = tempered_sum = 0.0
    for plain, tempered in pairs:
        for values in (plain, tempered):
            if not sum(math.exp(min(value, 700.0)) for value in values.values()) <= 1.01:
                return False
        common = sorted(plain.keys() & tempered.keys(), key=lambda name: plain[name])
        if common:
            plain_sum += plain[common[-1]] - plain[common[0]]
            tempered_sum += tempered[common[-1]] - tempered[common[0]]
    if plain_sum < ROUNDING:  # uniform: the temperature does not matter
        return True
    return tempered_sum / plain_sum > (1 + 1 / temperature) / 2


def _all(values: Any, kind: Any) -> bool:
    return isinstance(values, Sequence) and all(isinstance(value, kind) for value in values)
