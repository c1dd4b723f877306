"""A walk over every type and option of the installed PEFT: right, or refused by name, and the base never moves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import PeftModel

from forewarn.engines.transformers.adapter_kinds import KINDS
from forewarn.engines.transformers.engine import HFEngine
from forewarn.errors import ModelError
from forewarn.records import Policy
from tests.engines.adapter_walk import (
    REFUSED_STARTS,
    TYPES,
    examples,
    model_of,
    options_of,
    quiet,
    save_adapter,
    settings_of,
    start_of,
    write_settings,
)
from tests.engines.tiny import tiny_model

ROWS = ([[1, 2, 3], [4], [7, 8, 3, 2, 1, 5]], [[4, 5, 6, 7, 3, 9], [1, 10, 2], [6, 6, 8]])
TOLERANCE = 1e-4
"""nats, of a whole row"""

_OTHER_LORAS = {
    "alora_invocation_tokens",
    "arrow_config",
    "kasa_config",
    "layer_replication",
    "lora_bias",
    "megatron_config",
    "monteclora_config",
    "use_bdlora",
    "use_qalora",
    "velora_config",
}
REFUSED = {
    "LORA": _OTHER_LORAS,
    "ADALORA": _OTHER_LORAS | {"use_dora", "target_parameters"},
    "LN_TUNING": {"modules_to_save"},
}
"""options of the types taken that are refused whenever they are on, as "bias" is in all; the others come out right"""
REFUSED_TYPES = {
    "ADAMSS", "ADAPTION_PROMPT", "BEFT", "CARTRIDGE", "CPT", "DEFT", "FROD", "LILY", "MULTITASK_PROMPT_TUNING", "OSF",
    "POLY", "PREFIX_TUNING", "PROMPT_TUNING", "PSOFT", "PVERA", "P_TUNING", "SHADOW", "SHIRA", "SUPERTUNING",
    "TINYLORA", "VBLORA", "XLORA",
}  # fmt: skip


def _scores(engine: HFEngine, adapter: str | None = None) -> np.ndarray:
    return np.concatenate(engine.score(*ROWS, policy=Policy(), adapter=adapter))


def _rows(scores: np.ndarray) -> np.ndarray:
    """Sums of the rows."""
    return np.array([part.sum() for part in np.split(scores, np.cumsum([len(row) for row in ROWS[1]])[:-1])])


def _peft_scores(base: Any, folder: Path) -> np.ndarray:
    with quiet():
        return _scores(HFEngine(PeftModel.from_pretrained(base, str(folder)).eval()))


class Held:
    """An engine whose base is watched."""

    def __init__(self, option: str | None = None) -> None:
        self.engine = HFEngine(model_of(option))
        self._weights = {name: value.clone() for name, value in self.engine.model.state_dict().items()}
        self.base = _scores(self.engine)

    def check(self) -> None:
        np.testing.assert_array_equal(_scores(self.engine), self.base)
        now = self.engine.model.state_dict()
        assert list(now) == list(self._weights)
        assert all(torch.equal(value, self._weights[name]) for name, value in now.items())
        assert not any("peft" in type(module).__module__ for module in self.engine.model.modules())


def _is_refused(kind: str, option: str, value: Any) -> bool:
    if option == "init_lora_weights":
        return value in REFUSED_STARTS
    return option == "bias" or option in REFUSED.get(kind, ()) or (option == "random_loc_seed" and value is None)


def test_every_type_is_known() -> None:
    assert set(TYPES) == set(KINDS) | REFUSED_TYPES, "PEFT has other types than the walk knows of"
    assert not set(KINDS) & REFUSED_TYPES


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_option_of_a_type_is_right_or_refused(kind: str, tmp_path: Path) -> None:
    plain = save_adapter(tmp_path / "plain", kind, start_of(kind), tiny_model())
    for option in options_of(kind):
        for i, value in enumerate(examples(kind, option)):
            held = Held(option)
            where = tmp_path / f"{option}-{i}"
            if _is_refused(kind, option, value):
                folder = write_settings(where, plain, {option: value})
                with pytest.raises(ModelError, match=f"is of type {kind} with {option} = ") as told:
                    held.engine.load_adapter("a", folder)
                assert "\n" not in str(told.value)
            else:
                folder = save_adapter(where, kind, settings_of(kind, option, value), model_of(option))
                truth = _peft_scores(model_of(option), folder)
                held.engine.load_adapter("a", folder)
                said = f"{kind} with {option} = {value!r}"
                off = np.abs(_rows(_scores(held.engine, "a")) - _rows(truth)).max()
                assert off < TOLERANCE, f"{said} is off by {off:.2g} nats"
                assert np.abs(truth - held.base).max() > 1e-3, f"{said} changes nothing"
            held.check()


@pytest.mark.parametrize("kind", sorted(set(TYPES) - set(KINDS)))
def test_other_types_are_refused(kind: str, tmp_path: Path) -> None:
    plain = save_adapter(tmp_path / "plain", "LORA", start_of("LORA"), tiny_model())
    held = Held()
    with pytest.raises(ModelError, match=f"is of type {kind}, which this engine doesn't accept"):
        held.engine.load_adapter("a", write_settings(tmp_path / "other", plain, {"peft_type": kind}))
    held.check()


@pytest.mark.parametrize("kind", [*sorted(KINDS), "pissa", "olora", "modules_to_save", "trainable_token_indices"])
def test_adapters_beside_each_other_leave_each_other_and_the_base_alone(kind: str, tmp_path: Path) -> None:
    special = {
        "pissa": {"init_lora_weights": "pissa"},
        "olora": {"init_lora_weights": "olora"},
        "modules_to_save": {"modules_to_save": ["lm_head", "norm"]},
        "trainable_token_indices": {"trainable_token_indices": [3, 4]},
    }.get(kind)
    kind = kind if special is None else "LORA"
    first = save_adapter(tmp_path / "first", kind, start_of(kind) | (special or {}), tiny_model())
    second = save_adapter(tmp_path / "second", "LORA", start_of("LORA"), tiny_model(), seed=2)
    alone = HFEngine(tiny_model())
    alone.load_adapter("second", second)
    held = Held()
    held.engine.load_adapter("first", first)
    before = _scores(held.engine, "first")
    held.engine.load_adapter("half", first, scale=0.5)
    held.engine.load_adapter("second", second)
    np.testing.assert_array_equal(_scores(held.engine, "second"), _scores(alone, "second"))
    half = _scores(held.engine, "half")
    held.engine.drop_adapter("first")
    held.engine.load_adapter("first", first)
    np.testing.assert_array_equal(_scores(held.engine, "first"), before)
    np.testing.assert_array_equal(_scores(held.engine, "half"), half)
    held.check()
    with quiet():
        whole = PeftModel.from_pretrained(tiny_model(), str(first)).merge_and_unload().state_dict()
    between = tiny_model()
    between.load_state_dict({name: (value + whole[name]) / 2 for name, value in between.state_dict().items()})
    assert np.abs(_rows(half) - _rows(_scores(HFEngine(between)))).max() < TOLERANCE


def test_options_that_the_installed_peft_would_leave_out_are_refused(tmp_path: Path) -> None:
    plain = save_adapter(tmp_path / "plain", "LORA", start_of("LORA"), tiny_model())
    held = Held()
    newer = write_settings(tmp_path / "newer", plain, {"some_future_option": {"a": 1}})
    with pytest.raises(ModelError, match=r"LORA with some_future_option = \{'a': 1\}, which .* would ignore"):
        held.engine.load_adapter("a", newer)
    off = write_settings(tmp_path / "off", plain, {"some_future_option": None, "another": False})
    held.engine.load_adapter("a", off)
    held.engine.load_adapter("b", plain)
    np.testing.assert_array_equal(_scores(held.engine, "a"), _scores(held.engine, "b"))
    held.check()


@pytest.mark.parametrize("saved", [{"target_modules": 5}, {"r": "many"}, {"peft_type": None}, {"target_modules": "("}])
def test_settings_that_make_no_sense_are_refused_in_a_sentence(saved: dict[str, Any], tmp_path: Path) -> None:
    plain = save_adapter(tmp_path / "plain", "LORA", start_of("LORA"), tiny_model())
    held = Held()
    with pytest.raises(ModelError, match="the adapter in"):
        held.engine.load_adapter("a", write_settings(tmp_path / "odd", plain, saved))
    held.check()
