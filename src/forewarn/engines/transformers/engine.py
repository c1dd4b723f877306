"""The reference engine: any transformers causal language model, sampled and scored exactly.

Not here: the decode loop (``decode.py``), PEFT adapters (``adapters.py``), loading from disk (``checkpoints/load.py``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from forewarn.checkpoints.load import load_model
from forewarn.checkpoints.row_limit import row_limit
from forewarn.engines.arguments import check_ids, check_rows, pairs_of, row_limits, row_streams
from forewarn.engines.base import Ids, Sample
from forewarn.engines.transformers.adapters import Adapters
from forewarn.engines.transformers.decode import DecodeRow, sample_batch
from forewarn.engines.transformers.memory import halved
from forewarn.engines.transformers.scoring import score_batch, score_plainly
from forewarn.engines.transformers.trial import try_model
from forewarn.errors import InputError, ModelError
from forewarn.records import Policy

_MOST_LOGITS = 2**28
_ATTENTION_KINDS = {"full_attention", "sliding_attention", "chunked_attention"}


class HFEngine:
    """Samples from and scores under ``model``, a transformers causal LM on any device and in any float type.

    ``batch_size``: maximum number of rows decoded together. ``score_tokens``: maximum number of padded tokens scored
    together. If memory runs out, the one in use is halved permanently and the work continues.

    The engine uses the given module without copying its weights, so a caller that trains the module (RL) samples from
    its current weights at each call. While adapters are loaded, the engine keeps a copy of the weights that they
    change; use ``set_weights`` then, and don't change these weights in place.
    """

    def __init__(self, model: Any, *, batch_size: int = 512, score_tokens: int = 16_384) -> None:
        if batch_size < 1 or score_tokens < 1:
            raise InputError(f"batch_size {batch_size} and score_tokens {score_tokens} must be at least 1")
        config = model.config.get_text_config()
        layer_types = getattr(config, "layer_types", None) or []
        strange = set(layer_types) - _ATTENTION_KINDS
        if strange:
            raise ModelError(
                f"{type(model).__name__} has {', '.join(sorted(strange))} layers: this engine knows attention only; "
                "serve the model with vLLM"
            )
        self.model = model
        self.batch_size = batch_size
        self.score_tokens = score_tokens
        self._n_layers = int(config.num_hidden_layers)
        windowed = getattr(config, "sliding_window", None) and not layer_types
        self._plain = (
            set(layer_types) <= {"full_attention"}
            and not windowed
            and bool(getattr(model, "_supports_attention_backend", False))
        )
        self._limit = row_limit(config)
        self._adapters = Adapters(model)
        self._try()

    @classmethod
    def from_folder(
        cls,
        folder: Path | str,
        *,
        dtype: torch.dtype = torch.float32,
        device: str = "cpu",
        batch_size: int = 512,
        score_tokens: int = 16_384,
    ) -> Self:
        """Load a model from a folder in transformers' format, or by hub name.

        Raises ModelError if files are missing, cut short, or lack weights that the model needs.
        """
        return cls(load_model(folder, dtype=dtype, device=device), batch_size=batch_size, score_tokens=score_tokens)

    @property
    def vocab_size(self) -> int:
        """Number of rows of the output layer (tokens)."""
        return int(self.model.get_output_embeddings().weight.shape[0])

    @property
    def max_len(self) -> int | None:
        """The longest row, prompt and completion (tokens); None: unknown."""
        return self._limit.tokens

    @property
    def device(self) -> torch.device:
        return torch.device(self.model.device)

    def set_weights(self, state_dict: Mapping[str, torch.Tensor]) -> None:
        """Copy new base weights in, all or some of them (names as in ``model.state_dict()``)."""
        self._adapters.use(None)
        with torch.no_grad():
            own = self.model.state_dict()
            for name, value in state_dict.items():
                if name not in own or own[name].shape != value.shape:
                    raise ModelError(f"weight {name} of shape {tuple(value.shape)} doesn't fit this model")
                own[name].copy_(value)
        self._adapters.refresh()

    def load_adapter(self, name: str, folder: Path, *, scale: float = 1.0) -> None:
        """Make the PEFT adapter in ``folder`` available as ``name``, with its weight change times ``scale``."""
        self._adapters.load(name, Path(folder), scale=scale)

    def drop_adapter(self, name: str) -> None:
        """Forget an adapter. Raises ModelError if it isn't loaded."""
        self._adapters.drop(name)

    @contextmanager
    def _ready(self, adapter: str | None) -> Iterator[None]:
        self._adapters.use(adapter)
        training = self.model.training
        self.model.eval()
        try:
            with torch.inference_mode():
                yield
        finally:
            self.model.train(training)

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
        """See ``Engine.sample``. Each row has a random stream of its own: the result doesn't depend on ``batch_size``,
        up to rounding in the model. InputError on empty prompts or negative limits."""
        limits = row_limits(prompts_ids, max_new_tokens, n=n, longest=self._limit)
        streams = row_streams(seed, len(prompts_ids), n)
        check_rows(prompts_ids, self.vocab_size)
        check_ids([stop_ids], self.vocab_size)
        rows = [
            DecodeRow(prompt, limit, i * n + j, streams[i * n + j])
            for i, (prompt, limit) in enumerate(zip(prompts_ids, limits, strict=True))
            for j in range(n)
        ]
        results = [Sample((), (), "length")] * len(rows)
        # rows of similar length together, for little padding and so that they end together
        live = sorted((row for row in rows if row.limit > 0), key=lambda row: (len(row.prompt_ids), row.limit))
        is_stop = torch.zeros(self.vocab_size, dtype=torch.bool, device=self.device)
        is_stop[list(stop_ids)] = True
        start = 0
        with self._ready(adapter):
            while start < len(live):
                batch = live[start : start + self.batch_size]
                try:
                    samples = sample_batch(
                        self.model,
                        batch,
                        policy=policy,
                        is_stop_V=is_stop,
                        n_layers=self._n_layers,
                        plain=self._plain,
                        dtype=self.model.dtype,
                    )
                except RuntimeError as error:  # a row's stream is its own: drawing it again draws the same
                    self.batch_size = halved(error, len(batch), "rows decoded together")
                    continue
                for row, sample in zip(batch, samples, strict=True):
                    results[row.number] = sample
                start += len(batch)
        return results

    def score(
        self,
        prompts_ids: Sequence[Ids],
        continuations_ids: Sequence[Ids],
        *,
        policy: Policy,
        adapter: str | None = None,
    ) -> list[NDArray[np.float64]]:
        """See ``Engine.score``. Raises EngineFault if the model gives NaN."""
        pairs_of(prompts_ids, continuations_ids, self._limit)
        check_rows(prompts_ids, self.vocab_size)
        check_ids(continuations_ids, self.vocab_size)
        results: list[NDArray[np.float64]] = [np.empty(0)] * len(prompts_ids)
        with self._ready(adapter):
            waiting = list(self._score_batches(prompts_ids, continuations_ids))
            while waiting:
                batch = waiting.pop()
                pairs = [(prompts_ids[i], continuations_ids[i]) for i in batch]
                try:
                    found = score_batch(self.model, pairs, policy)
                except RuntimeError as error:
                    half = halved(error, len(batch), "rows scored together")
                    self.score_tokens = max(1, self.score_tokens // 2)
                    waiting += [batch[half:], batch[:half]]
                    continue
                for i, values in zip(batch, found, strict=True):
                    results[i] = values
        return results

    def _try(self) -> None:
        """Raise ModelError if the model's own forward pass disagrees with this engine."""
        policy = Policy()

        def plain(prompt: Ids, row: Ids) -> NDArray[np.float64]:
            with self._ready(None):
                return score_plainly(self.model, prompt, row, policy)

        try_model(
            type(self.model).__name__,
            self.vocab_size,
            self.max_len,
            self.model.dtype,
            sample=lambda rows, n: HFEngine.sample(self, rows, policy=policy, seed=0, max_new_tokens=n, stop_ids=()),
            score=lambda rows, more: HFEngine.score(self, rows, more, policy=policy),
            plain=plain,
        )

    def _score_batches(self, prompts_ids: Sequence[Ids], continuations_ids: Sequence[Ids]) -> Iterator[list[int]]:
        """Yield row numbers in batches whose padded size is at most ``score_tokens`` and whose logits fit in 1 GiB."""
        most = min(self.score_tokens, _MOST_LOGITS // self.vocab_size)

        def total(i: int) -> int:
            return len(prompts_ids[i]) + len(continuations_ids[i])

        batch: list[int] = []
        for i in sorted((i for i, row in enumerate(continuations_ids) if row), key=lambda i: (total(i), i)):
            if batch and (len(batch) + 1) * total(i) > most:
                yield batch
                batch = []
            batch.append(i)
        if batch:
            yield batch
