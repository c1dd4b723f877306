"""Adapters on the reference engine: they switch exactly, and what doesn't fit the base is refused."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file

from forewarn.checkpoints.find import find_checkpoints
from forewarn.checkpoints.load import peft_calls
from forewarn.checkpoints.receipts import signature, take_receipt
from forewarn.engines.transformers.engine import HFEngine
from forewarn.errors import ModelError
from forewarn.records import Policy
from tests.engines.tiny import VOCAB, tiny_model


def _save_adapter(folder: Path, seed: int) -> None:
    config = LoraConfig(r=2, lora_alpha=8, target_modules=["q_proj", "v_proj", "up_proj"], use_rslora=True)
    with peft_calls():
        model = get_peft_model(tiny_model(), config)
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.3)
    model.save_pretrained(str(folder))


def test_adapters_switch_exactly(tmp_path: Path) -> None:
    _save_adapter(tmp_path / "a", 1)
    _save_adapter(tmp_path / "b", 2)
    engine = HFEngine(tiny_model())
    weights = {name: value.clone() for name, value in engine.model.state_dict().items()}
    pair = ([[1, 2, 3]], [[4, 5, 6, 7]])

    def score(adapter: str | None) -> np.ndarray:
        return engine.score(*pair, policy=Policy(), adapter=adapter)[0]

    base = score(None)
    engine.load_adapter("a", tmp_path / "a")
    engine.load_adapter("b", tmp_path / "b")
    engine.load_adapter("half", tmp_path / "a", scale=0.5)
    for name in ("a", "b", "a"):
        with peft_calls():
            wrapped = PeftModel.from_pretrained(tiny_model(), str(tmp_path / name)).eval()
        np.testing.assert_allclose(score(name), HFEngine(wrapped).score(*pair, policy=Policy())[0], atol=1e-4)
    assert np.abs(score("a") - base).max() > 0.01
    assert np.abs(score("a") - score("half")).max() > 0.01
    np.testing.assert_array_equal(score(None), base)
    for name, value in engine.model.state_dict().items():
        assert torch.equal(value, weights[name]), f"{name} was not restored exactly"
    engine.drop_adapter("a")
    with pytest.raises(ModelError, match="no adapter named 'a'"):
        score("a")
    with pytest.raises(ModelError, match="loaded already"):
        engine.load_adapter("b", tmp_path / "b")


def _edit_adapter(source: Path, target: Path, edit: Callable[[dict[str, torch.Tensor]], object]) -> Path:
    """A copy of an adapter whose tensors ``edit`` has changed in place."""
    shutil.copytree(source, target)
    tensors = load_file(target / "adapter_model.safetensors")
    edit(tensors)
    save_file(tensors, target / "adapter_model.safetensors", metadata={"format": "pt"})
    return target


def test_adapters_whose_weights_do_not_fit_are_refused(tmp_path: Path) -> None:
    _save_adapter(tmp_path / "a", 1)
    engine = HFEngine(tiny_model())
    weights = {name: value.clone() for name, value in engine.model.state_dict().items()}
    names = list(weights)

    def rename(tensors: dict[str, torch.Tensor]) -> None:
        for key in list(tensors):
            tensors[key.replace(".model.layers.", ".transformer.layers.")] = tensors.pop(key)

    def lack(tensors: dict[str, torch.Tensor]) -> None:
        for key in [key for key in tensors if ".layers.1." in key]:
            del tensors[key]

    def add(tensors: dict[str, torch.Tensor]) -> None:
        tensors |= {k.replace(".layers.1.", ".layers.7."): v.clone() for k, v in tensors.items() if ".layers.1." in k}

    for edit, message in (
        (rename, r"no weights for model\.layers\.0\S+ \(and 5 .*\) and extra weights for transformer\.layers\.0"),
        (lack, r"has no weights for model\.layers\.1\.\S+ \(and 2 layers more\); give the base it was trained on"),
        (add, r"has extra weights for model\.layers\.7\.\S+ \(and 2 layers more\); give the base it was trained on"),
    ):
        folder = _edit_adapter(tmp_path / "a", tmp_path / edit.__name__, edit)
        with pytest.raises(ModelError, match=message):
            engine.load_adapter("x", folder)
    (tmp_path / "add" / "adapter_config.json").write_text("[1]")
    with pytest.raises(ModelError, match="has no readable adapter_config"):
        engine.load_adapter("x", tmp_path / "add")
    assert list(engine.model.state_dict()) == names, "the model is left without layers of the refused adapters"
    assert all(torch.equal(value, weights[name]) for name, value in engine.model.state_dict().items())
    engine.load_adapter("x", tmp_path / "a")


@pytest.mark.filterwarnings("ignore:.*tie_word_embeddings.*", "ignore:.*save_embedding_layers.*")
@pytest.mark.parametrize("layer", ["lm_head", "embed_tokens"])
def test_adapters_of_a_tied_weight_are_refused(layer: str, tmp_path: Path) -> None:
    for tied in (True, False):
        with peft_calls():
            adapted = get_peft_model(tiny_model(tied=tied), LoraConfig(r=2, target_modules=[layer]))
            adapted.save_pretrained(str(tmp_path / str(tied)))
    engine = HFEngine(tiny_model(tied=True))
    names = list(engine.model.state_dict())
    with pytest.raises(ModelError, match=f"changes .*{layer}, whose weight this model shares between"):
        engine.load_adapter("a", tmp_path / "True")
    assert list(engine.model.state_dict()) == names
    HFEngine(tiny_model()).load_adapter("a", tmp_path / "False")


@pytest.mark.filterwarnings("ignore:.*save_embedding_layers.*")
def test_adapters_that_bring_other_embeddings_are_refused(tmp_path: Path) -> None:
    with peft_calls():
        embedding = get_peft_model(tiny_model(seed=1), LoraConfig(r=2, target_modules=["embed_tokens"]))
        embedding.save_pretrained(str(tmp_path / "of-another"))
    _save_adapter(tmp_path / "a", 1)
    name = "base_model.model.model.embed_tokens.weight"
    _edit_adapter(tmp_path / "a", tmp_path / "resized", lambda t: t.update({name: torch.zeros(VOCAB, 16)}))
    engine = HFEngine(tiny_model())
    before = engine.score([[1]], [[2, 3]], policy=Policy())[0]
    for folder in ("of-another", "resized"):
        with pytest.raises(ModelError, match="also contains whole weights that differ from this model's"):
            engine.load_adapter("a", tmp_path / folder)
        np.testing.assert_array_equal(engine.score([[1]], [[2, 3]], policy=Policy())[0], before)


def test_new_base_weights_reach_the_adapters(tmp_path: Path) -> None:
    _save_adapter(tmp_path / "a", 1)
    engine = HFEngine(tiny_model(seed=0))
    engine.load_adapter("a", tmp_path / "a")
    other = tiny_model(seed=9)
    engine.set_weights(other.state_dict())
    fresh = HFEngine(other)
    fresh.load_adapter("a", tmp_path / "a")
    for adapter in (None, "a"):
        np.testing.assert_array_equal(
            engine.score([[1]], [[2, 3]], policy=Policy(), adapter=adapter)[0],
            fresh.score([[1]], [[2, 3]], policy=Policy(), adapter=adapter)[0],
        )


def _as_bin(source: Path, target: Path) -> Path:
    """A copy of an adapter with its weights as PEFT saved them before safetensors."""
    shutil.copytree(source, target)
    torch.save(load_file(target / "adapter_model.safetensors"), target / "adapter_model.bin")
    (target / "adapter_model.safetensors").unlink()
    return target


def test_adapters_saved_as_bin_are_the_same_adapters(tmp_path: Path) -> None:
    _save_adapter(tmp_path / "a", 1)
    binary = _as_bin(tmp_path / "a", tmp_path / "binary")
    tiny_model().save_pretrained(str(tmp_path / "base"))
    engine = HFEngine(tiny_model())
    engine.load_adapter("a", tmp_path / "a")
    engine.load_adapter("binary", binary)
    first, second = (engine.score([[1]], [[2, 3]], policy=Policy(), adapter=name)[0] for name in ("a", "binary"))
    np.testing.assert_array_equal(first, second)
    receipt = take_receipt(str(tmp_path / "base"), str(binary))
    before = signature(str(tmp_path / "base"), str(binary))
    tensors = torch.load(binary / "adapter_model.bin", weights_only=True)
    torch.save({name: value * 2 for name, value in tensors.items()}, binary / "adapter_model.bin")
    assert take_receipt(str(tmp_path / "base"), str(binary)).adapter != receipt.adapter
    assert signature(str(tmp_path / "base"), str(binary)) != before
    [source] = find_checkpoints(str(binary), base=str(tmp_path / "base"), step=3)
    assert source.adapter == str(binary)


class Touch:
    """Makes a file when it is unpickled, as any code could be run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return Path.touch, (self.path,)


