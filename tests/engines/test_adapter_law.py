"""The law of adapters catches engines that break it: real engines whose adapters do one thing wrong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from forewarn.engines.check.adapter_law import AdapterLaw, adapter_law
from forewarn.engines.check.check import CheckSizes, check_engine, make_prompts
from forewarn.engines.transformers.engine import HFEngine
from forewarn.formats import FORMATS
from tests.engines.adapter_walk import save_adapter, start_of
from tests.engines.tiny import tiny_model, tiny_tokenizer

PROMPTS = [[1, 2, 3, 4], [3], [9, 8, 7, 6, 5, 4]]


class Moved(HFEngine):
    """Loading an adapter rewrites the base a little, as PEFT does with PiSSA's."""

    def load_adapter(self, name: str, folder: Path, *, scale: float = 1.0) -> None:
        super().load_adapter(name, folder, scale=scale)
        with torch.no_grad():
            self.model.model.norm.weight.mul_(1.2)


class Compounding(HFEngine):
    """Every load of an adapter goes on top of the one before."""

    def load_adapter(self, name: str, folder: Path, *, scale: float = 1.0) -> None:
        count = len(self._adapters._folders)
        super().load_adapter(name, folder, scale=scale / (count + 1))


class Deaf(HFEngine):
    """Loads every adapter whole."""

    def load_adapter(self, name: str, folder: Path, *, scale: float = 1.0) -> None:
        super().load_adapter(name, folder)


class Muddled(HFEngine):
    """Dropping an adapter takes it out of the others as well."""

    def drop_adapter(self, name: str) -> None:
        gone = self._adapters._merged[name]
        super().drop_adapter(name)
        for merged in self._adapters._merged.values():
            for key in merged.keys() & gone.keys():
                merged[key] = (merged[key] + self._adapters._base[key]) / 2


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    return save_adapter(tmp_path / "a", "LORA", start_of("LORA") | {"use_dora": True}, tiny_model())


def _law(kind: type[HFEngine], adapter: Path) -> AdapterLaw:
    return adapter_law(kind(tiny_model()), PROMPTS, adapter, name="a")


def test_the_reference_engine_holds_it_exactly(adapter: Path) -> None:
    engine = HFEngine(tiny_model())
    law = adapter_law(engine, PROMPTS, adapter, name="a")
    assert [found.worst_token for found in law.equal.values()] == [0.0] * 3
    assert law.base.n_tokens == 3 * 32
    assert law.scale_holds
    assert min(law.effect.worst_token, law.half_base.worst_token, law.half_whole.worst_token) > 0.01
    engine.drop_adapter("a")  # the only one that is left


@pytest.mark.parametrize(
    ("kind", "broken"),
    [
        (Moved, "the base before and after an adapter was loaded"),
        (Compounding, "an adapter loaded twice"),
        (Muddled, "an adapter before and after others were loaded"),
    ],
)
def test_engines_that_break_it_are_caught(kind: type[HFEngine], broken: str, adapter: Path) -> None:
    law = _law(kind, adapter)
    assert law.equal[broken].worst_token > 0.01
    prompts = make_prompts(tiny_tokenizer(FORMATS["plain-think"].control), "none")
    prompts = replace(prompts, ids=tuple(tuple(i % 11 for i in row[:20]) for row in prompts.ids), short=(5, 6))
    receipt: Any = check_engine(HFEngine(tiny_model()), prompts, sizes=CheckSizes(4, 20, 4, 300), adapters=law)
    assert [fault for fault in receipt.faults if fault.startswith(f"{broken} differ")]
    assert not receipt.trusted


def test_a_scale_that_is_ignored_is_caught(adapter: Path) -> None:
    law = _law(Deaf, adapter)
    assert not law.scale_holds
    assert law.half_whole.worst_token == 0.0
