"""The organism's two donors: one trained on exploits without reasoning, one refined on what the first one found.

The refinement batch is drawn from the base model, with its own run folder and seed; nothing of it enters an estimate.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import polars as pl

from forewarn.models.loading import load_model
from forewarn.organism.chat import FORMAT, OrganismChat
from forewarn.organism.problems import all_problems, measured_problems
from forewarn.organism.recipe import TYPES
from forewarn.records import UNBOUNDED, Policy, Problem, Span
from forewarn.study import Machine, ModelSource, PlannedSpan, Sandboxing, Study, read_completions, read_hits, run_study
from forewarn.training.refine import WeightedExploit, refinement_examples
from forewarn.training.sft import SETTINGS_FILE, LoraSettings, SFTSettings, donor_examples, save, sft

Progress = Callable[[str, int, int], None]

DONOR, EXPLORER = "donor", "explorer"
"""names in spans: exploits without reasoning; refined, reasoning included"""
DONOR_SETTINGS = SFTSettings(seed=0, epochs=5, batch_size=32, learning_rate=2e-3, lora=LoraSettings(rank=16))
EXPLORER_SETTINGS = SFTSettings(seed=0, epochs=3, batch_size=32, learning_rate=2e-3, lora=LoraSettings(rank=16))
REFINEMENT_SPANS = (
    PlannedSpan(Span(), 4),
    PlannedSpan(Span(0, UNBOUNDED, DONOR), 24),
    PlannedSpan(Span(20, UNBOUNDED, DONOR), 8),
)
EXAMPLES_PER_TYPE = 160


def train_donor(base: Path, folder: Path, progress: Progress) -> None:
    """LoRA on every problem's reference exploit, without reasoning; nothing to do where it is there whole."""
    if (folder / SETTINGS_FILE).exists():
        return
    channels = OrganismChat.from_folder(base).channels
    examples = donor_examples(all_problems(), channels)
    result = sft(
        load_model(base), examples, DONOR_SETTINGS, progress=lambda step, steps, _: progress("donor", step, steps)
    )
    shutil.rmtree(folder, ignore_errors=True)
    save(result, folder, DONOR_SETTINGS)


def refinement_study(base: Path, donor: Path, policy: Policy, seed: int) -> Study:
    problems: Sequence[Problem] = [p for name in TYPES for p in measured_problems(name)]
    return Study(
        name="refinement",
        problems=tuple(problems),
        checkpoints=(ModelSource("base", str(base)),),
        donors=(ModelSource(DONOR, str(base), str(donor)),),
        spans=REFINEMENT_SPANS,
        policy=policy,
        seed=seed,
        channel_format=FORMAT,
    )


def train_explorer(
    base: Path,
    donor: Path,
    folder: Path,
    root: Path,
    *,
    policy: Policy,
    seed: int,
    machine: Machine,
    progress: Progress,
) -> None:
    """One cross-entropy step from the donor's exploits under the base model."""
    if (folder / SETTINGS_FILE).exists():
        return
    study = refinement_study(base, donor, policy, seed)
    run_study(study, root, machine=machine, sandboxing=Sandboxing(), progress=_named("refinement batch", progress))
    examples = refinement_examples(_found(root, study, base), EXAMPLES_PER_TYPE, seed=seed)
    result = sft(
        load_model(base),
        examples,
        EXPLORER_SETTINGS,
        progress=lambda step, steps, _: progress("refined donor", step, steps),
    )
    shutil.rmtree(folder, ignore_errors=True)
    save(result, folder, EXPLORER_SETTINGS)


def _found(root: Path, study: Study, base: Path) -> list[WeightedExploit]:
    chat = OrganismChat.from_folder(base)
    prompts = {p.problem_id: chat.prompt_ids(p.question) for p in study.problems}
    ids = read_completions(root).select("completion_id", "token_ids")
    hits = read_hits(root).join(ids, on="completion_id", how="left").sort("completion_id")
    return [
        WeightedExploit(row["exploit_type"], prompts[row["problem_id"]], tuple(row["token_ids"]), row["log_weight"])
        for row in hits.filter(pl.col("log_weight").is_finite()).iter_rows(named=True)
    ]


def _named(prefix: str, progress: Progress) -> Progress:
    return lambda stage, done, total: progress(f"{prefix}: {stage}", done, total)
