"""A vLLM server by URL: one request per row, many at a time, retried if the connection or the server broke.

A request is a function of its row and seed, and its answer goes to that row's place, so a retry can't count twice. Not
here: starting a server (``serve.py``), vLLM in this process (``engine.py``).
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from forewarn.checkpoints.row_limit import RowLimit
from forewarn.engines.arguments import check_rows, pairs_of, row_limits, row_streams
from forewarn.engines.base import Ids, Sample
from forewarn.engines.vllm.answers import (
    choice_of,
    continuation_log_probs,
    follow_temperature,
    sample_of,
    served_model,
    top_log_probs,
)
from forewarn.engines.vllm.line import ServerLine, said
from forewarn.engines.vllm.requests import (
    LOGPROBS_MODE,
    AdapterFolders,
    check_sampling,
    check_scoring,
    probe_fields,
    row_seed,
    sampling_fields,
    scoring_fields,
)
from forewarn.errors import EngineFault, ModelError
from forewarn.records import Policy

T = TypeVar("T")
CLOSE_S = 10.0
"""seconds that the server may take to unload an adapter at the end"""
PROBES, PROBE_TEMPERATURE = 4, 0.5
"""prompts and temperature with which a server's log-probs are tested"""


class VLLMServer:
    """An ``Engine`` over the HTTP interface of a vLLM server started with the settings of ``serve.py``.

    ``url``: its root, such as http://127.0.0.1:8000. ``model``: the folder or hub name that it must serve; None accepts
    any model. ``vocab_size``: that of the model's tokenizer. ``concurrency``: maximum number of requests in flight.
    ``timeout_s``: limit of one request. Raises InputError for an invalid URL; ModelError if no server answers, if it
    serves another model, or if its log-probs are not those of the policy.
    """

    def __init__(
        self,
        url: str,
        *,
        vocab_size: int,
        model: str | None = None,
        concurrency: int = 64,
        timeout_s: float = 600.0,
    ) -> None:
        self._line = ServerLine(url, concurrency=concurrency, timeout_s=timeout_s)
        self.url = self._line.url
        self.vocab_size = vocab_size
        self._pool = ThreadPoolExecutor(concurrency, thread_name_prefix="vllm")
        self._folders = AdapterFolders()
        self._adapters: dict[str, str] = {}
        opened = False
        try:
            self._model, self.max_len = self._served(model)
            self._check_log_probs()
            opened = True
        finally:
            if not opened:
                self.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Unload the adapters loaded here and close the connections. The server may keep running or be gone already."""
        for name in list(self._adapters):
            with suppress(EngineFault):  # the work is done and must not be lost because of this
                body = {"lora_name": self._adapters.pop(name)}
                self._line.send("/v1/unload_lora_adapter", body, tries=1, timeout_s=CLOSE_S)
        self._folders.close()
        self._pool.shutdown(cancel_futures=True)
        self._line.close()

    def healthy(self) -> bool:
        """Return whether the server reports that it is healthy."""
        return self._line.healthy()

    def _served(self, wanted: str | None) -> tuple[str, int]:
        """Return name and longest row of the served model."""
        served = served_model(self._line.models())
        if served is None:
            raise ModelError(f"{self.url} answers, but not as a vLLM server does; give the root of a vLLM server")
        name, root, max_len = served
        if wanted is not None and not _same_model(wanted, (name, root)):
            remedy = "start one for that model"
            if root and not Path(root).is_absolute() and wanted.endswith(f"/{root}"):
                remedy = f"if it is the same model, started from another folder, start it with --model {wanted}"
            raise ModelError(f"the server at {self.url} serves {root or name}, not {wanted}; {remedy}")
        return name, max_len

    def _check_log_probs(self) -> None:
        """Raise ModelError unless log-probs are those of the policy; by default vLLM gives the plain model's."""
        prompts = [[self.vocab_size * (i + 1) // (PROBES + 1)] for i in range(PROBES)]

        def one(i: int) -> dict[str, float]:
            fields = probe_fields(PROBE_TEMPERATURE if i % 2 else 1.0)
            return top_log_probs(self._complete({"model": self._model, "prompt": prompts[i // 2], **fields}))

        found = self._each(one, 2 * PROBES)
        if not follow_temperature(list(zip(found[::2], found[1::2], strict=True)), PROBE_TEMPERATURE):
            raise ModelError(
                f"the server at {self.url} gives log-probs that are not those of the policy: start it with "
                f"`forewarn engine serve`, or with --logprobs-mode {LOGPROBS_MODE}"
            )

    def load_adapter(self, name: str, folder: Path, *, scale: float = 1.0) -> None:
        """Make the PEFT adapter in ``folder`` available as ``name``. The server must share the file system."""
        if name in self._adapters:
            raise ModelError(f"an adapter named {name!r} is loaded already; drop it first or give another name")
        path = self._folders.folder(Path(folder), scale)
        # a unique name, since the server also has the adapters of other clients and of earlier runs by name
        served = f"{name}-{uuid.uuid4().hex}"
        answer, tries = self._line.send("/v1/load_lora_adapter", {"lora_name": served, "lora_path": str(path)})
        # if an answer was lost, this unique name is already taken, by the previous try
        done = tries > 1 and answer.status_code == 400 and served in answer.text and "already" in answer.text
        if answer.status_code != 200 and not done:
            raise ModelError(f"the server at {self.url} can't load the adapter in {folder}: {said(answer)}")
        self._adapters[name] = served

    def drop_adapter(self, name: str) -> None:
        """Forget an adapter. Raises ModelError if it isn't loaded."""
        if name not in self._adapters:
            raise ModelError(f"no adapter named {name!r} is loaded; loaded are {sorted(self._adapters) or 'none'}")
        self._line.send("/v1/unload_lora_adapter", {"lora_name": self._adapters.pop(name)})

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
        """See ``Engine.sample``. Raises InputError, and EngineFault if the server broke and stayed broken."""
        check_sampling(policy)
        limits = row_limits(prompts_ids, max_new_tokens, n=n, longest=RowLimit(self.max_len))
        streams = row_streams(seed, len(prompts_ids), n)
        check_rows(prompts_ids, self.vocab_size)
        rows = [(prompt, limit) for prompt, limit in zip(prompts_ids, limits, strict=True) for _ in range(n)]
        model = self._named(adapter)

        def one(i: int) -> Sample:
            prompt, limit = rows[i]
            if limit == 0:
                return Sample((), (), "length")
            fields = sampling_fields(policy, seed=row_seed(*streams[i]) >> 1, limit=limit, stop_ids=stop_ids)
            choice = self._complete({"model": model, "prompt": list(prompt), "return_token_ids": True, **fields})
            return sample_of(choice, stop_ids=stop_ids, limit=limit, vocab_size=self.vocab_size)

        return self._each(one, len(rows))

    def score(
        self,
        prompts_ids: Sequence[Ids],
        continuations_ids: Sequence[Ids],
        *,
        policy: Policy,
        adapter: str | None = None,
    ) -> list[NDArray[np.float64]]:
        """See ``Engine.score``. Raises InputError for any policy except temperature 1 without truncation."""
        check_scoring(policy)
        rows = pairs_of(prompts_ids, continuations_ids, RowLimit(self.max_len - 1))  # vLLM draws one more token
        check_rows(prompts_ids, self.vocab_size)
        check_rows(rows, self.vocab_size)
        model = self._named(adapter)

        def one(i: int) -> NDArray[np.float64]:
            if not continuations_ids[i]:
                return np.empty(0)
            choice = self._complete({"model": model, "prompt": list(rows[i]), **scoring_fields()})
            return continuation_log_probs(choice.get("prompt_logprobs"), rows[i], len(prompts_ids[i]))

        return self._each(one, len(rows))

    def _each(self, work: Callable[[int], T], n: int) -> list[T]:
        futures = [self._pool.submit(work, i) for i in range(n)]
        try:
            return [future.result() for future in futures]
        finally:
            for future in futures:
                future.cancel()

    def _named(self, adapter: str | None) -> str:
        if adapter is None:
            return self._model
        if adapter not in self._adapters:
            raise ModelError(f"no adapter named {adapter!r} is loaded; loaded are {sorted(self._adapters) or 'none'}")
        return self._adapters[adapter]

    def _complete(self, body: dict[str, Any]) -> Mapping[str, Any]:
        answer = self._line.complete(body)
        choice = choice_of(answer)
        if choice is None:
            raise EngineFault(f"the server at {self.url} gave this instead of a completion: {str(answer)[:200]}")

        return choice


def _same_model(wanted: str, served: Sequence[str | None]) -> bool:
    names = {name for name in served if name}
    if wanted in names:
        return True
    return Path(wanted).exists() and any(Path(n).exists() and Path(n).samefile(wanted) for n in names)
