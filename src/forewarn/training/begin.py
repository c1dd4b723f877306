"""The model that a training begins with: a base with a LoRA on it, fresh or trained before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from forewarn.checkpoints.load import load_model, no_progress_bars, peft_calls
from forewarn.errors import ModelError
from forewarn.training.settings import SubjectSettings
from forewarn.training.sft import check_lora


def trained_model(base: Path, start: Path | None, settings: SubjectSettings, *, device: str) -> Any:
    """The base with a LoRA to train on it: a fresh one, or the one in ``start`` trained further."""
    from peft import LoraConfig, get_peft_model
    from torch import manual_seed
    from torch.random import fork_rng

    model = load_model(base, device=device)
    if start is not None:
        return going_on(model, start)
    lora = settings.lora
    targets = lora.target_modules if isinstance(lora.target_modules, str) else list(lora.target_modules)
    config = LoraConfig(
        r=lora.rank, lora_alpha=lora.alpha, lora_dropout=0.0, target_modules=targets, task_type="CAUSAL_LM"
    )
    with peft_calls(), fork_rng(devices=[]):
        manual_seed(settings.seed)
        return check_lora(lambda: get_peft_model(model, config), targets)


def going_on(model: Any, start: Path) -> Any:
    """``model`` with the adapter in ``start`` on it, to be trained further. Raises ModelError where it isn't one."""
    from peft import PeftModel

    try:
        with peft_calls(), no_progress_bars():
            trained = PeftModel.from_pretrained(model, str(start), is_trainable=True)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ModelError(f"can't go on from the adapter in {start}: {reason}; give one of this base") from None
    # what is saved names the model that it is on, wherever the adapter was trained before
    trained.peft_config[trained.active_adapter].base_model_name_or_path = model.name_or_path
    return trained
