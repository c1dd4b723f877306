"""Sampling one batch: a left-padded prefill, then a decode loop that drops finished rows.

Each row owns its stream of uniforms, so what it emits depends on that stream, not on the rows beside it (up to
rounding in the model). Not here: how rows are cut into batches (``engine.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from forewarn.engines.base import Ids, Sample
from forewarn.engines.policy import draw, policy_log_probs
from forewarn.engines.transformers.kv_cache import GrowingCache, cache_argument
from forewarn.errors import EngineFault
from forewarn.records import Policy

_FIRST_ROOM = 64  # cache positions allotted beyond the prompt before the first growth
_COMPACT_BELOW = 0.9  # drop finished rows once fewer than this share of the batch is alive
_UNIFORMS_AHEAD = 64  # uniforms drawn at a time for each row


@dataclass(frozen=True, slots=True)
class DecodeRow:
    """One completion to draw."""

    prompt_ids: Ids
    limit: int
    """maximum number of tokens to emit, at least 1"""
    number: int
    """its place among the call's rows"""
    stream: tuple[int, int]
    """names its stream of uniforms"""


class _Uniforms:
    """One stream of uniforms for each row, a function of its name alone."""

    def __init__(self, names: Sequence[tuple[int, int]], device: torch.device) -> None:
        self._streams = [np.random.Generator(np.random.Philox(key=name)) for name in names]
        self._device = device
        self._step = 0
        self._block = torch.empty(0)

    def next(self) -> torch.Tensor:
        column = self._step % _UNIFORMS_AHEAD
        if column == 0:
            block = np.stack([stream.random(_UNIFORMS_AHEAD) for stream in self._streams], axis=1)
            self._block = torch.from_numpy(block).to(self._device)
        self._step += 1
        return self._block[column]

    def select(self, rows: torch.Tensor) -> None:
        self._streams = [self._streams[i] for i in rows.tolist()]
        self._block = self._block.index_select(1, rows)


class _Masks:
    """Attention masks of a left-padded batch: none without padding, 4-D built once, or 2-D for sliding windows."""

    def __init__(self, lengths: torch.Tensor, width: int, capacity: int, dtype: torch.dtype, plain: bool) -> None:
        self._padded = bool((lengths < width).any())
        self._plain = plain
        positions = torch.arange(capacity, device=lengths.device)
        self._valid = positions >= (width - lengths).unsqueeze(1)  # (rows, capacity)
        self._dtype = dtype
        self._width = width
        self._additive = self._as_additive(self._valid[:, None, None, :]) if plain else self._valid

    def _as_additive(self, allowed: torch.Tensor) -> torch.Tensor:
        zeros = torch.zeros(allowed.shape, dtype=self._dtype, device=allowed.device)
        return zeros.masked_fill_(~allowed, torch.finfo(self._dtype).min)

    def prefill(self) -> torch.Tensor | None:
        if not self._padded:
            return None
        if not self._plain:
            return self._valid[:, : self._width].long()
        n = self._width
        causal = torch.ones((n, n), dtype=torch.bool, device=self._valid.device).tril()
        # padding attends to itself, since the softmax of a row of -inf is undefined
        allowed = causal & (self._valid[:, None, :n] | torch.eye(n, dtype=torch.bool, device=causal.device))
        return self._as_additive(allowed[:, None])

    def step(self, width: int) -> torch.Tensor | None:
        if not self._padded:
            return None
        while width > self._valid.shape[1]:
            self._valid = torch.cat([self._valid, torch.ones_like(self._valid)], dim=1)
            self._additive = self._as_additive(self._valid[:, None, None, :]) if self._plain else self._valid
        return self._additive[..., :width] if self._plain else self._valid[:, :width].long()

    def select(self, rows: torch.Tensor) -> None:
        self._valid = self._valid.index_select(0, rows)
        self._additive = self._additive.index_select(0, rows)