def test_bin_files_that_hold_more_than_tensors_are_refused(tmp_path: Path) -> None:
    _save_adapter(tmp_path / "a", 1)
    binary = _as_bin(tmp_path / "a", tmp_path / "binary")
    engine = HFEngine(tiny_model())
    names = list(engine.model.state_dict())
    whole = (binary / "adapter_model.bin").read_bytes()
    torch.save({"base_model.model.x": Touch(tmp_path / "ran")}, binary / "adapter_model.bin")
    with pytest.raises(ModelError, match=r"\.bin contains more than tensors, and reading that could run code"):
        engine.load_adapter("a", binary)
    assert not (tmp_path / "ran").exists()
    torch.save([torch.zeros(2)], binary / "adapter_model.bin")
    with pytest.raises(ModelError, match=r"adapter_model\.bin has no named tensors"):
        engine.load_adapter("a", binary)
    (binary / "adapter_model.bin").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelError, match=r"adapter_model\.bin can't be read: .*; copy it again"):
        engine.load_adapter("a", binary)
    (binary / "adapter_model.bin").unlink()
    with pytest.raises(ModelError, match=r"has no adapter_model\.safetensors or adapter_model\.bin"):
        engine.load_adapter("a", binary)
    assert list(engine.model.state_dict()) == names
