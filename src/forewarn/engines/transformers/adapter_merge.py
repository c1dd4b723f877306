"""Merges a PEFT adapter into a model's weights, by running PEFT itself on a copy of the model.

PEFT never touches the model that is measured: some adapters rewrite the weights below them as soon as their layers are
created (PiSSA, OLoRA), and PEFT copies others over the base's. The copy shares the memory of every weight that the
adapter does not change, and has its own memory for the others. A first copy without any memory shows which weights
these are. Not here: which kinds of adapters are accepted (``adapter_kinds.py``), names and switching (``adapters.py``).
"""

from __future__ import annotations

import copy
import pickle
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils.other import AuxiliaryTrainingWrapper
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from forewarn.checkpoints.receipts import adapter_weights_file
from forewarn.engines.transformers.adapter_kinds import initialised_plainly, read_kind
from forewarn.errors import ModelError

Weights = dict[str, torch.Tensor]

_NAME = "merging"
_PREFIX = "base_model.model."
"""prefix of the weights' names in PEFT's files"""
_UNFIT = (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, RuntimeError, ImportError, re.error)
"""exceptions of PEFT for an adapter that doesn't fit a model"""
_WHOLE = (
    "also contains whole weights that differ from this model's (PEFT saves embeddings in this way); "
    "give the base it was trained on, or merge it into a full model first"
)
_TIED = (
    "whose weight this model shares between its input and its output, so that merging would change both; "
    "give an adapter of other layers, or a model with the two untied"
)


def merged_weights(model: Any, folder: Path) -> Weights:
    """Return the weights of ``model`` that the adapter in ``folder`` changes, by name, with the adapter merged in.

    ``model`` is not changed. Raises ModelError if the adapter is of a kind that isn't accepted, is damaged, or doesn't
    fit the model.
    """
    config = read_kind(folder)
    tensors = _read(folder)
    with _peft_on(folder):
        touched, replaced = _touched(model, config)
    _check_tied(model, touched, folder)
    own = dict(model.named_parameters())
    whole = {key.removeprefix(_PREFIX).replace(".base_layer.", "."): key for key in tensors}
    for name in whole.keys() & own.keys() - replaced:
        if not own[name].equal(tensors[whole[name]].to(own[name])):
            raise ModelError(f"the adapter in {folder} {_WHOLE}")
    copied = touched.keys() | whole.keys()
    twin = _twin(model, lambda name, weight: weight.detach().clone() if name in copied else weight.detach())
    mapping = getattr(model, "_checkpoint_conversion_mapping", None)
    with _peft_on(folder):
        wrapped = PeftModel(twin, copy.deepcopy(config), _NAME)
        found = wrapped.load_adapter(str(folder), _NAME, torch_device=str(model.device), key_mapping=mapping)
    _check_whole(folder, found)
    with _peft_on(folder), torch.no_grad():
        merged = wrapped.merge_and_unload(safe_merge=True)
    return _changed(own, dict(merged.named_parameters()), folder)


def _read(folder: Path) -> Weights:
    """Return the adapter's weights by PEFT's names. Raises ModelError if the file can't be read as tensors only."""
    file = adapter_weights_file(folder)
    try:
        if file.suffix == ".safetensors":
            tensors: Weights = load_file(file)
            return tensors
        found = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise ModelError(
            f"{file} contains more than tensors, and reading that could run code: save the adapter as safetensors"
        ) from None
    except (OSError, ValueError, RuntimeError, EOFError, SafetensorError) as error:
        raise ModelError(f"{file} can't be read: {_reason(error)}; copy it again") from None
    if not isinstance(found, dict) or not all(isinstance(value, torch.Tensor) for value in found.values()):
        raise ModelError(f"{file} has no named tensors; give an adapter folder saved by PEFT")
    return found


@contextmanager
def _peft_on(folder: Path) -> Iterator[None]:
    """Run PEFT on a copy: its exceptions become a ModelError, and its warnings are silenced, as they are checked here.

    PEFT draws initial values for layers that it then fills; the caller's random state is restored.
    """
    try:
        with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
            warnings.simplefilter("ignore")
            yield
    except _UNFIT as error:
        raise ModelError(
            f"can't load the adapter in {folder} onto this model: {_reason(error)}; "
            "give the base that it was trained on"
        ) from None


