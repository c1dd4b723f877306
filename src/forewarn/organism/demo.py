"""The main job on the bundled organism: donors, samples, verdicts, estimates, rivals, forecasts, report.

Everything is resumable: what a call finds done it leaves alone. Needs the shipped (or rebuilt) organism with its
measured truth; makes no RL itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import torch

from forewarn.engines.registry import DEFAULT_ENGINE, engine_kind
from forewarn.engines.transformers.head_size import widen, widen_adapter
from forewarn.organism.chat import FORMAT
from forewarn.organism.donors import DONOR, EXPLORER, train_donor, train_explorers
from forewarn.organism.frames import Measured, cells_frame, forecasts_frame
from forewarn.organism.problems import measured_problems
from forewarn.organism.recipe import TYPES, Recipe
from forewarn.organism.rivals import OpenRivalRoom, RivalWork, rival_estimates
from forewarn.organism.shipped import MANIFEST, Organism, file_hash
from forewarn.records import UNBOUNDED, Policy, Span, content_key
from forewarn.report import write_report
from forewarn.report.from_run import run_sections
from forewarn.store import RunFolder, Shards, read_table
from forewarn.study import (
    Machine,
    ModelSource,
    PlannedSpan,
    Sandboxing,
    Study,
    read_results,
    read_verdicts,
    run_study,
)
from forewarn.workers import Workers, check_done

Progress = Callable[[str, int, int], None]

RIVAL_STAGE = "the study's estimator"
SPANS = (
    PlannedSpan(Span(), 8),
    PlannedSpan(Span(0, 1, DONOR), 2),
    PlannedSpan(Span(0, 3, DONOR), 2),
    PlannedSpan(Span(0, UNBOUNDED, DONOR), 6),
    PlannedSpan(Span(20, UNBOUNDED, DONOR), 2),
    PlannedSpan(Span(UNBOUNDED, 0, EXPLORER), 3),
    PlannedSpan(Span(5, UNBOUNDED, EXPLORER), 4),
    PlannedSpan(Span(12, UNBOUNDED, EXPLORER), 4),
    PlannedSpan(Span(UNBOUNDED, 3, EXPLORER), 3),
    PlannedSpan(Span(UNBOUNDED, UNBOUNDED, EXPLORER), 6),
)
"""40 completions a problem, 8 of them brute force (alpha_0 = 0.2)"""


@dataclass(frozen=True, slots=True)
class DemoPlan:
    """Which cells the demo measures."""

    rl_checkpoints: tuple[int, ...] = (0, 1, 2, 3, 5, 7)
    """positions among the run's checkpoints"""
    control_checkpoints: tuple[int, ...] = (0, 1, 2, 3)
    seed: int = 0
    workers: int = 2
    engine: str = DEFAULT_ENGINE
    """what samples and scores the study: see ``Machine.engine``. Training and the study's own estimator stay with
    transformers"""
    allow_weak: bool = False
    """judge without protection of files and network where no isolation level works; every result says so"""

    @property
    def machine(self) -> Machine:
        """vLLM batches by itself: one process of ours beside it."""
        if self.engine == DEFAULT_ENGINE:
            return Machine(workers=self.workers, batch_size=640)
        return Machine(workers=1, batch_size=256, engine=self.engine)

    @property
    def identity(self) -> dict[str, object]:
        """What makes a run folder this plan's."""
        return {"seed": self.seed} | ({} if self.engine == DEFAULT_ENGINE else {"engine": self.engine})

    def steps(self, organism: Organism) -> dict[str, list[int]]:
        chosen = {"rl": self.rl_checkpoints, "control": self.control_checkpoints}
        found = {run: organism.steps(run) for run in chosen}
        return {run: [found[run][i] for i in places if i < len(found[run])] for run, places in chosen.items()}


