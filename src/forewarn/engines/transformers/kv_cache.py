"""A key/value cache that is written in place and can drop rows, for the decode loop of ``decode.py``.

transformers' dynamic cache copies its whole content at each step, and its static cache attends over its whole length.
This cache reserves room ahead, returns views of the part in use, and supports row selections.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from transformers.cache_utils import Cache, CacheLayerMixin


def cache_argument(model: Any) -> str:
    """Return the keyword under which ``model``'s forward takes a cache: ``cache`` as of transformers 5.24, and
    ``past_key_values`` before (which newer releases still accept, with a warning, until 5.40)."""
    if hasattr(model, "get_base_model"):  # PEFT's wrapper takes any keyword and passes it on
        model = model.get_base_model()
    return "cache" if "cache" in inspect.signature(model.forward).parameters else "past_key_values"


class GrowingLayer(CacheLayerMixin):
    """One layer: (rows, heads, capacity, head size), of which the first ``length`` positions are in use."""

    is_sliding = False
    is_croppable = False

    def __init__(self, capacity: int) -> None:
        super().__init__()
        self.capacity = capacity
        self.length = 0

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        rows, heads, _, size = key_states.shape
        self.keys = key_states.new_empty((rows, heads, self.capacity, size))
        self.values = value_states.new_empty((*value_states.shape[:2], self.capacity, value_states.shape[-1]))
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: object, **kwargs: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        end = self.length + key_states.shape[2]
        if end > self.capacity:
            self._grow(max(end, self.capacity + self.capacity // 2))
        self.keys[:, :, self.length : end] = key_states
        self.values[:, :, self.length : end] = value_states
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]

    def _grow(self, capacity: int) -> None:
        for name in ("keys", "values"):
            old = getattr(self, name)
            new = old.new_empty((*old.shape[:2], capacity, old.shape[3]))
            new[:, :, : self.length] = old[:, :, : self.length]
            setattr(self, name, new)
        self.capacity = capacity

    def compact(self, holes: torch.Tensor, movers: torch.Tensor, n_rows: int) -> None:
        """Keep ``n_rows`` rows: those at ``movers`` go to ``holes``, and the others stay where they are."""
        for name in ("keys", "values"):
            used = getattr(self, name)[:, :, : self.length]
            used.index_copy_(0, holes, used.index_select(0, movers))
            setattr(self, name, getattr(self, name)[:n_rows])

    def select(self, rows: torch.Tensor) -> None:
        """Take the given rows (repeats allowed), in their order."""
        for name in ("keys", "values"):
            old = getattr(self, name)
            new = old.new_empty((rows.shape[0], old.shape[1], self.capacity, old.shape[3]))
            new[:, :, : self.length] = old[:, :, : self.length].index_select(0, rows)
            setattr(self, name, new)

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.length + query_length, 0

    def get_seq_length(self) -> int:
        return self.length

    def get_max_length(self) -> int:
        return -1


class GrowingCache(Cache):
    """The layers of one batch."""

    def __init__(self, n_layers: int, capacity: int) -> None:
        super().__init__(layers=[GrowingLayer(capacity) for _ in range(n_layers)])

    def select(self, rows: torch.Tensor) -> None:
        """Take the given rows (repeats allowed) in every layer that is in use."""
        for layer in self.layers:
            if layer.is_initialized:
                layer.select(rows)

    def compact(self, holes: torch.Tensor, movers: torch.Tensor, n_rows: int) -> None:
        """Keep ``n_rows`` rows in every layer, moving as few as possible."""
        for layer in self.layers:
            if layer.is_initialized:
                layer.compact(holes, movers, n_rows)
