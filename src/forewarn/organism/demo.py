"""The main job on the bundled organism: donors, samples, verdicts, estimates, rivals, forecasts, report.

Everything is resumable: what a call finds done it leaves alone. Needs the shipped (or rebuilt) organism with its
measured truth; makes no RL itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import torch

from forewarn.engines.registry import DEFAULT_ENGINE, engine_kind
from forewarn.engines.transformers.head_size import widen, widen_adapter
from forewarn.organism.chat import FORMAT
from forewarn.organism.donors import DONOR, EXPLORER, train_donor, train_explorers
from forewarn.organism.frames import Measured, cells_frame, forecasts_frame
from forewarn.organism.problems import measured_problems
from forewarn.organism.recipe import TYPES, Recipe
from forewarn.organism.rivals import OpenRivalRoom, run_rivals
from forewarn.organism.shipped import MANIFEST, Organism, file_hash
from forewarn.organism.truth import PER_PROBLEM
from forewarn.records import UNBOUNDED, Policy, Span
from forewarn.report import write_report
from forewarn.report.from_run import run_sections
from forewarn.store import RunFolder, read_table
from forewarn.study import (
    CellEstimate,
    Machine,
    ModelSource,
    PlannedSpan,
    Sandboxing,
    Study,
    read_results,
    read_verdicts,
    run_study,
)
from forewarn.study.results.forecasts import THRESHOLD, run_name

Progress = Callable[[str, int, int], None]
Estimated = Callable[[CellEstimate, dict[str, Any] | None], None]

QUICK: dict[str, tuple[int, ...]] = {"rl": (0, 1, 3), "control": (0, 1, 3)}
"""positions of the measured ones among each run's checkpoints: three, which is what a forecast needs"""
FULL: dict[str, tuple[int, ...]] = {"rl": (0, 1, 2, 3, 5, 7), "control": (0, 1, 2, 3)}
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
    """Which cells the demo measures, and how."""

    full: bool = False
    """all checkpoints that the published figures are from, in place of half of them"""
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
        chosen = FULL if self.full else QUICK
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


def run_demo(
    folder: Path,
    root: Path,
    report: Path,
    progress: Progress,
    plan: DemoPlan | None = None,
    estimated: Estimated | None = None,
) -> DemoResult:
    """Measure the organism in ``folder`` into the run folder ``root`` and write the report.

    ``estimated`` is told the estimate of each cell as soon as it is there, with the truth's row (None: not measured).
    A full run goes on from one that was not. Raises ModelError (missing or damaged weights), StoreError (a folder that
    can't be written or holds other work), EngineFault (no sandbox works here).
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
    donors = _taught_donors(organism, root, plan, policy, sandboxing, progress)
    study = demo_study(organism, donors, plan, policy, root / "wide")
    tell = None if estimated is None else _with_truth(estimated, truth)
    run_study(study, root / "study", machine=machine, sandboxing=sandboxing, progress=progress, estimated=tell)
    open_room = OpenRivalRoom(
        base=organism.base,
        donor=donors / DONOR,
        study_root=root / "study",
        shards=root / "rivals",
        per_length=sum(planned.count for planned in SPANS) // 4,
        policy=policy,
        allow_weak=plan.allow_weak,
    )
    rivals = run_rivals(organism, plan.steps(organism)["rl"], open_room, plan.seed, plan.workers, progress)
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
        commands=("forewarn demo --full" if plan.full else "forewarn demo", "forewarn organism truth"),
        lead=(*_lead(cells, levels), counting_words(forecasts)),
        sections=run_sections(results),
    )
    progress("report", 1, 1)
    return DemoResult(cells, forecasts, written, levels)


def _taught_donors(
    organism: Organism, root: Path, plan: DemoPlan, policy: Policy, sandboxing: Sandboxing, progress: Progress
) -> Path:
    """Train the donor and its explorers; returns their folder."""
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
    return donors


def _with_truth(estimated: Estimated, truth: pl.DataFrame) -> Callable[[CellEstimate], None]:
    rows = {(row["run"], row["step"], row["exploit_type"]): row for row in truth.iter_rows(named=True)}
    return lambda cell: estimated(cell, rows.get((run_name(cell.checkpoint_id, ""), cell.step, cell.exploit_type)))


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


def counting_words(forecasts: pl.DataFrame) -> str:
    """How the first calls of the types that emerged compare with what counting shows."""
    emerged = forecasts.filter(pl.col("emerged")).unique(["run", "exploit_type"])
    pairs = emerged.select("first_call_step", "brute_first_step").rows()
    earlier = sum(shown is not None and (called is None or shown < called) for called, shown in pairs)
    later = sum(called is not None and (shown is None or called < shown) for called, shown in pairs)
    if not pairs:
        return f"None of the types passed {THRESHOLD:.0%}."
    how = "earlier" if earlier > later else "no earlier"
    return (
        f"At this model's rates counting sees these hacks {how} than the forecasts call them: of {len(pairs)} types "
        f"that passed {THRESHOLD:.0%}, brute force with {PER_PROBLEM} completions of each problem shows {earlier} at "
        f"an earlier checkpoint than the first call, and {later} at a later one. Forecasts are for rates that counting "
        "can't see."
    )
