"""A miniature protocol whose base is trained in seconds, and a real sandbox behind one memory of verdicts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from forewarn.bench import verbs
from forewarn.bench.protocol import Protocol, protocol
from forewarn.bench.verdicts import TYPES
from forewarn.judge.judge import Judge

REAL = protocol()
TINY: Protocol = replace(
    REAL,
    corpus=replace(REAL.corpus, n_samples=4096),
    model=replace(REAL.model, vocabulary=640, hidden=48, layers=1, heads=2, intermediate=64, max_total_tokens=48),
    pretrain=replace(REAL.pretrain, peak_lr=1e-2),
    rl=replace(
        REAL.rl, steps=6, rollouts=192, gradient_rollouts=64, first_checkpoint=1, log_checkpoints=3, checkpoint_every=2
    ),
    truth=replace(REAL.truth, every=4, completions=40),
)


def quiet(stage: str, done: int, total: int) -> None:
    """A progress callback that shows nothing."""


def silent(line: str) -> None:
    """A log that keeps nothing."""


@pytest.fixture(scope="session")
def judge() -> Iterator[Judge]:
    with Judge(workers=2, level="hardened", types=TYPES) as opened:
        yield opened


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the base model d0, never written to by tests."""
    folder = tmp_path_factory.mktemp("bench")
    verbs.build("d0", folder, TINY, quiet)
    return folder
