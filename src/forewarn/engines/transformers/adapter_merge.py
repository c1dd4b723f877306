"""What a PEFT adapter makes of a model's weights, worked out by PEFT itself on a twin of the model.

The model that is measured never meets PEFT: some adapters rewrite the weights below them as soon as their layers are
made (PiSSA, OLoRA), and PEFT copies others over the base's. The twin shares the memory of every weight that the adapter
leaves alone, and has copies of those that it touches. Which these are is seen on a first twin that has no memory at
all. Not here: which kinds of adapters are taken (``adapter_kinds.py``), names and switching (``adapters.py``).
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
"""of the names of weights in PEFT's files"""
_UNFIT = (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, RuntimeError, ImportError, re.error)
"""what PEFT raises where an adapter and a model don't go together"""
_WHOLE = (
    "also holds whole weights that are not this model's (PEFT saves embeddings so); "
    "give the base it was trained on, or merge it into a full model first"
)
_TIED = (
    "whose weight this model shares between its input and its output: merged, it would change both; "
    "give an adapter of other layers, or a model with the two untied"
)


def merged_weights(model: Any, folder: Path) -> Weights:
    """The weights of ``model`` that the adapter in ``folder`` changes, by name, as they are with it merged in.

    ``model`` is read and nothing else. Raises ModelError where the adapter is of a kind that isn't taken, is damaged,
    or doesn't fit the model.
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
    """The adapter's weights by PEFT's names. ModelError where the file can't be read as tensors and nothing else."""
    file = adapter_weights_file(folder)
    try:
        if file.suffix == ".safetensors":
            tensors: Weights = load_file(file)
            return tensors
        found = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise ModelError(
            f"{file} holds more than tensors, and reading that could run code: save the adapter as safetensors"
        ) from None
    except (OSError, ValueError, RuntimeError, EOFError, SafetensorError) as error:
        raise ModelError(f"{file} can't be read: {_reason(error)}; copy it again") from None
    if not isinstance(found, dict) or not all(isinstance(value, torch.Tensor) for value in found.values()):
        raise ModelError(f"{file} holds no tensors by name; give an adapter folder saved by PEFT")
    return found


@contextmanager
def _peft_on(folder: Path) -> Iterator[None]:
    """Around PEFT's work on a twin: what it raises becomes a ModelError, what it warns of is checked here.

    It draws starts for layers that it then fills: the caller's random numbers are left as they were.
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
    """A model of the same modules, whose weights are what ``make`` says; buffers are shared."""
    memo: dict[int, Any] = {
        id(weight): nn.Parameter(make(name, weight), requires_grad=False) for name, weight in model.named_parameters()
    }
    memo |= {id(buffer): buffer for buffer in model.buffers()}
    return copy.deepcopy(model, memo)


def _touched(model: Any, config: Any) -> tuple[dict[str, str], set[str]]:
    """Weights in the layers that the adapter changes, each with its layer, and those of them that it replaces."""
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
    """ModelError where the weights are not those, and only those, of the adapter's layers on this model.

    PEFT leaves layers without weights as they were, and drops weights without a layer: the base would be measured
    under the adapter's name.
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
    """ModelError where a weight that the adapter changes goes by a second name in the model."""
    names: dict[int, list[str]] = {}
    for name, weight in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(weight), []).append(name)
    for same in names.values():
        if len(same) > 1 and (layers := [touched[name] for name in same if name in touched]):
            raise ModelError(f"the adapter in {folder} changes {layers[0]}, {_TIED}")


def _changed(own: Weights, merged: Weights, folder: Path) -> Weights:
    """The weights that differ. ModelError where the merged model has other weights than the base, or other shapes."""
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
    """The name of an adapted layer whose weight is both the model's input embedding and its output, if there is one."""
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
    """The first layer that weights belong to, and how many more."""
    names = list(dict.fromkeys(re.sub(r"\.lora_.*$", "", key.removeprefix(_PREFIX)) for key in keys))
    return names[0] + (f" (and {len(names) - 1} layers more)" if len(names) > 1 else "")
