"""What forewarn knows of an engine before it opens one: the record that stands for it in ``ENGINES``.

Everything that differs between engines is asked of this record, so that the rest of the package names no engine.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from forewarn.checkpoints.row_limit import RowLimit
from forewarn.errors import MissingExtraError
from forewarn.records import Policy

if TYPE_CHECKING:
    from forewarn.engines.base import Engine


@dataclass(frozen=True, slots=True)
class Opening:
    """What an engine is opened with."""

    engine: str
    """what the user wrote: the engine's name, or a URL where the engine is asked for by one"""
    folder: str
    """a model folder, or a hub name"""
    dtype: str
    """torch's name of the float type"""
    device: str
    batch_size: int
    """most rows decoded together"""
    adapters: Sequence[Path] = ()
    """the PEFT folders that it will be asked to load"""


def anything(_: object) -> None:
    """The check of an engine that has nothing to refuse."""


@dataclass(frozen=True, slots=True)
class RowRule:
    """How long a row, prompt and completion, may be."""

    longest: Callable[[str], RowLimit]
    """of the model in a folder"""
    spare: int = 0
    """tokens of the context that the engine needs for itself"""
    remedy: str = ""
    """what else helps where a model's own positions are the limit; continues a sentence"""


@dataclass(frozen=True, slots=True)
class EngineKind:
    """One engine: how it is asked for, what it can do, and how it is opened."""

    title: str
    """its name in sentences, as its makers write it"""
    asked_by: str
    """what a user writes to get it, for help and errors: its name, or "the URL of a ..." """
    open: Callable[[Opening], Engine]
    """Raises InputError, MissingExtraError or ModelError where it can't serve the model."""
    rows: RowRule
    is_asked: Callable[[str], bool] | None = None
    """whether what a user wrote asks for this engine; None: only its name in ``ENGINES`` does"""
    check_spelling: Callable[[str], None] = anything
    """raises InputError for what asks for this engine and can't be meant (a URL without a host)"""
    check_device: Callable[[str], None] = anything
    """raises InputError for a device that it can't run on here"""
    check_sampling: Callable[[Policy], None] = anything
    """raises InputError for a policy that it can't sample exactly"""
    check_scoring: Callable[[Policy], None] = anything
    """raises InputError for a policy whose density it can't give"""
    needs: tuple[tuple[str, str], ...] = ()
    """(importable package, extra of ours that brings it)"""
    one_worker: str = ""
    """why a study may have one worker process only; empty: it may have several"""
    least_head_dim: int = 1
    """the narrowest attention heads that it takes (the bundled organism's are widened for it)"""

    def check_installed(self) -> None:
        """Raise MissingExtraError where a package that it needs is missing. Nothing is imported."""
        for package, extra in self.needs:
            if importlib.util.find_spec(package) is None:
                raise MissingExtraError(package, extra)
