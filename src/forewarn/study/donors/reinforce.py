"""A donor by RL: several seeds trained through TRL, and the exploits among all their rollouts, weighted by p/q.

Later seeds are paid only for routes that the earlier ones lack. The weights are those of the mixture of the start and
all snapshots, which stand for the policies between them. Rollouts and checkpoints are kept in a folder of their own,
whose manifest says what they are, and a training that was cut off goes on there. Not here: the reward
(``training/donor_reward.py``), fitting the donor (``batch.py``).
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from forewarn import __version__
from forewarn.checkpoints.hub import local_folder
from forewarn.checkpoints.receipts import ADAPTER_WEIGHTS, take_receipt
from forewarn.checkpoints.sources import ModelSource
from forewarn.errors import InputError, need_extra
from forewarn.formats import Channels
from forewarn.judge.judge import Judge
from forewarn.records import SUBJECT, Policy, content_key
from forewarn.store import RunFolder, write_json
from forewarn.study.config.load import LoadedStudy, placed
from forewarn.study.config.schema import DonorTable, RefinementTable, ReinforcementTable
from forewarn.study.donors.reinforce_models import ReferenceModels
from forewarn.study.folder.manifest import MANIFEST_FILE, check_purpose
from forewarn.study.keys import problem_content
from forewarn.study.models import study_channels
from forewarn.study.stages.judging import Progress
from forewarn.training.beta import BetaControl
from forewarn.training.donor_reward import (
    DonorRollout,
    EarlierDonor,
    donor_reward,
    earlier_donor,
    learn,
    read_rollouts,
)
from forewarn.training.refine import WeightedExploit
from forewarn.training.settings import LoraSettings, SubjectSettings

if TYPE_CHECKING:
    from forewarn.training.reward import RewardFunction

ROLLOUTS_FILE = "rollouts.jsonl"
SEED_FOLDER = "seed-{}"
ADAPTER_FILES = ("adapter_config.json", *ADAPTER_WEIGHTS)


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
    start = _start(study.donors, checkpoint, base, where)
    root = run_folder or Path("runs") / re.sub(r"[^\w.-]+", "-", study.name)
    run = _Run(loaded, base, start, study_channels(study), root, table, table.rl)
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


def _start(donors: Sequence[ModelSource], checkpoint: ModelSource, base: Path, where: str) -> Path | None:
    """The adapter that every seed starts from; None: a fresh one."""
    source = donors[0] if donors else checkpoint
    named = repr(source.model_id) if donors else f"{SUBJECT!r}, the checkpoint {source.model_id},"
    if Path(source.folder).resolve() != base.resolve():
        raise InputError(f"{where}.start = {named} is on {source.folder} and not on the donor's base {base}")
    if donors and source.adapter is None:
        raise InputError(f"{where}.start = {named} is a whole model: give a donor that is an adapter on {base}")
    return None if source.adapter is None else Path(source.adapter)


@dataclass(frozen=True, slots=True)
class _Run:
    """One training of all seeds, and its folder."""

    loaded: LoadedStudy
    base: Path
    start: Path | None
    channels: Channels
    root: Path
    table: RefinementTable
    rl: ReinforcementTable

    @property
    def policy(self) -> Policy:
        return self.loaded.study.policy

    @property
    def prompts(self) -> dict[str, tuple[int, ...]]:
        """By problem id."""
        return {p.problem_id: self.channels.prompt_ids(p.question) for p in self.loaded.study.problems}

    def folder(self, number: int) -> Path:
        return self.root / SEED_FOLDER.format(number)

    def snapshots(self, number: int) -> list[Path]:
        """The checkpoints of a seed, in order."""
        return [self.folder(number) / f"checkpoint-{step}" for step in self.steps]

    def last(self, number: int) -> Path:
        return self.snapshots(number)[-1]

    @property
    def steps(self) -> tuple[int, ...]:
        """Steps whose weights are kept, evenly spaced."""
        n, steps = min(self.rl.snapshots, self.rl.steps), self.rl.steps
        return tuple(round(steps * (i + 1) / n) for i in range(n))

    def settings(self, number: int, where: str) -> SubjectSettings:
        from forewarn.training.subject import check_settings

        rl, table = self.rl, self.table
        try:
            made = SubjectSettings(
                method="grpo",
                steps=rl.steps,
                checkpoints=self.steps,
                learning_rate=rl.learning_rate,
                lora=LoraSettings(table.rank, table.alpha, table.target_modules),
                seed=(table.seed + number) % 2**32,
                batch_size=rl.batch_size,
                micro_batch=rl.micro_batch or rl.batch_size,
                group=rl.group,
                gradient_checkpointing=rl.gradient_checkpointing,
            )
            check_settings(made, len(self.loaded.study.problems))
        except InputError as error:
            raise InputError(f"{where}: {error}") from None
        return made

    def claim(self) -> None:
        """Take the folder for this training, or find that it is this training's. Raises StoreError otherwise."""
        check_purpose(self.root, "rl")
        study, start, [checkpoint] = self.loaded.study, self.start, self.loaded.study.checkpoints
        packages = ("trl", "transformers", "peft", "torch")
        RunFolder(self.root).claim(
            {
                "kind": "donor by RL",
                "name": study.name,
                "rl": self.rl.model_dump(mode="json", exclude={"start"}),
                "lora": (self.table.rank, self.table.alpha, self.table.target_modules, self.table.seed),
                "start": take_receipt(str(self.base), None if start is None else str(start)).key,
                "checkpoint": take_receipt(checkpoint.folder, checkpoint.adapter).key,
                "problems": content_key(list(map(problem_content, study.problems))),
                "policy": study.policy.key,
                "format": (study.format_key, study.system, study.dtype, study.code_rule.key),
                "code": {"forewarn": __version__} | {name: version(name) for name in packages},
            }
        )
        write_json(self.root / MANIFEST_FILE, {"purpose": "rl", "study": study.name, "seed": study.seed})

    def train(
        self,
        number: int,
        settings: SubjectSettings,
        models: ReferenceModels,
        earlier: Sequence[EarlierDonor],
        progress: Progress,
    ) -> None:
        """Train a seed, or go on with it; one that is finished is left alone."""
        from forewarn.training.reward import RolloutLog
        from forewarn.training.subject import last_checkpoint, train_by_grpo, trained_model

        folder = self.folder(number)
        folder.mkdir(parents=True, exist_ok=True)
        last = last_checkpoint(folder)
        if last is not None and last[0] == settings.steps:
            return
        control = BetaControl(band=self.rl.hit_rate, start=self.rl.beta)
        sandbox, study = self.loaded.sandboxing, self.loaded.study
        with (
            Judge(
                workers=sandbox.workers,
                level=sandbox.level,
                timeout_s=sandbox.timeout_s,
                types=sandbox.types,
                unreadable=sandbox.unreadable,
            ) as judge,
            closing(RolloutLog(folder / ROLLOUTS_FILE, done_steps=0 if last is None else last[0])) as log,
        ):
            if (folder / ROLLOUTS_FILE).exists():
                learn(control, read_rollouts(folder / ROLLOUTS_FILE))
            model = trained_model(self.base, self.start, settings, device=self.loaded.machine.device)
            reward: RewardFunction = donor_reward(
                study.problems,
                channels=self.channels,
                judge=judge,
                own=models.module(model),
                subject=models.subject,
                control=control,
                earlier=earlier,
                log=log,
            )
            train_by_grpo(
                model,
                study.problems,
                reward,
                folder,
                settings,
                channels=self.channels,
                policy=study.policy,
                unscaled=True,
                progress=lambda done, total: progress(f"{study.name}: seed {number}", done, total),
            )


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


def _weighted(rollouts: Sequence[DonorRollout], run: _Run, models: ReferenceModels) -> list[WeightedExploit]:
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
        kept = folder / SEED_FOLDER.format(result.number)
        kept.mkdir()
        for name in ADAPTER_FILES:
            if (adapter / name).is_file():
                shutil.copyfile(adapter / name, kept / name)
