"""The engines by name: how a study's ``engine`` becomes one. The only list of them."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass

import torch

from forewarn.errors import InputError, MissingExtraError
from forewarn.models.base import Engine
from forewarn.models.hf import HFEngine
from forewarn.models.loading import load_tokenizer

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
        if self.engine == VLLM and importlib.util.find_spec("vllm") is None:
            raise MissingExtraError("vllm", "vllm")


def _transformers(spec: EngineSpec, folder: str, dtype: str) -> Engine:
    return HFEngine.from_folder(folder, dtype=getattr(torch, dtype), device=spec.device, batch_size=spec.batch_size)


def _vllm(spec: EngineSpec, folder: str, dtype: str) -> Engine:
    from forewarn.models.vllm_engine import VLLMEngine

    return VLLMEngine.from_folder(folder, dtype=dtype, batch_size=min(spec.batch_size, 256))


def _server(spec: EngineSpec, folder: str, dtype: str) -> Engine:
    from forewarn.models.vllm_server import VLLMServer

    vocab_size = len(load_tokenizer(folder))
    return VLLMServer(spec.engine, vocab_size=vocab_size, model=folder, concurrency=min(spec.batch_size, 128))


ENGINES: dict[str, Callable[[EngineSpec, str, str], Engine]] = {TRANSFORMERS: _transformers, VLLM: _vllm}


def open_engine(spec: EngineSpec, folder: str, *, dtype: str) -> Engine:
    """The engine on the model in ``folder`` (or of that hub name); ``dtype``: torch's name of the float type.

    Raises InputError for an unknown engine, MissingExtraError where it is not installed, ModelError where it can't
    serve the model.
    """
    return ENGINES.get(spec.engine, _server)(spec, folder, dtype)