def _twin(model: Any, make: Callable[[str, torch.Tensor], torch.Tensor]) -> Any:
    """Return a model of the same modules, whose weights ``make`` returns; buffers are shared."""
    memo: dict[int, Any] = {
        id(weight): nn.Parameter(make(name, weight), requires_grad=False) for name, weight in model.named_parameters()
    }
    memo |= {id(buffer): buffer for buffer in model.buffers()}
    return copy.deepcopy(model, memo)


def _touched(model: Any, config: Any) -> tuple[dict[str, str], set[str]]:
    """Return the weights in the layers that the adapter changes, each with its layer, and the replaced ones of them."""
    twin = _twin(model, lambda _, weight: torch.empty_like(weight, device="meta"))
    names = {id(weight): name for name, weight in twin.named_parameters()}
    wrapped = PeftModel(twin, initialised_plainly(config), _NAME, low_cpu_mem_usage=True)
    touched: dict[str, str] = {}
    replaced: set[str] = set()
    for layer, module in wrapped.named_modules():
        if isinstance(module, BaseTunerLayer):
            found = [names[id(w)] for w in module.get_base_layer().parameters() if id(w) in names]
        elif isinstance(module, AuxiliaryTrainingWrapper):
            found = [names[id(w)] for w in module.original_module.parameters() if id(w) in names]
            replaced |= set(found)
        else:
            continue
        touched |= dict.fromkeys(found, layer.removeprefix(_PREFIX))
    return touched, replaced


def _check_whole(folder: Path, found: Any) -> None:
    """Raise ModelError unless the weights are exactly those of the adapter's layers on this model.

    PEFT does not change layers without weights, and drops weights without a layer, so the base would be measured under
    the adapter's name.
    """
    faults = [
        f"{what} weights for {_layers(keys)}"
        for what, keys in (("no", found.missing_keys), ("extra", found.unexpected_keys))
        if keys
    ]
    if faults:
        raise ModelError(
            f"the adapter in {folder} has {' and '.join(faults)}; give the base it was trained on, "
            "or copy the adapter again"
        )


def _check_tied(model: Any, touched: dict[str, str], folder: Path) -> None:
    """Raise ModelError if a weight that the adapter changes has a second name in the model."""
    names: dict[int, list[str]] = {}
    for name, weight in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(weight), []).append(name)
    for same in names.values():
        if len(same) > 1 and (layers := [touched[name] for name in same if name in touched]):
            raise ModelError(f"the adapter in {folder} changes {layers[0]}, {_TIED}")


def _changed(own: Weights, merged: Weights, folder: Path) -> Weights:
    """Return the weights that differ. Raises ModelError if the merged model's weights have other names or shapes."""
    other = [name for name in own if name not in merged or merged[name].shape != own[name].shape]
    other += [name for name in merged if name not in own]
    if other:
        raise ModelError(
            f"the adapter in {folder} changes which weights the model has ({other[0]}): "
            "merge it into a full model first"
        )
    found: Weights = {}
    for name, weight in own.items():
        after = merged[name].detach().to(weight)
        if after.data_ptr() != weight.data_ptr() and not after.equal(weight):
            found[name] = after
    return found


def tied_layer(wrapped: PeftModel) -> str | None:
    """Return the name of an adapted layer whose weight is both input embedding and output, or None."""
    model = wrapped.get_base_model()
    ends = [
        layer.weight for layer in (model.get_input_embeddings(), model.get_output_embeddings()) if layer is not None
    ]
    if len(ends) < 2 or ends[0] is not ends[1]:
        return None
    for name, module in model.named_modules():
        if isinstance(module, BaseTunerLayer) and getattr(module.get_base_layer(), "weight", None) is ends[0]:
            return str(name)
    return None


def _reason(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__


def _layers(keys: Sequence[str]) -> str:
    """Name the first layer that weights belong to, and the number of further layers."""
    names = list(dict.fromkeys(re.sub(r"\.lora_.*$", "", key.removeprefix(_PREFIX)) for key in keys))
    return names[0] + (f" (and {len(names) - 1} layers more)" if len(names) > 1 else "")
