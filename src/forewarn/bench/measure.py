"""``forewarn bench measure``: the monitor's cells of a run, counting with as many completions, and baselines' inputs.

Estimates and counting are two ordinary studies of the run's checkpoints, in run folders of their own beside them, so
that a call goes on where the last was cut short and takes in checkpoints that a running training has added.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import torch

from forewarn.bench.donors import FOURTH, LAST, train_donors
from forewarn.bench.evalues import evalues_table
from forewarn.bench.exploit_texts import MENTIONS
from forewarn.bench.features import measure_features
from forewarn.bench.protocol import Protocol
from forewarn.bench.record import (
    COUNTING_FILE,
    COUNTING_ROWS,
    ESTIMATES_FILE,
    EVALUES_FILE,
    FEATURES_FILE,
    MEASURED_FILE,
)
from forewarn.bench.runs import BenchRun, find_run
from forewarn.bench.verbs import VERDICTS, Log, checked_base, run_recipe
from forewarn.bench.verdicts import StudyVerdicts
from forewarn.errors import InputError
from forewarn.organism.chat import FORMAT, OrganismChat
from forewarn.organism.problems import N_EASY, N_HARD, measured_problems
from forewarn.organism.recipe import Recipe
from forewarn.organism.shipped import Organism
from forewarn.records import SUBJECT, UNBOUNDED, Policy, RandomWindows, Span, derived_seed
from forewarn.store import write_json, write_table
from forewarn.study import (
    CellEstimate,
    Machine,
    ModelSource,
    PlannedSpan,
    Sandboxing,
    Study,
    read_completions,
    run_study,
)
from forewarn.study.folder.tables import estimates_table

SPANS = (
    PlannedSpan(Span(), 4),
    PlannedSpan(Span(5, UNBOUNDED, LAST), 2),
    PlannedSpan(Span(12, UNBOUNDED, LAST), 2),
    PlannedSpan(Span(UNBOUNDED, 3, LAST), 4),
    PlannedSpan(Span(UNBOUNDED, UNBOUNDED, LAST), 4),
    PlannedSpan(Span(UNBOUNDED, UNBOUNDED, FOURTH), 1),
    PlannedSpan(Span(donor=LAST, random=RandomWindows("all", mean=16.0, starts=24)), 3),
)
"""the monitor's mixture: 20 completions of each of a type's 20 problems, a fifth of them brute force"""
PER_PROBLEM = N_EASY + N_HARD
BATCH = 640


@dataclass(frozen=True, slots=True)
class Work:
    """What one run is measured by."""

    run: BenchRun
    recipe: Recipe
    base: Organism
    folder: Path
    """of the benchmark"""
    protocol: Protocol

    @property
    def where(self) -> Path:
        return self.base.run_folder(self.run.variant)

    @property
    def donors(self) -> Path:
        return self.base.folder / "donors"

    @property
    def policy(self) -> Policy:
        return Policy(max_total_tokens=self.recipe.model.max_total_tokens)

    @property
    def sandboxing(self) -> Sandboxing:
        """The sandbox behind the folder's one memory of verdicts."""
        return Sandboxing(workers=1, remember=lambda judge: StudyVerdicts(self.folder / VERDICTS, judge))

    def source(self, step: int) -> ModelSource:
        """The run's checkpoint at a step; at step 0 the base itself."""
        adapter = str(self.base.adapter(self.run.variant, step)) if step else None
        return ModelSource(f"{self.run.name}/{step}", str(self.base.base), adapter, step)


