"""``forewarn train-subject``: the subject that a study's file describes, trained through TRL."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from forewarn.cli.progress import progress_bars
from forewarn.cli.say import say


def train_subject(
    study: Annotated[Path, typer.Argument(help="A study's TOML file with a [subject_training] table.")],
) -> None:
    """Train the subject that a study's file describes, by SFT or by GRPO on the judged reward, as a LoRA on its base.

    Checkpoints are kept at the steps that the file lists; a run that was cut off goes on from the last of them.
    """
    from forewarn.study.subject.train import ROLLOUTS_FILE, train_subject

    with progress_bars() as progress:
        trained = train_subject(study, progress=progress)
    kept = ", ".join(map(str, trained.checkpoints))
    if trained.was_there:
        say(f"subject: is there already, in {trained.folder}")
    else:
        say(f"subject: {trained.steps} steps, checkpoints at {kept}; in {trained.folder}")
    if (trained.folder / ROLLOUTS_FILE).exists():
        say(f"Rollouts: {trained.folder / ROLLOUTS_FILE}")
