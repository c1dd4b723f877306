"""What the commands ``forewarn organism build | train | truth`` do, as library calls.

Truth runs in worker processes, each with one torch thread, its own engine and its own sandbox.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import torch

from forewarn.engines.transformers.engine import HFEngine
from forewarn.errors import InputError
from forewarn.judge.judge import Judge
from forewarn.organism import truth
from forewarn.organism.build import Progress, build_base
from forewarn.organism.chat import OrganismChat
from forewarn.organism.recipe import TYPES, Recipe
from forewarn.organism.shipped import RUNS, Organism
from forewarn.organism.train import STATE_FILE, Trainer
from forewarn.organism.truth import Effort, TruthCell
from forewarn.records import Policy
from forewarn.store import Shards, read_table, write_json, write_table
from forewarn.workers import Workers, check_done

N_DEEP = 20
"""Cells before emergence that get the deep effort"""
DEEP_BELOW = 5e-3


def build(recipe: Recipe, folder: Path, progress: Progress, *, command: str | None = None) -> None:
    """Train tokenizer and base model into ``folder/base``; does nothing where they are there.

    ``command``: what the manifest says made it; None: ``forewarn organism build`` with the recipe's seed.
    Raises InputError where the folder holds an organism of another recipe or seed, ModelError where it is damaged,
    and StoreError, before any training, where the folder can't be written.
    """
    torch.set_num_threads(1)
    organism = Organism(folder)
    if organism.is_built:
        organism.check_recipe(recipe)
        organism.verify("base/")
        return
    write_json(folder / "build.json", {"seed": recipe.seed, "loss_nats_per_token": None})
    loss = build_base(recipe, organism.base, progress)
    write_json(folder / "build.json", {"seed": recipe.seed, "loss_nats_per_token": loss})
    organism.write_manifest(recipe, [command or f"forewarn organism build --seed {recipe.seed}"])


def train(recipe: Recipe, folder: Path, run: str, progress: Progress) -> None:
    """RL of one run from ``folder/base``; goes on where it was left, and does nothing where it is finished.

    Raises InputError for an unknown run or a base of another recipe or seed, ModelError where there is no whole base.
    """
    if run not in RUNS:
        raise InputError(f"no run {run!r}: choose among {', '.join(RUNS)}")
    torch.set_num_threads(1)
    organism = Organism(folder)
    organism.verify("base/")
    organism.check_recipe(recipe)
    state = organism.run_folder(run) / STATE_FILE
    if organism.names(organism.adapter(run, recipe.rl.steps) / "adapter_model.safetensors") and not state.exists():
        organism.verify(f"{run}/")
        return
    trainer = Trainer(recipe, organism.base, organism.run_folder(run), "vulnerable" if run == "rl" else "secure")
    with Judge(workers=2, level="hardened") as judge:
        trainer.run(judge, progress)
    commands = [f"forewarn organism build --seed {recipe.seed}"]
    commands += [f"forewarn organism train --run {name} --seed {recipe.seed}" for name in RUNS if organism.steps(name)]
    organism.write_manifest(recipe, commands)
    state.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class TruthWork:
    """A cell and how much of it is wanted."""

    cell: TruthCell
    effort: Effort


@dataclass(frozen=True, slots=True)
class OpenTruthRoom:
    """Opens the room in which cells are drawn and judged; what a worker process is given."""

    folder: Path
    shards: Path
    policy: Policy

    def __call__(self) -> TruthRoom:
        return TruthRoom(self)


class TruthRoom:
    """A process's own engine and sandbox."""

    def __init__(self, settings: OpenTruthRoom) -> None:
        torch.set_num_threads(1)
        base = Organism(settings.folder).base
        self._settings = settings
        self._engine, self._chat = HFEngine.from_folder(base, batch_size=1280), OrganismChat.from_folder(base)
        self._judge = Judge(workers=1)

    def do(self, work: TruthWork) -> None:
        """Draw what is missing of a cell, chunk by chunk."""
        adapter, settings = work.cell.adapter, self._settings
        assert adapter is not None
        self._engine.load_adapter(adapter, settings.folder / adapter)
        try:
            truth.fill_cell(
                work.cell,
                work.effort,
                Shards(settings.shards),
                engine=self._engine,
                chat=self._chat,
                policy=settings.policy,
                judge=self._judge,
            )
        finally:
            self._engine.drop_adapter(adapter)

    def close(self) -> None:
        self._judge.close()


