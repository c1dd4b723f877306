"""The bundled organism as vLLM takes it: heads widened to 32, two RL checkpoints and a base."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from forewarn.engines.transformers.engine import HFEngine
from forewarn.engines.transformers.head_size import widen, widen_adapter
from forewarn.organism.chat import OrganismChat
from forewarn.organism.problems import measured_problems
from forewarn.organism.shipped import Organism, shipped_folder


@dataclass(frozen=True)
class Small:
    """A small real model with adapters, and prompts for it."""

    base: Path
    early: Path
    late: Path
    prompts: tuple[tuple[int, ...], ...]
    end_ids: tuple[int, ...]


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Small:
    out, organism = tmp_path_factory.mktemp("wide"), Organism(shipped_folder())
    steps = organism.steps("rl")
    adapters = [
        widen_adapter(
            organism.adapter("rl", step), out / str(step), base=organism.base, wide_base=out / "base", head_dim=32
        )
        for step in (steps[0], steps[-1])
    ]
    chat = OrganismChat.from_folder(organism.base)
    prompts = tuple(chat.prompt_ids(p.question) for p in measured_problems("test_skipping")[:4])
    return Small(widen(organism.base, out / "base", 32), *adapters, prompts, chat.end_ids)


@pytest.fixture(scope="session")
def reference(small: Small) -> HFEngine:
    """The reference engine on the same weights and adapters."""
    engine = HFEngine.from_folder(small.base)
    engine.load_adapter("early", small.early)
    engine.load_adapter("late", small.late)
    return engine
