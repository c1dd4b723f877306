"""What methods said of runs, kept on disk: a method is asked again where its inputs or its code have changed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

import forewarn.bench.methods as methods_package
import forewarn.estimation as estimation_package
import forewarn.prediction as prediction_package
from forewarn.bench.methods.base import Method, Said, Seen
from forewarn.records import content_key, derived_seed
from forewarn.store import Shards

ROWS: dict[str, Any] = {
    "checkpoint": pl.Int64,
    "exploit_type": pl.String,
    "score": pl.Float64,
    "probability": pl.Float64,
    "features": pl.List(pl.Float64),
    "passed": pl.List(pl.Float64),
}


@cache
def code_key() -> str:
    """A hash of the source that methods are made of: another prior is another answer."""
    held = hashlib.sha256()
    for package in (methods_package, prediction_package, estimation_package):
        for path in sorted(Path(str(package.__file__)).parent.rglob("*.py")):
            held.update(path.read_bytes())
    return held.hexdigest()


class Sayings:
    """Answers by method and run; ``folder`` None keeps nothing."""

    def __init__(self, folder: Path | None, seed: int) -> None:
        self._shards, self._seed = None if folder is None else Shards(folder), seed

    def ask(self, name: str, method: Method, looks: Sequence[Seen]) -> list[Mapping[str, Said]]:
        """What a method says of a run at each of its checkpoints. Its draws are a function of the names."""
        run = looks[0].run.name
        key = f"{run}-{name}-{content_key('sayings', code_key(), name, self._seed, repr(looks))[:32]}"
        if self._shards is not None and self._shards.has(key):
            return _said_of(self._shards.read(key), len(looks))
        found = [
            method.of(one, np.random.default_rng(derived_seed("bench method", self._seed, name, run, one.checkpoint)))
            for one in looks
        ]
        if self._shards is not None:
            self._shards.write(key, _table(found))
        return found


def _table(found: Sequence[Mapping[str, Said]]) -> pl.DataFrame:
    rows: list[dict[str, Any]] = [
        {
            "checkpoint": c,
            "exploit_type": name,
            "score": said.score,
            "probability": said.probability,
            "features": list(said.features),
            "passed": None if said.passed is None else said.passed.tolist(),
        }
        for c, look in enumerate(found, 1)
        for name, said in look.items()
    ]
    return pl.DataFrame(rows, schema=ROWS)


def _said_of(table: pl.DataFrame, n_look: int) -> list[Mapping[str, Said]]:
    looks: list[dict[str, Said]] = [{} for _ in range(n_look)]
    for row in table.iter_rows(named=True):
        passed = None if row["passed"] is None else np.array(row["passed"], dtype=np.float64)
        looks[row["checkpoint"] - 1][row["exploit_type"]] = Said(
            row["score"], row["probability"], tuple(row["features"]), passed
        )
    return list(looks)