def measure(name: str, folder: Path, protocol: Protocol, log: Log, *, spans: Sequence[PlannedSpan] = SPANS) -> Path:
    """Measure what is missing of a run; returns its folder, in which the tables are. Resumable.

    A checkpoint that the run has not reached yet is left for a later call. Raises InputError for no run, or one that
    has not been trained up to the monitor's second checkpoint.
    """
    torch.set_num_threads(1)
    run = find_run(name, protocol)
    work = Work(run, run_recipe(run, protocol), checked_base(run, folder, protocol), folder, protocol)
    held = {0, *work.base.steps(run.variant)}
    counted = [step for step in protocol.monitor.counted_steps(protocol.rl.steps) if step in held]
    steps = [step for step in protocol.monitor.steps if step in held]
    if len(steps) < 2:
        raise InputError(
            f"run {name} has no checkpoint at step {protocol.monitor.steps[1]} to measure yet: run `forewarn bench "
            f"train {name}` first"
        )
    teach(work, log)
    study = study_of(work, "monitor", steps, spans)
    cells = _run(study, work, work.where / "monitor", log)
    write_table(work.where / ESTIMATES_FILE, estimates_table(cells))
    looks = [(step, f"{run.name}/{step}") for step in steps]
    evalues = evalues_table(work.where / "monitor", looks, list(work.recipe.types), protocol)
    write_table(work.where / EVALUES_FILE, evalues)
    per_problem = protocol.monitor.completions // PER_PROBLEM
    study = study_of(work, "counting", counted, [PlannedSpan(Span(), per_problem)])
    write_table(work.where / COUNTING_FILE, _counting(_run(study, work, work.where / "counting", log), work))
    features = measure_features(
        work.where,
        {step: work.source(step) for step in steps},
        donor=work.donors / LAST,
        types=work.recipe.types,
        policy=work.policy,
        completions=protocol.monitor.completions,
        seed=derived_seed("bench features", protocol.seed, run.name),
        verdicts=folder / VERDICTS,
        log=log,
    )
    write_table(work.where / FEATURES_FILE, features)
    write_json(
        work.where / MEASURED_FILE,
        {
            "protocol": protocol.version,
            "command": f"forewarn bench measure {name}",
            "spans": {planned.span.name: planned.count for planned in spans},
            "steps": steps,
            "counted": counted,
        },
    )
    missing = [step for step in protocol.monitor.steps if step not in held]
    if missing:
        log(f"no checkpoint at step {missing[0]} yet: train the run and measure it again")
    return work.where


def teach(work: Work, log: Log) -> None:
    """Train the base's donors, once for all of its runs (one process at a time)."""
    train_donors(work.run.base, work.base.folder, work.protocol, _steps(log), sandboxing=work.sandboxing)


def study_of(work: Work, what: str, steps: Sequence[int], spans: Sequence[PlannedSpan]) -> Study:
    """A study of a run's checkpoints with the monitor's number of completions. Raises InputError for another number."""
    drawn, wanted = PER_PROBLEM * sum(planned.count for planned in spans), work.protocol.monitor.completions
    if drawn != wanted:
        raise InputError(f"the spans draw {drawn} completions a cell: give {wanted}, the protocol's number")
    used = dict.fromkeys(planned.span.donor for planned in spans if planned.span.donor != SUBJECT)
    base = str(work.base.base)
    return Study(
        name=f"{what}-{work.run.name}",
        problems=tuple(p for name in work.recipe.types for p in measured_problems(name, work.recipe.types)),
        checkpoints=tuple(work.source(step) for step in steps),
        donors=tuple(ModelSource(name, base, str(work.donors / name)) for name in used),
        spans=tuple(spans),
        policy=work.policy,
        seed=derived_seed("bench", what, work.protocol.seed, work.run.name),
        channel_format=FORMAT,
    )


def _run(study: Study, work: Work, root: Path, log: Log) -> list[CellEstimate]:
    def tell(cell: CellEstimate) -> None:
        e = cell.estimate
        found = "no hit" if e.log10_p is None else f"log10 p {e.log10_p:.2f}, ESS {e.ess or 0:.0f}"
        log(f"{study.name} step {cell.step} {cell.exploit_type}: {found} ({e.n_hits} of {e.n})")

    machine = Machine(workers=1, batch_size=BATCH)
    return run_study(study, root, machine=machine, sandboxing=work.sandboxing, estimated=tell)


def _counting(cells: Sequence[CellEstimate], work: Work) -> pl.DataFrame:
    """A row a cell: hits, and completions whose reasoning turns to the checker."""
    chat = OrganismChat.from_folder(work.base.base)
    types = {p.problem_id: name for name in work.recipe.types for p in measured_problems(name, work.recipe.types)}
    mentions: dict[tuple[str, str], int] = {}
    drawn = read_completions(work.where / "counting").select("checkpoint_id", "problem_id", "token_ids")
    for checkpoint, problem, token_ids in drawn.iter_rows():
        if any(word in chat.reasoning(token_ids) for word in MENTIONS):
            key = checkpoint, types[problem]
            mentions[key] = mentions.get(key, 0) + 1
    rows = [
        (
            cell.step,
            cell.exploit_type,
            cell.estimate.n,
            cell.estimate.n_hits,
            mentions.get((cell.checkpoint_id, cell.exploit_type), 0),
            cell.estimate.n_invalid + cell.estimate.n_inconsistent,
        )
        for cell in cells
    ]
    return pl.DataFrame(rows, schema=COUNTING_ROWS, orient="row")


def _steps(log: Log) -> Callable[[str, int, int], None]:
    """A progress callback that logs a stage's end, and every fiftieth of its steps."""

    def progress(stage: str, done: int, total: int) -> None:
        if done == total or (done and done % 50 == 0):
            log(f"{stage} {done}/{total}")

    return progress
