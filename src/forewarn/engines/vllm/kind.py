"""vLLM as ``ENGINES`` knows it, in this process and as a server; vLLM and the HTTP client are imported when they are
needed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forewarn.checkpoints.load import load_tokenizer, model_context
from forewarn.engines.kind import EngineKind, Opening, RowRule
from forewarn.engines.vllm.requests import check_sampling, check_scoring, rank_to_start_for

if TYPE_CHECKING:
    from forewarn.engines.base import Engine

MOST_ROWS, MOST_REQUESTS = 256, 128
"""rows decoded together in process, and requests in flight to a server, at most"""
HEAD_DIM = 32
"""vLLM's attention on a CPU takes no narrower heads"""
_ROWS = RowRule(model_context, spare=1)
"""vLLM scores a row only where it can draw one token more"""


def _open(opening: Opening) -> Engine:
    from forewarn.engines.vllm.engine import VLLMEngine

    batch_size, rank = min(opening.batch_size, MOST_ROWS), rank_to_start_for(opening.adapters)
    return VLLMEngine.from_folder(opening.folder, dtype=opening.dtype, batch_size=batch_size, max_lora_rank=rank)


def _connect(opening: Opening) -> Engine:
    from forewarn.engines.vllm.server import VLLMServer

    vocab_size, concurrency = len(load_tokenizer(opening.folder)), min(opening.batch_size, MOST_REQUESTS)
    return VLLMServer(opening.engine, vocab_size=vocab_size, model=opening.folder, concurrency=concurrency)


def _is_url(text: str) -> bool:
    return text.startswith(("http://", "https://"))


def _check_url(text: str) -> None:
    from forewarn.engines.vllm.line import check_url

    check_url(text)


VLLM = EngineKind(
    title="vLLM",
    asked_by="vllm",
    open=_open,
    rows=_ROWS,
    check_sampling=check_sampling,
    check_scoring=check_scoring,
    needs=(("vllm", "vllm"),),
    one_worker="vLLM in this process makes processes of its own",
    least_head_dim=HEAD_DIM,
)
VLLM_SERVER = EngineKind(
    title="vLLM",
    asked_by="the URL of a vLLM server",
    open=_connect,
    rows=_ROWS,
    is_asked=_is_url,
    check_spelling=_check_url,
    check_sampling=check_sampling,
    check_scoring=check_scoring,
    least_head_dim=HEAD_DIM,
)