def demo_study(organism: Organism, donors: Path, plan: DemoPlan, policy: Policy, wide: Path) -> Study:
    """The study; for an engine that takes no narrow heads, on the same models with wider ones, written to ``wide``."""

    def source(name: str, adapter: Path, step: int = 0) -> ModelSource:
        base = organism.base
        head_dim = engine_kind(plan.engine).least_head_dim
        if head_dim > 1:
            base = widen(organism.base, wide / "base", head_dim)
            adapter = widen_adapter(
                adapter, wide / name.replace("/", "-"), base=organism.base, wide_base=base, head_dim=head_dim
            )
        return ModelSource(name, str(base), str(adapter), step)

    checkpoints = tuple(
        source(f"{run}/{step}", organism.adapter(run, step), step)
        for run, steps in plan.steps(organism).items()
        for step in steps
    )
    return Study(
        name="organism-demo",
        problems=tuple(p for name in TYPES for p in measured_problems(name)),
        checkpoints=checkpoints,
        donors=tuple(source(name, donors / name) for name in (DONOR, EXPLORER)),
        spans=SPANS,
        policy=policy,
        seed=plan.seed,
        channel_format=FORMAT,
    )


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What the demo made."""

    cells: pl.DataFrame
    forecasts: pl.DataFrame
    report: Path
    isolation: tuple[str, ...]
    """the sandbox levels at which its submissions were judged"""


def run_demo(folder: Path, root: Path, report: Path, progress: Progress, plan: DemoPlan | None = None) -> DemoResult:
    """Measure the organism in ``folder`` into the run folder ``root`` and write the report.

    Raises ModelError (missing or damaged weights), StoreError (a folder that can't be written or holds other work),
    EngineFault (no sandbox works here).
    """
    plan = plan or DemoPlan()
    machine = plan.machine  # refuses an engine that isn't there, before any work
    torch.set_num_threads(1)
    organism = Organism(folder)
    organism.verify()
    # first of all: a folder that can't be written, or of another organism or seed, is refused before any work
    RunFolder(root).claim({"name": "demo", "organism": file_hash(folder / MANIFEST)} | plan.identity)
    truth = read_table(folder / "truth.parquet")
    policy = Policy(max_total_tokens=Recipe().model.max_total_tokens)
    sandboxing = Sandboxing(allow_weak=plan.allow_weak)
    donors = root / "donors"
    train_donor(organism.base, donors / DONOR, progress)
    train_explorers(
        organism.base,
        donors,
        root / "refinement",
        policy=policy,
        seed=plan.seed,
        machine=Machine(workers=plan.workers, batch_size=640),
        sandboxing=sandboxing,
        progress=progress,
    )
    study = demo_study(organism, donors, plan, policy, root / "wide")
    run_study(study, root / "study", machine=machine, sandboxing=sandboxing, progress=progress)
    rivals = run_rivals(organism, root, donors / DONOR, plan, policy, progress)
    progress("report", 0, 1)
    results = read_results(root / "study")
    measured = Measured(tuple(results.estimates), truth, rivals)
    levels = isolation_levels(root / "study")
    cells, forecasts = cells_frame(measured), forecasts_frame(measured, plan.seed)
    written = write_report(
        cells,
        forecasts,
        report,
        title="forewarn demo: a small model under RL",
        commands=("forewarn demo", "forewarn organism truth"),
        lead=_lead(cells, levels),
        sections=run_sections(results),
    )
    progress("report", 1, 1)
    return DemoResult(cells, forecasts, written, levels)


def isolation_levels(study_root: Path) -> tuple[str, ...]:
    """The sandbox levels in a study's verdicts."""
    return tuple(sorted(read_verdicts(study_root)["isolation"].unique().to_list()))


def _lead(cells: pl.DataFrame, levels: Sequence[str]) -> Sequence[str]:
    smallest = int(cells["n"].to_numpy().min())
    return (
        "A language model of 0.4 million parameters, trained by RL on an exploitable reward. "
        f"{smallest} completions a cell, each judged by running its code in the sandbox at level "
        f"{' and '.join(levels)}. "
        "Truth: brute force on the same weights.",
    )


def run_rivals(
    organism: Organism, root: Path, donor: Path, plan: DemoPlan, policy: Policy, progress: Progress
) -> dict[tuple[str, int, str], dict[str, float | None]]:
    """The study's estimator (log10; None without a hit) on every cell of the RL run."""
    shards, per_length = Shards(root / "rivals"), sum(s.count for s in SPANS) // 4
    works: dict[tuple[str, int, str], RivalWork] = {}
    for name in TYPES:
        for step in plan.steps(organism)["rl"]:
            identity = ("rivals", organism.weights_key("rl", step), name, per_length, policy.key, plan.seed)
            works["rl", step, name] = RivalWork(organism.adapter("rl", step), content_key(*identity), name)
    missing = [work for work in works.values() if not shards.has(work.key)]
    done = len(works) - len(missing)
    progress(RIVAL_STAGE, done, len(works))
    open_room = OpenRivalRoom(
        organism.base, donor, root / "study", shards.folder, per_length, policy, allow_weak=plan.allow_weak
    )
    with Workers[RivalWork](open_room, plan.workers) as workers:
        for now, _ in enumerate(workers.do(missing), done + 1):
            progress(RIVAL_STAGE, now, len(works))
        check_done(workers.failed, len(works), "cells of the study's estimator")
    return {cell: rival_estimates(shards.read(work.key)) for cell, work in works.items()}
