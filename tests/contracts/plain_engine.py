"""A third engine, as a user would add one: every token from a whole forward pass, adapters merged by PEFT itself.

It shares no code with the reference engine but the density of a policy, keeps nothing between two tokens, and is slow.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from peft import PeftModel

from forewarn.checkpoints.load import load_model, longest_row, peft_calls
from forewarn.engines.arguments import check_ids, check_rows, pairs_of, row_limits, row_streams
from forewarn.engines.base import Engine, Ids, Sample
from forewarn.engines.kind import EngineKind, Opening, RowRule
from forewarn.engines.policy import draw, policy_log_probs
from forewarn.errors import InputError, ModelError
from forewarn.records import FinishReason, Policy


class PlainEngine:
    """An ``Engine`` on a transformers model."""

    def __init__(self, model: Any, folder: str) -> None:
        self._models: dict[str | None, Any] = {None: model}
        self._limit = longest_row(folder)
        self.vocab_size = int(model.config.vocab_size)
        self.max_len = self._limit.tokens

    def _log_probs(self, rows: Sequence[Ids], policy: Policy, adapter: str | None) -> list[torch.Tensor]:
        if adapter not in self._models:
            raise ModelError(f"no adapter named {adapter!r} is loaded; load it first")
        with torch.inference_mode():
            return [
                policy_log_probs(self._models[adapter](torch.tensor([list(row)])).logits[0], policy) for row in rows
            ]

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
        limits = row_limits(prompts_ids, max_new_tokens, n=n, longest=self._limit)
        streams = row_streams(seed, len(prompts_ids), n)
        check_rows(prompts_ids, self.vocab_size)
        check_ids([stop_ids], self.vocab_size)
        found = []
        for i, (prompt, limit) in enumerate(zip(prompts_ids, limits, strict=True)):
            for j in range(n):
                rng = np.random.default_rng(streams[i * n + j])
                found.append(self._one(prompt, limit, policy, rng, frozenset(stop_ids), adapter))
        return found

    def _one(
        self,
        prompt: Ids,
        limit: int,
        policy: Policy,
        rng: np.random.Generator,
        stops: frozenset[int],
        adapter: str | None,
    ) -> Sample:
        tokens: list[int] = []
        log_probs: list[float] = []
        finish: FinishReason = "length"
        while len(tokens) < limit and finish == "length":
            [row] = self._log_probs([(*prompt, *tokens)], policy, adapter)
            token = int(draw(row[-1:], torch.tensor([rng.random()], dtype=torch.float64))[0])
            tokens.append(token)
            log_probs.append(float(row[-1, token]))
            finish = "stop" if token in stops else "length"
        return Sample(tuple(tokens), tuple(log_probs), finish)

    def score(
        self,
        prompts_ids: Sequence[Ids],
        continuations_ids: Sequence[Ids],
        *,
        policy: Policy,
        adapter: str | None = None,
    ) -> list[NDArray[np.float64]]:
        rows = pairs_of(prompts_ids, continuations_ids, self._limit)
        check_rows(prompts_ids, self.vocab_size)
        check_ids(continuations_ids, self.vocab_size)
        found = []
        for row, prompt in zip(rows, prompts_ids, strict=True):
            table = self._log_probs([row], policy, adapter)[0].double().numpy()
            places = np.arange(len(prompt), len(row))
            found.append(table[places - 1, np.array(row)[places]] if len(places) else np.empty(0))
        return found

    def load_adapter(self, name: str, folder: Path, *, scale: float = 1.0) -> None:
        if not 0 < scale <= 1:
            raise InputError(f"an adapter's scale is {scale}: give a value in (0, 1]")
        with peft_calls():
            wrapped: Any = PeftModel.from_pretrained(copy.deepcopy(self._models[None]), str(folder))
            for module in wrapped.modules():
                if hasattr(module, "scale_layer"):
                    module.scale_layer(scale)
            self._models[name] = wrapped.merge_and_unload().eval()

    def drop_adapter(self, name: str) -> None:
        if self._models.pop(name, None) is None:
            raise ModelError(f"no adapter named {name!r} is loaded")


def _open(opening: Opening) -> Engine:
    model = load_model(opening.folder, dtype=getattr(torch, opening.dtype), device=opening.device)
    return PlainEngine(model, opening.folder)


def _only_cpu(device: str) -> None:
    if device != "cpu":
        raise InputError(f"device is {device!r}: the plain engine runs on cpu alone")


def _no_min_p(policy: Policy) -> None:
    if policy.min_p > 0:
        raise InputError(f"min_p is {policy.min_p}: the plain engine samples without it; leave it out")


PLAIN = EngineKind(
    title="the plain engine",
    asked_by="plain",
    open=_open,
    rows=RowRule(longest_row, spare=2),
    check_device=_only_cpu,
    check_sampling=_no_min_p,
)