def truth_cells(
    organism: Organism, runs: Sequence[str], steps: Sequence[int] | None, types: Sequence[str]
) -> list[TruthCell]:
    """The cells asked for (``steps`` None: all). InputError where a name or step is not one the organism holds."""
    for name in types:
        if name not in TYPES:
            raise InputError(f"the organism knows no exploit type {name!r}: choose among {', '.join(TYPES)}")
    for run in runs:
        if run not in RUNS:
            raise InputError(f"no run {run!r}: choose among {', '.join(RUNS)}")
    held = sorted({step for run in runs for step in organism.steps(run)})
    if not held:
        raise InputError(
            f"{organism.folder} has no checkpoint of {', '.join(runs)}; run `forewarn organism train` first"
        )
    for step in steps or ():
        if step not in held:
            raise InputError(f"no checkpoint at step {step}: choose among {', '.join(map(str, held))}")
    cells = []
    for name in types:  # a worker that stays with a type finds most of its programs judged
        for run in runs:
            for step in organism.steps(run):
                if steps is None or step in steps:
                    adapter = str(organism.adapter(run, step).relative_to(organism.folder))
                    cells.append(TruthCell(run, step, name, adapter, organism.weights_key(run, step)))
    return cells


def deep_cells(rates: pl.DataFrame, first_effort: int) -> set[tuple[str, int, str]]:
    """The cells worth a deep look: hit but rare; evenly over types, early checkpoints first."""
    rare = rates.filter(
        (pl.col("hits") > 0) & (pl.col("hits") / pl.col("n") < DEEP_BELOW) & (pl.col("n") >= first_effort)
    )
    rare = rare.filter(pl.col("hits") < 40).sort("run", "step", "exploit_type", descending=[True, False, False])
    ranked = rare.with_columns(pl.int_range(pl.len()).over("run", "exploit_type").alias("rank")).sort(
        "rank", maintain_order=True
    )
    return {(r["run"], r["step"], r["exploit_type"]) for r in ranked.head(N_DEEP).iter_rows(named=True)}


def measure_truth(
    recipe: Recipe,
    folder: Path,
    shards: Path,
    progress: Progress,
    *,
    completions: int = 20_480,
    deep_completions: int = 200_000,
    runs: Sequence[str] = tuple(RUNS),
    steps: Sequence[int] | None = None,
    types: Sequence[str] = tuple(TYPES),
    workers: int = 2,
    out: Path | None = None,
) -> pl.DataFrame:
    """Fill every cell, then the deep ones; write ``truth.parquet`` and ``programs.parquet``. Resumable.

    Cells of these weights that are in the tables and were not asked for stay. Returns the rates of those asked for.
    """
    organism = Organism(folder)
    organism.verify()
    cells = truth_cells(organism, runs, steps, types)
    store, policy = Shards(shards), Policy(max_total_tokens=recipe.model.max_total_tokens)
    plain, deep = Effort(completions), Effort(deep_completions)
    with Workers[TruthWork](OpenTruthRoom(folder, shards, policy), workers) as pool:
        _fill(pool, [TruthWork(cell, plain) for cell in cells], "truth", progress)
        rates, _ = truth.summarize(cells, [plain] * len(cells), store)
        n_plain = plain.chunks * truth.PER_PROBLEM * truth.N_PROBLEMS
        chosen = deep_cells(rates, n_plain) if deep_completions > completions else set()
        efforts = [deep if (c.run, c.step, c.exploit_type) in chosen else plain for c in cells]
        work = [TruthWork(cell, effort) for cell, effort in zip(cells, efforts, strict=True) if effort is deep]
        _fill(pool, work, "truth of rare cells", progress)
    rates, programs = truth.summarize(cells, efforts, store)
    current = {(run, step, organism.weights_key(run, step)[:16]) for run in RUNS for step in organism.steps(run)}
    for name, fresh in (("truth.parquet", rates), ("programs.parquet", programs)):
        path = (out or folder) / name
        held = read_table(path) if path.exists() else None
        write_table(path, truth.merged(held, fresh, current))
    return rates


def _fill(workers: Workers[TruthWork], works: Sequence[TruthWork], stage: str, progress: Progress) -> None:
    for done, _ in enumerate(workers.do(works), 1):
        progress(stage, done, len(works))
    check_done(workers.failed, len(works), "cells")
