"""Requests to vLLM as plain data, shared by the engine in process and the client of a server.

Relevant facts about vLLM: log-probs of sampled tokens are those of the policy only in the mode "processed_logprobs".
Log-probs of prompt tokens are always at temperature 1 without truncation. They have depended on the content of the
prefix cache, so the cache stays off (vllm#42019). A server may add its own stop tokens. A LoRA on the output layer
breaks or is left out of prompt log-probs (vllm#16668, vllm#51594), so that layer can't have one. A server fills in
missing fields of a request from the model's generation_config.json. Not here: answers (``answers.py``), accepted
adapters (``adapters.py``).
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from forewarn.checkpoints.receipts import adapter_weights_file
from forewarn.errors import InputError, ModelError
from forewarn.records import Policy, content_key, derived_seed

LOGPROBS_MODE = "processed_logprobs"
MAX_LORA_RANK = 64
"""default of the maximum LoRA rank that an engine is started for"""
LORA_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""maximum LoRA ranks that vLLM can be started for"""


def check_sampling(policy: Policy) -> None:
    """Raise InputError for a policy whose density in vLLM differs from that of ``engines/policy.py``."""
    used = [name for name, on in (("top_p", policy.top_p < 1), ("top_k", policy.top_k > 0)) if on]
    if policy.min_p > 0 and used:
        raise InputError(
            f"min_p is {policy.min_p} together with {' and '.join(used)}: vLLM applies them in another order than "
            "transformers, so the densities differ; use one of them"
        )


def check_scoring(policy: Policy) -> None:
    """Raise InputError for a policy that vLLM can't score: it gives prompt log-probs only of the plain model."""
    if policy.temperature != 1.0 or policy.top_p < 1.0 or policy.top_k > 0 or policy.min_p > 0.0:
        raise InputError(
            f"the policy (temperature {policy.temperature:g}, top_p {policy.top_p:g}, top_k {policy.top_k}, min_p "
            f"{policy.min_p:g}) can't be scored by vLLM, which gives prompt log-probs at temperature 1 without "
            "truncation only; sample at temperature 1, or score with the transformers engine"
        )


def sampling_fields(policy: Policy, *, seed: int, limit: int, stop_ids: Sequence[int]) -> dict[str, Any]:
    """Return the fields of a sampling request, by the names that ``SamplingParams`` and the HTTP interface share."""
    return {
        "temperature": policy.temperature,
        "top_p": policy.top_p,
        "top_k": policy.top_k if policy.top_k > 0 else -1,
        "min_p": policy.min_p,
        # given although they are neutral: a server would fill missing ones from the model's generation_config.json
        "repetition_penalty": 1.0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "seed": seed,
        "max_tokens": limit,
        "stop_token_ids": list(stop_ids),
        "ignore_eos": True,  # only ``stop_ids`` end a completion
        "logprobs": 0,
        "skip_special_tokens": False,
    }


def scoring_fields() -> dict[str, Any]:
    """Return the fields of a scoring request; one token is drawn because vLLM draws at least one. Policy settings do
    not affect prompt log-probs, so penalties are left out."""

    return {"temperature": 1.0, "max_tokens": 1, "prompt_logprobs": 0, "ignore_eos": True, "skip_special_tokens": False}


def probe_fields(temperature: float) -> dict[str, Any]:
    """Return the fields of a request for the log-probs of the likeliest first tokens at a temperature."""
    plain = sampling_fields(Policy(temperature=temperature), seed=0, limit=1, stop_ids=())
    return plain | {"logprobs": 5, "return_tokens_as_token_ids": True}


def row_seed(seed: int, row: int) -> int:
    """Return the row's own seed: equal prompts under one seed would give equal completions."""
    return derived_seed("vllm", seed, row)


def lora_rank(source: Path) -> int:
    """Return the largest rank in a PEFT folder. Raises ModelError if it isn't a PEFT adapter that vLLM accepts."""
    from forewarn.engines.vllm.adapters import plain_lora

    config = plain_lora(source)
    try:
        return max(int(config["r"]), *map(int, (config.get("rank_pattern") or {}).values()), 1)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise ModelError(f"{source} contains a LoRA without a rank; give a folder saved by PEFT") from None


def rank_to_start_for(adapters: Sequence[Path]) -> int:
    """Return the smallest maximum rank for all of ``adapters``, since vLLM's cost on a CPU grows with the maximum."""
    largest = max(map(lora_rank, adapters), default=LORA_RANKS[0])
    fitting = [rank for rank in LORA_RANKS if rank >= largest]
    if not fitting:
        raise ModelError(
            f"a LoRA has rank {largest}, but vLLM accepts at most {LORA_RANKS[-1]}: merge it into a full model, or use "
            "the transformers engine"
        )
    return fitting[0]


class AdapterFolders:
    """PEFT folders for vLLM, which does not support a scale: a scaled adapter is written to a new folder."""

    def __init__(self) -> None:
        self._made: dict[str, Path] = {}

    def folder(self, source: Path, scale: float) -> Path:
        """Return the folder for vLLM. Raises InputError for a scale outside (0, 1], ModelError if vLLM can't use it."""
        from forewarn.engines.vllm.adapters import check_adapter

        if not 0 < scale <= 1:
            raise InputError(f"an adapter's scale is {scale}: give a value in (0, 1]")
        check_adapter(source)
        if scale == 1.0:
            return source.resolve()
        key = content_key(str(source.resolve()), scale)
        if key not in self._made:
            self._made[key] = _scaled(source, Path(tempfile.mkdtemp(prefix="forewarn-lora-")), scale)
        return self._made[key]

    def close(self) -> None:
        for folder in self._made.values():
            shutil.rmtree(folder, ignore_errors=True)
        self._made.clear()


def _scaled(source: Path, out: Path, scale: float) -> Path:
    """Copy an adapter with its weight change times ``scale``: B is scaled, independently of how alpha is set."""
    from safetensors.torch import save_file

    from forewarn.engines.vllm.adapters import read_tensors

    tensors = read_tensors(adapter_weights_file(source))
    scaled = {name: value * scale if "lora_B" in name else value for name, value in tensors.items()}
    save_file(scaled, out / "adapter_model.safetensors", metadata={"format": "pt"})
    shutil.copy2(source / "adapter_config.json", out / "adapter_config.json")
    return out
