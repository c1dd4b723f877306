"""A donor by RL: several seeds trained through TRL, and the exploits among all their rollouts, weighted by p/q.

Later seeds are paid only for routes that the earlier ones lack. The weights are those of the mixture of the start and
all snapshots, which stand for the policies between them. Rollouts and checkpoints are kept in a folder of their own,
whose manifest says what they are, and a training that was cut off goes on there. Not here: the reward
(``training/donor_reward.py``), fitting the donor (``batch.py``).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from forewarn.checkpoints.hub import local_folder
from forewarn.errors import InputError, need_extra
from forewarn.study.config.load import LoadedStudy, placed
from forewarn.study.config.schema import DonorTable, RefinementTable
from forewarn.study.donors.batch_plan import start_adapter
from forewarn.study.donors.folder import copy_adapter
from forewarn.study.donors.reinforce_models import ReferenceModels
from forewarn.study.donors.reinforce_run import ROLLOUTS_FILE, SEED_FOLDER, SeedsRun
from forewarn.study.models import study_channels
from forewarn.study.stages.judging import Progress
from forewarn.training.beta import BetaControl
from forewarn.training.donor_reward import (
    DonorRollout,
    EarlierDonor,
    earlier_donor,
    read_rollouts,
)
from forewarn.training.refine import WeightedExploit

if TYPE_CHECKING:
    pass


@dataclass(frozen=True, slots=True)
class SeedResult:
    """What came of one seed."""

    number: int
    """from 1"""
    n_rollouts: int
    n_hits: int
    """exploits among them, on whatever route"""
    n_paid: int
    """those on a route that the earlier seeds lack"""
    hit_rate: float | None
    """paid, in the last quarter of its steps; None where nothing could be judged"""
    beta: float
    """median over the last quarter of its steps"""


@dataclass(frozen=True, slots=True)
class Reinforcement:
    """The exploits of all seeds, and their donors."""

    exploits: tuple[WeightedExploit, ...]
    seeds: tuple[SeedResult, ...]
    adapters: tuple[Path, ...]
    """each seed's last checkpoint"""


def reinforce(
    loaded: LoadedStudy,
    donor: DonorTable,
    table: RefinementTable,
    run_folder: Path | None,
    *,
    home: Path,
    where: str,
    progress: Progress,
) -> Reinforcement:
    """Train what is missing of all seeds. ``loaded``: the problems, the reference checkpoint and the start.

    Raises InputError for a start that is no adapter on the donor's base, and for settings that no batch can be made of.
    """
    need_extra("trl", "train")
    need_extra("datasets", "train")
    assert table.rl is not None
    assert donor.base is not None
    study, where = loaded.study, f"{where}: refinement.rl"
    base, [checkpoint] = local_folder(placed(donor.base, home)), study.checkpoints
    start = start_adapter(study.donors, checkpoint, base, where)
    root = run_folder or Path("runs") / re.sub(r"[^\w.-]+", "-", study.name)
    run = SeedsRun(loaded, base, start, study_channels(study), root, table, table.rl)
    settings = [run.settings(number, where) for number in range(1, table.rl.seeds + 1)]
    BetaControl(band=table.rl.hit_rate, start=table.rl.beta)  # refuses what can't be meant
    run.claim()
    models = ReferenceModels(base, checkpoint, study.policy, dtype=study.dtype, machine=loaded.machine)
    earlier: list[EarlierDonor] = []
    results, rollouts = [], []
    for number, chosen in enumerate(settings, 1):
        run.train(number, chosen, models, earlier, progress)
        own = read_rollouts(run.folder(number) / ROLLOUTS_FILE)
        rollouts += own
        results.append(_result(number, own, table.rl.steps))
        earlier.append(earlier_donor(models.adapter(run.last(number)), own, table.rl.steps, run.prompts))
    exploits = _weighted(rollouts, run, models)
    return Reinforcement(tuple(exploits), tuple(results), tuple(map(run.last, range(1, len(settings) + 1))))


def _result(number: int, rollouts: Sequence[DonorRollout], steps: int) -> SeedResult:
    last = [one for one in rollouts if one.step >= 0.75 * steps]
    judged = [one.paid for one in last if one.paid is not None]
    return SeedResult(
        number,
        len(rollouts),
        sum(one.label == "exploit" for one in rollouts),
        sum(one.paid is True for one in rollouts),
        sum(judged) / len(judged) if judged else None,
        float(np.median([one.beta for one in last])),
    )


def _weighted(rollouts: Sequence[DonorRollout], run: SeedsRun, models: ReferenceModels) -> list[WeightedExploit]:
    """The hits among all rollouts, weighted by p/q: q the mixture, in equal parts, of the start and all snapshots."""
    hits = [one for one in rollouts if one.is_hit]
    if not hits:
        raise InputError(
            f"none of the {len(rollouts)} rollouts in {run.root} is an exploit, so no donor can be fitted: start at a "
            "donor that exploits, or draw more"
        )
    prompts = run.prompts
    distinct = list(dict.fromkeys((one.problem_id, one.token_ids) for one in hits))
    asked, written = [prompts[name] for name, _ in distinct], [ids for _, ids in distinct]
    policies = [models.start(run.start)] + [
        models.adapter(path) for number in range(1, run.rl.seeds + 1) for path in run.snapshots(number)
    ]
    log_q_KD = np.array([policy(asked, written) for policy in policies])
    mixed = np.logaddexp.reduce(log_q_KD, axis=0) - np.log(len(policies))
    log_q = dict(zip(distinct, mixed.tolist(), strict=True))
    return [
        WeightedExploit(
            one.exploit_type,
            prompts[one.problem_id],
            one.token_ids,
            one.log_p - log_q[one.problem_id, one.token_ids],
        )
        for one in hits
        if one.log_p is not None  # so it is, of a hit
    ]


def keep_seeds(made: Reinforcement, folder: Path) -> None:
    """Put each seed's adapter into a folder in ``folder``, so that it can be a donor of its own."""
    for result, adapter in zip(made.seeds, made.adapters, strict=True):
        copy_adapter(adapter, folder / SEED_FOLDER.format(result.number))
