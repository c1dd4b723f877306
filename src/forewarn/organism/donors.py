"""The organism's donors: one trained on exploits without reasoning, and two rounds of refinement on what it found.

The refinement batches are drawn for the base model, with run folders and seeds of their own; nothing of them enters an
estimate.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from forewarn.checkpoints.load import load_model
from forewarn.organism.chat import FORMAT, OrganismChat
from forewarn.organism.corpus import Types
from forewarn.organism.problems import all_problems, measured_problems
from forewarn.organism.recipe import TYPES
from forewarn.records import SUBJECT, UNBOUNDED, Policy, Span, derived_seed
from forewarn.study import Machine, ModelSource, PlannedSpan, Sandboxing, Study
from forewarn.study.donors.batch import draw_exploits, fit_donor
from forewarn.training.settings import LoraSettings, SFTSettings
from forewarn.training.sft import SETTINGS_FILE, donor_examples, save, sft

Progress = Callable[[str, int, int], None]

DONOR, SCOUT, EXPLORER = "donor", "scout", "explorer"
"""names in spans: exploits without reasoning; refined once; refined twice, reasoning included"""


@dataclass(frozen=True, slots=True)
class Round:
    """One cross-entropy step: draw a batch with the donors so far, fit a new one to what it found."""

    donor: str
    """the donor it makes"""
    spans: tuple[PlannedSpan, ...]
    """of the batch; counts are completions of each problem"""
    examples_per_type: int
    max_share: float
    """most of a type's examples that one exploit may make up: large where few are found"""
    settings: SFTSettings


def donor_settings(epochs: float) -> SFTSettings:
    """How every donor of the organism is trained, the number of epochs aside."""
    return SFTSettings(seed=0, epochs=epochs, batch_size=32, learning_rate=2e-3, lora=LoraSettings(rank=16))


DONOR_SETTINGS = donor_settings(5)
ROUNDS = (
    Round(
        SCOUT,
        (PlannedSpan(Span(), 2), PlannedSpan(Span(0, UNBOUNDED, DONOR), 22)),
        examples_per_type=96,
        max_share=0.34,
        settings=donor_settings(2),
    ),
    Round(
        EXPLORER,
        (
            PlannedSpan(Span(), 2),
            PlannedSpan(Span(0, UNBOUNDED, DONOR), 4),
            PlannedSpan(Span(UNBOUNDED, UNBOUNDED, SCOUT), 18),
        ),
        examples_per_type=128,
        max_share=0.1,
        settings=donor_settings(3),
    ),
)
"""The first round finds few announced exploits and learns to look; the second sees enough of them to weigh them"""


def train_donor(base: Path, folder: Path, progress: Progress, types: Types = TYPES, seed: int = 0) -> None:
    """LoRA on every problem's reference exploit, without reasoning; nothing to do where it is there whole."""
    if (folder / SETTINGS_FILE).exists():
        return
    channels = OrganismChat.from_folder(base).channels
    examples = donor_examples(all_problems(types), channels)
    settings = replace(DONOR_SETTINGS, seed=seed)
    result = sft(load_model(base), examples, settings, progress=_steps("donor", progress))
    shutil.rmtree(folder, ignore_errors=True)
    save(result, folder, settings)


def train_explorers(
    base: Path,
    donors: Path,
    batches: Path,
    *,
    policy: Policy,
    seed: int,
    machine: Machine,
    sandboxing: Sandboxing,
    progress: Progress,
    types: Types = TYPES,
    rounds: Sequence[Round] = ROUNDS,
) -> None:
    """Every refinement round, into ``donors``; a round whose donor is there whole is left alone."""
    for number, stage in enumerate(rounds, 1):
        folder = donors / stage.donor
        if (folder / SETTINGS_FILE).exists():
            continue
        exploits = draw_exploits(
            _batch(base, donors, stage, policy, seed, types),
            batches / stage.donor,
            machine=machine,
            sandboxing=sandboxing,
            progress=_named(f"round {number}", progress),
        )
        shutil.rmtree(folder, ignore_errors=True)
        fit_donor(
            base,
            exploits,
            folder,
            replace(stage.settings, seed=seed),
            examples_per_type=stage.examples_per_type,
            max_share=stage.max_share,
            seed=seed,
            progress=progress,
            stage=f"refined donor, round {number}",
            note_base=False,
        )


def _batch(base: Path, donors: Path, stage: Round, policy: Policy, seed: int, types: Types) -> Study:
    names = sorted({planned.span.donor for planned in stage.spans} - {SUBJECT})
    return Study(
        name=f"refinement-{stage.donor}",
        problems=tuple(p for name in types for p in measured_problems(name, types)),
        checkpoints=(ModelSource("base", str(base)),),
        donors=tuple(ModelSource(name, str(base), str(donors / name)) for name in names),
        spans=stage.spans,
        policy=policy,
        seed=derived_seed("refinement", seed, stage.donor),
        channel_format=FORMAT,
    )


def _named(prefix: str, progress: Progress) -> Progress:
    return lambda stage, done, total: progress(f"{prefix}: {stage}", done, total)


def _steps(stage: str, progress: Progress) -> Callable[[int, int, float], None]:
    return lambda step, steps, _: progress(stage, step, steps)
