"""The engines by name: how a study's ``engine`` becomes one. The only list of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from forewarn.engines.kind import EngineKind, Opening
from forewarn.engines.transformers.kind import TRANSFORMERS
from forewarn.engines.vllm.kind import VLLM, VLLM_SERVER
from forewarn.errors import InputError

if TYPE_CHECKING:
    from forewarn.engines.base import Engine

ENGINES: dict[str, EngineKind] = {
    "transformers": TRANSFORMERS,
    "vllm": VLLM,
    "vllm-server": VLLM_SERVER,
}
DEFAULT_ENGINE = "transformers"


def engines_named(engines: Mapping[str, EngineKind] = ENGINES) -> str:
    """What a user may write for an engine: "transformers, vllm, or the URL of a vLLM server"."""
    *others, last = (kind.asked_by for kind in engines.values())
    return f"{', '.join(others)}, or {last}"


def engine_kind(engine: str, engines: Mapping[str, EngineKind] = ENGINES) -> EngineKind:
    """The engine that a user asked for. Raises InputError where none is meant."""
    for name, kind in engines.items():
        if kind.is_asked(engine) if kind.is_asked is not None else engine == name:
            return kind
    raise InputError(f"engine is {engine!r}: give {engines_named(engines)}")


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """Which engine, and how it runs.

    Raises InputError for an unknown engine, one that is spelt wrongly or a device that it can't use, and
    MissingExtraError where it is not installed.
    """

    engine: str = DEFAULT_ENGINE
    """a name of ``engines``, or the URL of a server"""
    device: str = "cpu"
    batch_size: int = 512
    """most rows decoded together; for a server, most requests in flight"""
    engines: Mapping[str, EngineKind] = field(default_factory=lambda: ENGINES, repr=False)
    in_turn: bool = False
    """whether models of several folders are loaded one after the other, as they don't fit beside each other"""

    def __post_init__(self) -> None:
        kind = self.kind
        kind.check_spelling(self.engine)
        if self.in_turn and kind.is_asked is not None:
            raise InputError(f"load is 'in turn': {self.engine} keeps its own model loaded; leave load out")
        kind.check_device(self.device)
        kind.check_installed()

    @property
    def kind(self) -> EngineKind:
        return engine_kind(self.engine, self.engines)


def open_engine(spec: EngineSpec, folder: str, *, dtype: str, adapters: Sequence[Path] = ()) -> Engine:
    """The engine on the model in ``folder`` (or of that hub name); ``dtype``: torch's name of the float type.

    ``adapters``: the PEFT folders that it will be asked to load.

    Raises MissingExtraError where it is not installed, ModelError where it can't serve the model.
    """
    return spec.kind.open(Opening(spec.engine, folder, dtype, spec.device, spec.batch_size, adapters))
