"""Models that don't fit beside each other: engines of which one alone is in memory, loaded when it is asked for.

A study asks for large pieces of work of one model after the other (all rows that wait for one writer, all rows to score
under one model), so a model is loaded a few times for each piece of a cell and not for each completion.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from forewarn.engines.base import Engine, Ids, Sample
from forewarn.errors import EngineFault, ModelError
from forewarn.records import Policy


class InTurn:
    """The engines of several model folders, one of them in memory at a time. ``open_one``: opens that of a folder."""

    def __init__(self, open_one: Callable[[str], Engine]) -> None:
        self._open = open_one
        self._now: tuple[EngineInTurn, Engine] | None = None
        self.loads = 0
        """how often a model was loaded"""

    def engine(self, folder: str) -> EngineInTurn:
        """The engine of a folder; nothing is loaded yet."""
        return EngineInTurn(self, folder)

    def loaded(self, wanted: EngineInTurn) -> Engine:
        """The engine itself, after the one before it has left the memory."""
        if self._now is None or self._now[0] is not wanted:
            self.leave()
            made = self._open(wanted.folder)
            self._now = wanted, made  # before an adapter may be refused: what was started has to be stopped
            self.loads += 1
            for name, (folder, scale) in wanted.adapters.items():
                made.load_adapter(name, folder, scale=scale)
        return self._now[1]

    def holds(self, one: EngineInTurn) -> bool:
        """Whether this is the engine that is in memory."""
        return self._now is not None and self._now[0] is one

    def leave(self) -> None:
        """Take the engine that is loaded out of memory."""
        if self._now is None:
            return
        stop = getattr(self._now[1], "close", None)
        if stop is not None:
            with suppress(EngineFault, RuntimeError, OSError):
                stop()
        del stop
        self._now = None
        gc.collect()  # models hold themselves in circles
        torch = sys.modules.get("torch")
        if torch is not None and torch.cuda.is_available():
            torch.cuda.empty_cache()


class EngineInTurn:
    """An engine that is loaded for each call unless it is there still. See ``base.Engine`` for what it does."""

    def __init__(self, turns: InTurn, folder: str) -> None:
        self._turns, self.folder = turns, folder
        self.adapters: dict[str, tuple[Path, float]] = {}
        self._vocab_size: int | None = None

    @property
    def vocab_size(self) -> int:
        """Number of token ids."""
        if self._vocab_size is None:
            self._vocab_size = self._turns.loaded(self).vocab_size
        return self._vocab_size

    @property
    def max_len(self) -> int | None:
        """Longest row (tokens); None: unknown."""
        return self._turns.loaded(self).max_len

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
        """See ``Engine.sample``."""
        return self._turns.loaded(self).sample(
            prompts_ids,
            policy=policy,
            seed=seed,
            max_new_tokens=max_new_tokens,
            stop_ids=stop_ids,
            n=n,
            adapter=adapter,
        )

    def score(
        self,
        prompts_ids: Sequence[Ids],
        continuations_ids: Sequence[Ids],
        *,
        policy: Policy,
        adapter: str | None = None,
    ) -> list[NDArray[np.float64]]:
        """See ``Engine.score``."""
        return self._turns.loaded(self).score(prompts_ids, continuations_ids, policy=policy, adapter=adapter)

    def load_adapter(self, name: str, folder: Path, *, scale: float = 1.0) -> None:
        """Load an adapter now if the model is there, and whenever it is loaded again."""
        if self._turns.holds(self):
            self._turns.loaded(self).load_adapter(name, folder, scale=scale)
        self.adapters[name] = folder, scale

    def drop_adapter(self, name: str) -> None:
        """Forget an adapter. Raises ModelError for an unknown name."""
        if name not in self.adapters:
            raise ModelError(f"adapter {name!r} isn't loaded")
        if self._turns.holds(self):
            self._turns.loaded(self).drop_adapter(name)
        del self.adapters[name]

    def close(self) -> None:
        """Leave the memory."""
        if self._turns.holds(self):
            self._turns.leave()
