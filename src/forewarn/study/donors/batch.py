"""A refinement batch: exploits drawn with the donors so far, weighted by p/q, and the donor that is fitted to them.

The batch has a run folder and a seed of its own, and its manifest says what it is: nothing of it enters an estimate.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from forewarn.checkpoints.load import load_model
from forewarn.study.folder.cells import read_completions
from forewarn.study.models import Machine, study_channels
from forewarn.study.plan import Study
from forewarn.study.results.estimates import read_hits
from forewarn.study.stages.judging import Progress, Sandboxing
from forewarn.study.stages.run import run_study
from forewarn.training.begin import going_on
from forewarn.training.refine import WeightedExploit, refinement_examples
from forewarn.training.settings import SFTSettings
from forewarn.training.sft import SFTResult, save, sft


def draw_exploits(
    study: Study, root: Path, *, machine: Machine, sandboxing: Sandboxing, progress: Progress
) -> list[WeightedExploit]:
    """Draw what is missing of a batch into ``root``; returns its exploits, weighted by p/q."""
    run_study(study, root, machine=machine, sandboxing=sandboxing, progress=progress, purpose="refinement")
    return weighted_exploits(root, study)


def weighted_exploits(root: Path, study: Study) -> list[WeightedExploit]:
    """The exploits of a finished batch in ``root``, weighted by p/q."""
    channels = study_channels(study)
    prompts = {p.problem_id: channels.prompt_ids(p.question) for p in study.problems}
    ids = read_completions(root).select("completion_id", "token_ids")
    hits = read_hits(root).join(ids, on="completion_id", how="left").sort("completion_id")
    return [
        WeightedExploit(row["exploit_type"], prompts[row["problem_id"]], tuple(row["token_ids"]), row["log_weight"])
        for row in hits.filter(pl.col("log_weight").is_finite()).iter_rows(named=True)
    ]


def fit_donor(
    base: Path,
    exploits: Sequence[WeightedExploit],
    folder: Path,
    settings: SFTSettings,
    *,
    examples_per_type: int,
    max_share: float,
    seed: int,
    progress: Progress,
    stage: str,
    device: str = "cpu",
    note_base: bool = True,
    start: Path | None = None,
) -> SFTResult:
    """Train a donor on ``base`` by weighted exploits, reasoning included, and save it in ``folder``.

    ``seed``: of the choice of examples. ``note_base``: whether a hash of the base's weights is saved with the donor.
    ``start``: an adapter on the base to go on from, with settings whose ``lora`` is None; else a fresh one is trained.
    Raises InputError without any exploit of weight above 0.
    """
    examples = refinement_examples(exploits, examples_per_type, max_share=max_share, seed=seed)
    model = load_model(base, device=device)
    result = sft(
        model if start is None else going_on(model, start),
        examples,
        settings,
        progress=lambda step, steps, _: progress(stage, step, steps),
    )
    save(result, folder, settings, base=base if note_base else None)
    return result
