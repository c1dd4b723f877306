"""What vLLM is asked, as plain data: shared by the engine in process and the client of a server.

What is known of vLLM and matters here: log-probs of sampled tokens are those of the policy only in the mode
"processed_logprobs"; those of prompt tokens are always at temperature 1 without truncation; prompt log-probs have
depended on what the prefix cache held, so the cache stays off (vllm#42019); a server may add stop tokens of its own; a
LoRA on the output layer breaks or is left out of prompt log-probs (vllm#16668, vllm#51594), so that layer takes none;
a server fills in fields that a request leaves open from the model's generation_config.json. Not here: what it answers
(``vllm_answers.py``), which adapters it takes (``vllm_adapters.py``).
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
"""rank of LoRA that an engine is started for, unless told otherwise"""
LORA_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""what vLLM can be started for"""


def check_sampling(policy: Policy) -> None:
    """InputError for a policy whose density here would not be the one of ``engines/policy.py``."""
    used = [name for name, on in (("top_p", policy.top_p < 1), ("top_k", policy.top_k > 0)) if on]
    if policy.min_p > 0 and used:
        raise InputError(
            f"min_p is {policy.min_p} together with {' and '.join(used)}: vLLM applies them in another order than "
            "transformers, so the densities differ; use one of them"
        )


def check_scoring(policy: Policy) -> None:
    """InputError for a policy that vLLM can't score: it gives prompt log-probs of the untouched model alone."""
    if policy.temperature != 1.0 or policy.top_p < 1.0 or policy.top_k > 0 or policy.min_p > 0.0:
        raise InputError(
            f"the policy (temperature {policy.temperature:g}, top_p {policy.top_p:g}, top_k {policy.top_k}, min_p "
            f"{policy.min_p:g}) can't be scored by vLLM, which gives prompt log-probs at temperature 1 without "
            "truncation only; sample at temperature 1, or score with the transformers engine"
        )


def sampling_fields(policy: Policy, *, seed: int, limit: int, stop_ids: Sequence[int]) -> dict[str, Any]:
    """Fields of a sampling request, by the names that ``SamplingParams`` and the HTTP interface share."""
    return {
        "temperature": policy.temperature,
        "top_p": policy.top_p,
        "top_k": policy.top_k if policy.top_k > 0 else -1,
        "min_p": policy.min_p,
        # said although they change nothing: left open, a server takes them from the model's generation_config.json
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
    """Fields of a scoring request; one token is drawn because vLLM draws at least one. Nothing that shapes a policy
    touches prompt log-probs, so penalties are left open."""
    return {"temperature": 1.0, "max_tokens": 1, "prompt_logprobs": 0, "ignore_eos": True, "skip_special_tokens": False}


def probe_fields(temperature: float) -> dict[str, Any]:
    """Fields of a request for the log-probs of the likeliest first tokens at a temperature."""
    plain = sampling_fields(Policy(temperature=temperature), seed=0, limit=1, stop_ids=())
    return plain | {"logprobs": 5, "return_tokens_as_token_ids": True}


def row_seed(seed: int, row: int) -> int:
    """Every row has a seed of its own: equal prompts under one seed would give equal completions."""
    return derived_seed("vllm", seed, row)


def lora_rank(source: Path) -> int:
    """Largest rank in a PEFT folder. ModelError for no PEFT adapter, or one that vLLM doesn't take."""
    from forewarn.engines.vllm.adapters import plain_lora

    config = plain_lora(source)
    try:
        return max(int(config["r"]), *map(int, (config.get("rank_pattern") or {}).values()), 1)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise ModelError(f"{source} holds a LoRA without a rank; give a folder saved by PEFT") from None


def rank_to_start_for(adapters: Sequence[Path]) -> int:
    """Smallest rank that takes all of ``adapters``: on a CPU vLLM's cost grows with it, whatever the LoRA's own."""
    largest = max(map(lora_rank, adapters), default=LORA_RANKS[0])
    fitting = [rank for rank in LORA_RANKS if rank >= largest]
    if not fitting:
        raise ModelError(
            f"a LoRA has rank {largest} and vLLM takes {LORA_RANKS[-1]} at most: merge it into a full model, or use "
            "the transformers engine"
        )
    return fitting[0]


class AdapterFolders:
    """PEFT folders as vLLM takes them: it knows no scale, so a scaled adapter is written anew with a smaller alpha."""

    def __init__(self) -> None:
        self._made: dict[str, Path] = {}

    def folder(self, source: Path, scale: float) -> Path:
        """The folder to hand to vLLM. InputError for a scale outside (0, 1], ModelError for what vLLM doesn't take."""
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
    """Copy an adapter, its change to the weights times ``scale``: B is scaled, whatever the settings make of alpha."""
    from safetensors.torch import save_file

    from forewarn.engines.vllm.adapters import read_tensors

    tensors = read_tensors(adapter_weights_file(source))
    scaled = {name: value * scale if "lora_B" in name else value for name, value in tensors.items()}
    save_file(scaled, out / "adapter_model.safetensors", metadata={"format": "pt"})
    shutil.copy2(source / "adapter_config.json", out / "adapter_config.json")
    return out
