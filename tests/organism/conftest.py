"""A real sandbox, a tiny organism trained in seconds, and the shipped one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from forewarn.engines.transformers.engine import HFEngine
from forewarn.judge.judge import Judge
from forewarn.organism import verbs
from forewarn.organism.chat import OrganismChat
from forewarn.organism.recipe import CorpusRecipe, ModelRecipe, PretrainRecipe, Recipe, RLRecipe
from forewarn.organism.shipped import Organism, shipped_folder

TINY = Recipe(
    seed=3,
    corpus=CorpusRecipe(n_samples=4096),
    model=ModelRecipe(vocabulary=640, hidden=48, layers=1, heads=2, intermediate=64, max_total_tokens=48),
    pretrain=PretrainRecipe(peak_lr=1e-2),
    rl=RLRecipe(steps=4, problems_per_step=10, group=16, first_checkpoint=1, checkpoints=3),
)
"""64 steps: enough for programs that run, and for an easy task solved by luck now and then"""


def quiet(stage: str, done: int, total: int) -> None:
    """A progress callback that shows nothing."""


@pytest.fixture(scope="session")
def judge() -> Iterator[Judge]:
    with Judge(workers=2, level="hardened") as opened:
        yield opened


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A built organism, never written to by tests."""
    folder = tmp_path_factory.mktemp("organism")
    verbs.build(TINY, folder, quiet)
    return folder


@pytest.fixture(scope="session")
def shipped() -> Organism:
    return Organism(shipped_folder())


@pytest.fixture(scope="session")
def chat(shipped: Organism) -> OrganismChat:
    return OrganismChat.from_folder(shipped.base)


@pytest.fixture(scope="session")
def engine(shipped: Organism) -> HFEngine:
    return HFEngine.from_folder(shipped.base)
