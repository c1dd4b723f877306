"""A vLLM server by URL: one request a row, so many at a time, retried where the line or the server broke.

A request is a function of its row and seed and its answer goes to that row's place: a retry can't count twice. Not
here: starting a server (``serve.py``), vLLM in this process (``vllm_engine.py``).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx2
import numpy as np
from numpy.typing import NDArray

from forewarn.errors import EngineFault, InputError, ModelError
from forewarn.models.base import Ids, Sample
from forewarn.models.checks import check_rows, pairs_of, row_limits
from forewarn.models.vllm_requests import (
    AdapterFolders,
    as_sample,
    check_sampling,
    check_scoring,
    continuation_log_probs,
    row_seed,
    sampling_fields,
    scoring_fields,
)
from forewarn.records import Policy, content_key

T = TypeVar("T")
RETRIES = 4
"""tries after the first, for a broken line or a status of 5xx"""
FIRST_PAUSE_S = 0.5
"""before the first retry; doubled at each"""


class VLLMServer:
    """An ``Engine`` over the HTTP interface of a vLLM server started with the settings of ``serve.py``.

    ``url``: its root, such as http://127.0.0.1:8000. ``model``: the folder or hub name it must be serving; None takes
    what it serves. ``vocab_size``: of the model's tokenizer. ``concurrency``: most requests in flight. ``timeout_s``:
    for one request. Raises ModelError where no server answers or it serves another model.
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
        if not url.startswith(("http://", "https://")):
            raise InputError(f"engine URL is {url!r}: give one that starts with http:// or https://")
        self.url = url.rstrip("/")
        self.vocab_size = vocab_size
        limits = httpx2.Limits(max_connections=concurrency, max_keepalive_connections=concurrency)
        self._client = httpx2.Client(base_url=self.url, timeout=timeout_s, limits=limits)
        self._pool = ThreadPoolExecutor(concurrency, thread_name_prefix="vllm")
        self._folders = AdapterFolders()
        self._adapters: dict[str, str] = {}
        self._model, self.max_len = self._served(model)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Unload what was loaded here and end the connections; the server goes on."""
        for name in list(self._adapters):
            self._post("/v1/unload_lora_adapter", {"lora_name": self._adapters.pop(name)}, tries=1, check=False)
        self._folders.close()
        self._pool.shutdown(cancel_futures=True)
        self._client.close()

    def healthy(self) -> bool:
        """Does the server say that it is well?"""
        try:
            return bool(self._client.get("/health", timeout=10).status_code == 200)
        except httpx2.HTTPError:
            return False

    def _served(self, wanted: str | None) -> tuple[str, int]:
        """Name and longest row of the model served."""
        try:
            answer = self._client.get("/v1/models", timeout=10)
            answer.raise_for_status()
            models = [m for m in answer.json()["data"] if m.get("parent") is None]
            name, root, max_len = models[0]["id"], models[0].get("root"), int(models[0]["max_model_len"])
        except httpx2.HTTPError as error:
            raise ModelError(
                f"no vLLM server answers at {self.url} ({type(error).__name__}); start one with `forewarn engine serve`"
            ) from None
        except (KeyError, IndexError, TypeError, ValueError):
            raise ModelError(f"{self.url} answers, but not as a vLLM server does; give the root of one") from None
        if wanted is not None and not _same_model(wanted, (name, root)):
            raise ModelError(f"the server at {self.url} serves {root or name}, not {wanted}; start one for that model")
        return name, max_len

    def load_adapter(self, name: str, folder: Path, *, scale: float = 1.0) -> None:
        """Make the PEFT adapter in ``folder`` available as ``name``. The server must see the same file system."""
        if name in self._adapters:
            raise ModelError(f"an adapter named {name!r} is loaded already; drop it first or give another name")
        path = self._folders.folder(Path(folder), scale)
        # named by content: the server keeps adapters by name, perhaps another client's
        served = f"{name}-{content_key(str(path), scale, path.stat().st_mtime_ns, id(self))}"
        answer = self._post("/v1/load_lora_adapter", {"lora_name": served, "lora_path": str(path)}, check=False)
        if answer.status_code != 200:
            raise ModelError(f"the server at {self.url} can't load the adapter in {folder}: {_said(answer)}")
        self._adapters[name] = served

    def drop_adapter(self, name: str) -> None:
        """Forget an adapter; ModelError if it isn't loaded."""
        if name not in self._adapters:
            raise ModelError(f"no adapter named {name!r} is loaded; loaded are {sorted(self._adapters) or 'none'}")
        self._post("/v1/unload_lora_adapter", {"lora_name": self._adapters.pop(name)}, check=False)

    def sample(
        self,
        prompts_ids: Sequence[Ids],
        *,
        policy: Policy,
        seed: int,
        max_new_tokens: int | Sequence[int],
        stop_ids: Sequence[int],
        n: int = 1,
        adapter: str | None = None,
    ) -> list[Sample]:
        """See ``Engine.sample``. Raises InputError, and EngineFault where the server broke and stayed broken."""
        check_sampling(policy)
        limits = row_limits(prompts_ids, max_new_tokens, n=n, seed=seed, max_len=self.max_len)
        check_rows(prompts_ids, self.vocab_size)
        rows = [(prompt, limit) for prompt, limit in zip(prompts_ids, limits, strict=True) for _ in range(n)]
        model = self._named(adapter)

        def one(i: int) -> Sample:
            prompt, limit = rows[i]
            if limit == 0:
                return Sample((), (), "length")
            fields = sampling_fields(policy, seed=row_seed(seed, i) >> 1, limit=limit, stop_ids=stop_ids)
            choice = self._complete({"model": model, "prompt": list(prompt), "return_token_ids": True, **fields})
            log_probs = choice["logprobs"]["token_logprobs"] if choice["token_ids"] else []
            return as_sample(choice["token_ids"], log_probs, choice["finish_reason"], stop_ids)

        return self._each(one, len(rows))

    def score(
        self,
        prompts_ids: Sequence[Ids],
        continuations_ids: Sequence[Ids],
        *,
        policy: Policy,
        adapter: str | None = None,
    ) -> list[NDArray[np.float64]]:
        """See ``Engine.score``. InputError for any policy but temperature 1 without truncation."""
        check_scoring(policy)
        rows = pairs_of(prompts_ids, continuations_ids, self.max_len - 1)  # vLLM draws one token more
        check_rows(prompts_ids, self.vocab_size)
        check_rows(rows, self.vocab_size)
        model = self._named(adapter)

        def one(i: int) -> NDArray[np.float64]:
            if not continuations_ids[i]:
                return np.empty(0)
            choice = self._complete({"model": model, "prompt": list(rows[i]), **scoring_fields()})
            return continuation_log_probs(choice["prompt_logprobs"], rows[i], len(prompts_ids[i]))

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

    def _complete(self, body: dict[str, Any]) -> dict[str, Any]:
        answer = self._post("/v1/completions", body)
        try:
            choice: dict[str, Any] = answer.json()["choices"][0]
        except (KeyError, IndexError, ValueError):
            raise EngineFault(f"the server at {self.url} gave no completion: {_said(answer)}") from None
        return choice

    def _post(
        self, path: str, body: dict[str, Any], *, tries: int = 1 + RETRIES, check: bool = True
    ) -> httpx2.Response:
        """POST, again after a pause where the line broke or the server says 5xx or 429. EngineFault in the end."""
        trouble = ""
        for attempt in range(tries):
            if attempt:
                time.sleep(FIRST_PAUSE_S * 2 ** (attempt - 1))
            try:
                answer = self._client.post(path, json=body)
            except httpx2.HTTPError as error:
                trouble = f"{type(error).__name__}: {error}"
                continue
            if answer.status_code < 500 and answer.status_code != 429:
                if check and answer.status_code != 200:
                    raise EngineFault(f"the server at {self.url} refused a request: {_said(answer)}")
                return answer
            trouble = _said(answer)
        raise EngineFault(f"the server at {self.url} broke {tries} times in a row ({trouble}); look into its log")


def _same_model(wanted: str, served: Sequence[str | None]) -> bool:
    names = {name for name in served if name}
    if wanted in names:
        return True
    return Path(wanted).exists() and any(Path(n).exists() and Path(n).samefile(wanted) for n in names)


def _said(answer: httpx2.Response) -> str:
    return f"status {answer.status_code}, {' '.join(answer.text.split())[:200]}"
