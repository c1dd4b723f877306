"""The engines by name: how a study's ``engine`` becomes one. The only list of them."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from forewarn.checkpoints.load import check_device, load_tokenizer
from forewarn.engines.base import Engine
from forewarn.errors import InputError, MissingExtraError

TRANSFORMERS, VLLM = "transformers", "vllm"


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """Which engine, and how it runs."""

    engine: str = TRANSFORMERS
    """a name of ``ENGINES``, or the URL of a vLLM server"""
    device: str = "cpu"
    batch_size: int = 512
    """most rows decoded together; for a server, most requests in flight"""

    def __post_init__(self) -> None:
        if self.engine not in ENGINES and not self.engine.startswith(("http://", "https://")):
            raise InputError(
                f"engine is {self.engine!r}: choose {', '.join(ENGINES)}, or give the URL of a vLLM server"
            )
        if self.engine == TRANSFORMERS:
            check_device(self.device)
        if self.engine == VLLM and importlib.util.find_spec("vllm") is None:
            raise MissingExtraError("vllm", "vllm")


def _transformers(spec: EngineSpec, folder: str, dtype: str, _: Sequence[Path]) -> Engine:
    import torch

    from forewarn.engines.transformers.engine import HFEngine

    return HFEngine.from_folder(folder, dtype=getattr(torch, dtype), device=spec.device, batch_size=spec.batch_size)


def _vllm(spec: EngineSpec, folder: str, dtype: str, adapters: Sequence[Path]) -> Engine:
    from forewarn.engines.vllm.engine import VLLMEngine
    from forewarn.engines.vllm.requests import rank_to_start_for

    batch_size, rank = min(spec.batch_size, 256), rank_to_start_for(adapters)
    return VLLMEngine.from_folder(folder, dtype=dtype, batch_size=batch_size, max_lora_rank=rank)


def _server(spec: EngineSpec, folder: str, dtype: str, _: Sequence[Path]) -> Engine:
    from forewarn.engines.vllm.server import VLLMServer

    vocab_size = len(load_tokenizer(folder))
    return VLLMServer(spec.engine, vocab_size=vocab_size, model=folder, concurrency=min(spec.batch_size, 128))


Opener = Callable[[EngineSpec, str, str, Sequence[Path]], Engine]
ENGINES: dict[str, Opener] = {
    TRANSFORMERS: _transformers,
    VLLM: _vllm,
}


def open_engine(spec: EngineSpec, folder: str, *, dtype: str, adapters: Sequence[Path] = ()) -> Engine:
    """The engine on the model in ``folder`` (or of that hub name); ``dtype``: torch's name of the float type.

    ``adapters``: the PEFT folders that it will be asked to load.

    Raises InputError for an unknown engine, MissingExtraError where it is not installed, ModelError where it can't
    serve the model.
    """
    return ENGINES.get(spec.engine, _server)(spec, folder, dtype, adapters)
