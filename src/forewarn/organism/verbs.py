"""What the commands ``forewarn organism build | train | truth`` do, as library calls.

Truth runs in two worker processes, each with one torch thread, its own engine and its own sandbox.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing.synchronize import Event
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
from forewarn.organism.truth import Cell, Effort
from forewarn.organism.workers import start_worker
from forewarn.records import Policy
from forewarn.store import Shards, read_table, write_json, write_table

N_DEEP = 20
"""Cells before emergence that get the deep effort"""
DEEP_BELOW = 5e-3


def build(recipe: Recipe, folder: Path, progress: Progress) -> None:
    """Train tokenizer and base model into ``folder/base``; does nothing where they are there.

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
    organism.write_manifest(recipe, [f"forewarn organism build --seed {recipe.seed}"])


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
class _Work:
    folder: Path
    shards: Path
    cell: Cell
    effort: Effort
    max_total_tokens: int


@dataclass(frozen=True, slots=True)
class _Tools:
    engine: HFEngine
    chat: OrganismChat
    judge: Judge


_worker_tools: list[_Tools] = []
"""A worker process's own engine and sandbox, made by its first cell (never in the parent)"""
_worker_stop: list[Event] = []
"""Set by the parent when the work is to be left off"""


def _start_worker(stop: Event, parent: int) -> None:
    _worker_stop.append(stop)
    start_worker(parent)


def _worker_cell(work: _Work) -> int:
    """One cell in a worker process; returns its hits."""
    if not _worker_tools:
        torch.set_num_threads(1)
        engine = HFEngine.from_folder(work.folder / "base", batch_size=1280)
        judge = Judge(workers=1)
        atexit.register(judge.close)
        _worker_tools.append(_Tools(engine, OrganismChat.from_folder(work.folder / "base"), judge))
    tools, cell = _worker_tools[0], work.cell
    assert cell.adapter is not None
    tools.engine.load_adapter(cell.adapter, work.folder / cell.adapter)
    try:
        return truth.fill_cell(
            cell,
            work.effort,
            Shards(work.shards),
            engine=tools.engine,
            chat=tools.chat,
            policy=Policy(max_total_tokens=work.max_total_tokens),
            judge=tools.judge,
            stopped=_worker_stop[0].is_set,
        )
    finally:
        tools.engine.drop_adapter(cell.adapter)


def truth_cells(
    organism: Organism, runs: Sequence[str], steps: Sequence[int] | None, types: Sequence[str]
) -> list[Cell]:
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
            f"{organism.folder} holds no checkpoint of {', '.join(runs)}; run `forewarn organism train` first"
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
                    cells.append(Cell(run, step, name, adapter, organism.weights_key(run, step)))
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
    store, limit = Shards(shards), recipe.model.max_total_tokens
    plain, deep = Effort(completions), Effort(deep_completions)
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    with ProcessPoolExecutor(
        workers, mp_context=context, initializer=_start_worker, initargs=(stop, os.getpid())
    ) as pool:
        try:
            _fill(pool, [_Work(folder, shards, c, plain, limit) for c in cells], "truth", progress)
            rates, _ = truth.summarize(cells, [plain] * len(cells), store)
            chosen = (
                deep_cells(rates, plain.chunks * truth.PER_PROBLEM * truth.N_PROBLEMS)
                if deep_completions > completions
                else set()
            )
            efforts = [deep if (c.run, c.step, c.exploit_type) in chosen else plain for c in cells]
            work = [_Work(folder, shards, c, e, limit) for c, e in zip(cells, efforts, strict=True) if e is deep]
            _fill(pool, work, "truth of rare cells", progress)
        finally:  # interrupted, or a cell failed: workers leave off at their next chunk
            stop.set()
            pool.shutdown(cancel_futures=True)
    rates, programs = truth.summarize(cells, efforts, store)
    current = {(run, step, organism.weights_key(run, step)[:16]) for run in RUNS for step in organism.steps(run)}
    for name, fresh in (("truth.parquet", rates), ("programs.parquet", programs)):
        path = (out or folder) / name
        held = read_table(path) if path.exists() else None
        write_table(path, truth.merged(held, fresh, current))
    return rates


def _fill(pool: ProcessPoolExecutor, works: Sequence[_Work], stage: str, progress: Progress) -> None:
    futures = [pool.submit(_worker_cell, work) for work in works]
    for done, future in enumerate(as_completed(futures), 1):
        future.result()
        progress(stage, done, len(works))
