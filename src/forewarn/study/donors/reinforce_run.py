"""One RL training of a donor's seeds: its folder, what makes the folder this training's, and the training of a seed.

Not here: what later seeds know of the earlier, and the weights of what was found (``reinforce.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from forewarn import __version__
from forewarn.checkpoints.receipts import take_receipt
from forewarn.errors import InputError
from forewarn.formats import Channels
from forewarn.records import Policy, content_key
from forewarn.store import RunFolder, write_json
from forewarn.study.config.load import LoadedStudy
from forewarn.study.config.schema import RefinementTable, ReinforcementTable
from forewarn.study.donors.reinforce_models import ReferenceModels
from forewarn.study.folder.manifest import MANIFEST_FILE, check_purpose
from forewarn.study.keys import problem_content
from forewarn.study.stages.judging import Progress, open_judge
from forewarn.training.beta import BetaControl
from forewarn.training.donor_reward import EarlierDonor, donor_reward, learn, read_rollouts
from forewarn.training.settings import LoraSettings, SubjectSettings

if TYPE_CHECKING:
    from forewarn.training.reward import RewardFunction

ROLLOUTS_FILE = "rollouts.jsonl"
SEED_FOLDER = "seed-{}"


@dataclass(frozen=True, slots=True)
class SeedsRun:
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
        from forewarn.training.begin import trained_model
        from forewarn.training.reward import RolloutLog
        from forewarn.training.subject import last_checkpoint, train_by_grpo

        folder = self.folder(number)
        folder.mkdir(parents=True, exist_ok=True)
        last = last_checkpoint(folder)
        if last is not None and last[0] == settings.steps:
            return
        control = BetaControl(band=self.rl.hit_rate, start=self.rl.beta)
        study = self.loaded.study
        with (
            open_judge(self.loaded.sandboxing) as judge,
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