def left_padded(rows: Sequence[Ids], pad: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (rows, width) token ids padded on the left, and (rows,) lengths."""
    width = max(len(row) for row in rows)
    array = np.full((len(rows), width), pad, dtype=np.int64)
    for i, row in enumerate(rows):
        array[i, width - len(row) :] = row
    lengths = torch.tensor([len(row) for row in rows], device=device)
    return torch.from_numpy(array).to(device), lengths


def _prefill(
    model: Any, rows: Sequence[DecodeRow], n_layers: int, plain: bool, dtype: torch.dtype, device: torch.device
) -> tuple[torch.Tensor, GrowingCache, _Masks, torch.Tensor]:
    """Run each distinct prompt once and spread it over its rows: next-token logits, cache, masks, lengths."""
    distinct: dict[tuple[int, ...], int] = {}
    place = [distinct.setdefault(tuple(row.prompt_ids), len(distinct)) for row in rows]
    ids, lengths = left_padded(list(distinct), 0, device)
    width = ids.shape[1]
    capacity = width + min(_FIRST_ROOM, max(row.limit for row in rows))
    cache = GrowingCache(n_layers, capacity)
    masks = _Masks(lengths, width, capacity, dtype, plain)
    positions = (torch.arange(width, device=device) - (width - lengths).unsqueeze(1)).clamp_min(0)
    out = model(
        input_ids=ids,
        attention_mask=masks.prefill(),
        position_ids=positions,
        **{cache_argument(model): cache},
        use_cache=True,
        logits_to_keep=1,
    )
    logits = out.logits[:, -1]
    if len(distinct) < len(rows):
        spread = torch.tensor(place, device=device)
        cache.select(spread)
        masks.select(spread)
        logits, lengths = logits.index_select(0, spread), lengths.index_select(0, spread)
    return logits, cache, masks, lengths


@torch.inference_mode()
def sample_batch(
    model: Any,
    rows: Sequence[DecodeRow],
    *,
    policy: Policy,
    is_stop_V: torch.Tensor,
    n_layers: int,
    plain: bool,
    dtype: torch.dtype,
) -> list[Sample]:
    """Draw one completion per row. ``is_stop_V``: (vocabulary,) bool; ``plain``: without sliding windows."""
    device = is_stop_V.device
    logits, cache, masks, position = _prefill(model, rows, n_layers, plain, dtype, device)
    width = cache.get_seq_length()
    cache_keyword = {cache_argument(model): cache}
    uniforms = _Uniforms([row.stream for row in rows], device)
    limits = torch.tensor([row.limit for row in rows], device=device)
    alive = torch.arange(len(rows), device=device)  # the row each batch line belongs to
    done = torch.zeros(len(rows), dtype=torch.bool, device=device)
    steps: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []  # (rows, tokens, log-probs) per step
    n_emitted = torch.zeros(len(rows), dtype=torch.long, device=device)
    stopped = torch.zeros(len(rows), dtype=torch.bool, device=device)
    for step in range(1, int(limits.max()) + 1):
        log_probs = policy_log_probs(logits, policy)
        tokens = draw(log_probs, uniforms.next())
        steps.append((alive, tokens, log_probs.gather(1, tokens.unsqueeze(1)).squeeze(1)))
        hit = is_stop_V[tokens] & ~done
        finished = hit | ((limits == step) & ~done)
        if bool(finished.any()):
            n_emitted[alive[finished]] = step
            stopped[alive[hit]] = True
            done = done | finished
            n_alive = int((~done).sum())
            if n_alive == 0:
                break
            if n_alive < _COMPACT_BELOW * done.numel():
                keep = _compact(cache, done, n_alive)
                masks.select(keep)
                uniforms.select(keep)
                alive, tokens, limits = alive[keep], tokens[keep], limits[keep]
                position, done = position[keep], done[keep]
        width += 1
        out = model(
            input_ids=tokens.unsqueeze(1),
            attention_mask=masks.step(width),
            position_ids=position.unsqueeze(1),
            **cache_keyword,
            use_cache=True,
            logits_to_keep=1,
        )
        # a finished row must not advance: it could leave the context, or change the other rows' positions
        position = position + (~done).long()
        logits = out.logits[:, -1]
    return _collect(steps, n_emitted, stopped)


def _compact(cache: GrowingCache, done: torch.Tensor, n_alive: int) -> torch.Tensor:
    """Drop finished rows from the cache, and return the former line of each remaining row."""
    holes = torch.nonzero(done[:n_alive]).squeeze(1)
    movers = n_alive + torch.nonzero(~done[n_alive:]).squeeze(1)  # the last rows fill the gaps: few move
    cache.compact(holes, movers, n_alive)
    keep = torch.arange(n_alive, device=done.device)
    keep[holes] = movers
    return keep


def _collect(
    steps: Sequence[tuple[torch.Tensor, torch.Tensor, torch.Tensor]], n_emitted: torch.Tensor, stopped: torch.Tensor
) -> list[Sample]:
    n_rows, n_steps = n_emitted.shape[0], len(steps)
    tokens = np.zeros((n_rows, n_steps), dtype=np.int64)
    log_probs = np.zeros((n_rows, n_steps))
    for i, (alive, ids, values) in enumerate(steps):
        at = alive.cpu().numpy()
        tokens[at, i] = ids.cpu().numpy()
        log_probs[at, i] = values.cpu().numpy()
    if np.isnan(log_probs).any():
        raise EngineFault("the model gave NaN log-probabilities while sampling; its weights may be damaged")
    return [
        Sample(tuple(tokens[i, :n].tolist()), tuple(log_probs[i, :n].tolist()), "stop" if stop else "length")
        for i, (n, stop) in enumerate(zip(n_emitted.tolist(), stopped.tolist(), strict=True))
    ]
