"""Loading transformers models and tokenizers from disk, with one clear sentence where they can't be used."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forewarn.checkpoints.hub import local_folder
from forewarn.checkpoints.receipts import read_object, whole_folder
from forewarn.checkpoints.row_limit import RowLimit, context_of, row_limit
from forewarn.errors import InputError, ModelError, need_extra

if TYPE_CHECKING:
    import torch

_DAMAGED = (OSError, ValueError, KeyError, TypeError, AttributeError)
"""what transformers raises over files that are missing, or are JSON of another shape"""
_PEFT_NAMES = ("base_model.model.", ".base_layer.")
"""parts of the names that PEFT's wrappers give to weights"""


def _reason(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__


def _remedy(folder: Path) -> str:
    return f"copy it again, or give {whole_folder(folder)}"


@contextmanager
def no_progress_bars() -> Iterator[None]:
    """Around loading and saving: transformers draws a progress bar for every file."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


@contextmanager
def peft_calls() -> Iterator[None]:
    """Around calls of PEFT that touch a model: no warning about what it does itself, or what we refuse anyhow."""
    with warnings.catch_warnings():
        # PEFT reads an attribute that transformers has deprecated
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*", category=FutureWarning)
        warnings.filterwarnings("ignore", message=".*tie_word_embeddings=True.*", category=UserWarning)
        yield


def check_device(device: str) -> None:
    """Raise InputError where torch has no such device here. CUDA is asked, not started: workers start it themselves."""
    if device == "cpu":
        return  # is always there; and torch, which takes a second to import, may not be needed at all
    import torch

    try:
        wanted = torch.device(device)
    except RuntimeError:
        raise InputError(f"device is {device!r}: give cpu, cuda, or cuda:N") from None
    if wanted.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (wanted.index or 0) >= count:
            there = f"has {count} CUDA devices" if count else "sees no CUDA device"
            raise InputError(f"device is {device!r}, but torch {there} here: give one that is there, or cpu")
    elif wanted.type != "cpu":
        try:
            torch.zeros(1, device=wanted).cpu()
        except (RuntimeError, AssertionError, NotImplementedError):
            raise InputError(f"device is {device!r}, which torch can't use here: give cpu, cuda, or cuda:N") from None


def load_model(folder: Path | str, *, dtype: torch.dtype | None = None, device: str = "cpu") -> Any:
    """A causal LM in eval mode from a folder in transformers' format, or by hub name (``org/name@revision``).

    Raises InputError for a device that isn't there, and ModelError where files are missing, cut short, or lack weights
    that the model needs: transformers would fill those with random numbers and carry on. ``dtype``: None is float32.
    """
    need_extra("torch", "local")
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM

    check_device(device)
    folder = local_folder(folder)
    if not (folder / "config.json").is_file():  # transformers would take an adapter for its base
        raise ModelError(f"{folder} has no config.json; give {whole_folder(folder)}")
    try:
        with no_progress_bars():
            model, info = AutoModelForCausalLM.from_pretrained(
                folder, dtype=dtype or torch.float32, output_loading_info=True
            )
    except (*_DAMAGED, RuntimeError, EOFError, SafetensorError) as error:
        raise ModelError(f"can't load a model from {folder}: {_reason(error)}; {_remedy(folder)}") from None
    lacking = sorted(info["missing_keys"]) + sorted(str(key) for key in info["mismatched_keys"])
    if lacking:
        wrapped = [key for key in sorted(info["unexpected_keys"]) if any(part in key for part in _PEFT_NAMES)]
        if wrapped:
            raise ModelError(
                f"the weights in {folder} have PEFT's names ({wrapped[0]} ...), as where a model is saved with its "
                "adapter not merged: give the adapter's own folder and its base, or a merged model"
            )
        raise ModelError(
            f"the model in {folder} lacks weights ({lacking[0]} and {len(lacking) - 1} more); give a whole model folder"
        )
    return model.to(device).eval()


def longest_row(folder: Path | str) -> RowLimit:
    """The longest row for which the positions of the model in ``folder`` stay the same, by its configuration; unknown
    where it has none that can be read."""
    config = _text_config(folder)
    return RowLimit(None) if config is None else row_limit(config)


def model_context(folder: Path | str) -> RowLimit:
    """The context of the model in ``folder``, whatever its positions do within it; unknown where it has no
    configuration that can be read."""
    config = _text_config(folder)
    return RowLimit(None if config is None else context_of(config))


def _text_config(folder: Path | str) -> Any:
    need_extra("transformers", "local")
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(local_folder(folder)).get_text_config()
    except _DAMAGED:  # refused by its receipt, with a better sentence
        return None


def load_tokenizer(folder: Path | str) -> Any:
    """The tokenizer in a folder, or by hub name. Raises ModelError."""
    need_extra("transformers", "local")
    from transformers import AutoTokenizer

    folder = local_folder(folder)
    # the tokenizers library raises a bare Exception over JSON of another shape, which can't be told from a bug
    if (file := folder / "tokenizer.json").is_file() and not isinstance(read_object(file).get("model"), dict):
        raise ModelError(f"{file} has no tokenizer; {_remedy(folder)}")
    try:
        return AutoTokenizer.from_pretrained(folder)
    except (*_DAMAGED, RuntimeError) as error:
        raise ModelError(f"can't load a tokenizer from {folder}: {_reason(error)}; {_remedy(folder)}") from None
