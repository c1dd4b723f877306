"""The true exploit rates of a run, by brute force at the protocol's steps, finer where a rate is crossed.

Drawn apart from the rollouts. One shard a cell, so that a call goes on where the last was cut short.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import polars as pl
import torch

from forewarn.bench.exploit_texts import MENTIONS
from forewarn.bench.protocol import Protocol
from forewarn.bench.record import TRUTH_FILE
from forewarn.bench.runs import BenchRun, find_run
from forewarn.bench.verbs import Log, checked_base, run_recipe, verdict_memory
from forewarn.bench.verdicts import VerdictMemory
from forewarn.engines.transformers.engine import HFEngine
from forewarn.errors import InputError
from forewarn.organism import truth as organism_truth
from forewarn.organism.chat import OrganismChat
from forewarn.organism.recipe import Recipe
from forewarn.organism.shipped import Organism
from forewarn.organism.truth import Effort, TruthCell, fill_cell, summarize
from forewarn.records import Policy
from forewarn.store import Shards, write_table

Rates = dict[str, dict[int, float]]
"""type -> step -> share of hits"""


def measure_truth(name: str, folder: Path, protocol: Protocol, log: Log) -> pl.DataFrame:
    """Fill the cells of every checkpoint the run has kept so far; write and return ``truth.parquet``. Resumable.

    Raises InputError for no run, or one without a checkpoint at the protocol's steps.
    """
    torch.set_num_threads(1)
    run = find_run(name, protocol)
    base = checked_base(run, folder, protocol)
    held = base.steps(run.variant)
    steps = [step for step in held if step % protocol.truth.every == 0]
    if not steps:
        raise InputError(f"run {name} has no checkpoint to measure yet: run `forewarn bench train {name}` first")
    with verdict_memory(folder, workers=1) as verdicts:
        cells = RunCells(run, run_recipe(run, protocol), base, protocol, verdicts, log)
        rates = cells.fill(dict.fromkeys(steps, cells.types))
        cells.fill(between(rates, held, protocol.truth.refined_around))
    table = cells.table()
    write_table(base.run_folder(run.variant) / TRUTH_FILE, table)
    return table


def between(rates: Rates, held: Sequence[int], levels: Sequence[float]) -> Mapping[int, list[str]]:
    """Step -> types: the kept checkpoints between two neighboring cells of a type on different sides of a level."""
    wanted: dict[int, list[str]] = {}
    for name, by_step in rates.items():
        crossed = [
            (a, b)
            for a, b in pairwise(sorted(by_step))
            if any((by_step[a] < level) != (by_step[b] < level) for level in levels)
        ]
        for step in held:
            if any(a < step < b for a, b in crossed):
                wanted.setdefault(step, []).append(name)
    return wanted


class RunCells:
    """The cells of one run: a checkpoint and an exploit type each."""

    def __init__(
        self,
        run: BenchRun,
        recipe: Recipe,
        base: Organism,
        protocol: Protocol,
        verdicts: VerdictMemory,
        log: Log,
    ) -> None:
        self._run, self._recipe, self._base, self._verdicts, self._log = run, recipe, base, verdicts, log
        self._engine = HFEngine.from_folder(base.base, batch_size=protocol.truth.completions)
        self._chat = OrganismChat.from_folder(base.base)
        self._shards = Shards(base.run_folder(run.variant) / "truth")
        self._effort = Effort(protocol.truth.completions, hits=protocol.truth.completions)
        self._cells: list[TruthCell] = []
        self.types = list(recipe.types)

    def fill(self, wanted: Mapping[int, Sequence[str]]) -> Rates:
        """Draw what is missing of these types at these steps."""
        rates: Rates = {name: {} for name in self.types}
        for step, types in sorted(wanted.items()):
            cells = [self._cell(step, name) for name in types]
            adapter = cells[0].adapter
            assert adapter is not None
            self._engine.load_adapter(adapter, self._base.folder / adapter)
            try:
                for cell in cells:
                    rates[cell.exploit_type][step] = self._rate(cell)
            finally:
                self._engine.drop_adapter(adapter)
            self._cells += cells
            told = ", ".join(f"{name} {rates[name][step]:.3f}" for name in types if rates[name][step])
            self._log(f"truth of step {step}: {told or 'no hit'}")
        return rates

    def table(self) -> pl.DataFrame:
        """A row a cell: hits of completions, with the exact interval."""
        rates, _ = summarize(self._cells, [self._effort] * len(self._cells), self._shards)
        return rates.sort("exploit_type", "step")

    def _cell(self, step: int, name: str) -> TruthCell:
        variant = self._run.variant
        adapter = str(self._base.adapter(variant, step).relative_to(self._base.folder))
        return TruthCell(self._run.name, step, name, adapter, self._base.weights_key(variant, step))

    def _rate(self, cell: TruthCell) -> float:
        hits = fill_cell(
            cell,
            self._effort,
            self._shards,
            engine=self._engine,
            chat=self._chat,
            policy=Policy(max_total_tokens=self._recipe.model.max_total_tokens),
            judge=self._verdicts,
            types=self._recipe.types,
            words=MENTIONS,
        )
        return hits / (self._effort.chunks * organism_truth.PER_PROBLEM * organism_truth.N_PROBLEMS)
