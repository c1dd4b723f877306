"""A subject trained through TRL, supervised or by GRPO on the judged reward, with checkpoints at chosen steps.

Checkpoints are TRL's own (``checkpoint-N``: a PEFT adapter, optimizer, random state, ``trainer_state.json`` last), so
that a run that was killed goes on from the last whole one. Not here: the reward (``reward.py``), a study's file
(``study``), GRPO without TRL (``grpo.py``).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from forewarn.checkpoints.layouts.trl import TRL, state_step
from forewarn.checkpoints.load import no_progress_bars
from forewarn.errors import InputError, ModelError, StoreError, need_extra
from forewarn.formats import Channels
from forewarn.records import Policy, Problem
from forewarn.training.reward import RewardFunction
from forewarn.training.settings import SubjectSettings
from forewarn.training.sft import Example

Progress = Callable[[int, int], None]
"""(steps done, steps in all)"""


def train_by_sft(
    model: Any,
    examples: Sequence[Example],
    folder: Path,
    settings: SubjectSettings,
    *,
    channels: Channels,
    progress: Progress | None = None,
) -> None:
    """TRL's SFTTrainer on (prompt ids, target ids), loss on the targets alone. Goes on where ``folder`` was left."""
    need_extra("trl", "train")
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    data = Dataset.from_dict(
        {
            "input_ids": [[*prompt, *target] for prompt, target in examples],
            "labels": [[-100] * len(prompt) + list(target) for prompt, target in examples],
        }
    )
    arguments = SFTConfig(
        **_arguments(folder, settings, model),
        max_length=None,
        dataset_kwargs={"skip_prepare_dataset": True},  # ids are the truth: nothing is encoded again
    )
    trainer = SFTTrainer(
        model=model,
        args=arguments,
        train_dataset=data,
        processing_class=_tokenizer(channels, model),
        callbacks=[_SaveAt(settings.checkpoints), _Tell(progress)],
    )
    _train(trainer, folder)


def train_by_grpo(
    model: Any,
    problems: Sequence[Problem],
    reward: RewardFunction,
    folder: Path,
    settings: SubjectSettings,
    *,
    channels: Channels,
    policy: Policy,
    unscaled: bool = False,
    progress: Progress | None = None,
) -> None:
    """TRL's GRPOTrainer on the problems' questions, rewarded by ``reward``. Goes on where ``folder`` was left.

    Sampled as ``policy`` says, without a KL term. ``unscaled``: advantages are rewards less their group's mean, not
    divided by a standard deviation or by an answer's length, as a reward with a meaning of its own needs it. Raises
    ModelError where the tokenizer, called as TRL calls it, gives other ids than the format's prompts.
    """
    need_extra("trl", "train")
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    prompts = [channels.turns(problem.question) + channels.format.open_reasoning for problem in problems]
    tokenizer = _tokenizer(channels, model)
    for problem, prompt in zip(problems, prompts, strict=True):
        if tuple(tokenizer(text=[prompt])["input_ids"][0]) != channels.prompt_ids(problem.question):
            raise ModelError(
                f"the tokenizer adds tokens of its own to the prompt of problem {problem.problem_id}, so that TRL "
                "would train on other prompts than a study measures: turn that off in its tokenizer_config.json"
            )
    arguments = GRPOConfig(
        **_arguments(folder, settings, model),
        num_generations=settings.group,
        max_completion_length=policy.max_total_tokens,
        temperature=policy.temperature,
        top_p=policy.top_p,
        top_k=policy.top_k,
        min_p=policy.min_p or None,
        beta=0.0,
        **({"scale_rewards": "none", "loss_type": "dr_grpo"} if unscaled else {}),
    )
    trainer = GRPOTrainer(
        model=model,
        reward_funcs=[reward],
        args=arguments,
        train_dataset=Dataset.from_dict({"prompt": prompts, "problem_id": [p.problem_id for p in problems]}),
        processing_class=tokenizer,
        callbacks=[_SaveAt(settings.checkpoints), _Tell(progress)],
    )
    _train(trainer, folder)


def last_checkpoint(folder: Path) -> tuple[int, Path] | None:
    """Step and folder of the last checkpoint that was written to its end; None where there is none."""
    whole = [(step, path) for step, path in _checkpoints(folder) if state_step(path) is not None]
    return max(whole, default=None)


def drop_cut_short(folder: Path) -> None:
    """Remove checkpoints that a kill cut short: those behind the last whole one."""
    for _, path in _checkpoints(folder):
        if state_step(path) is None:
            shutil.rmtree(path)


def _checkpoints(folder: Path) -> Iterator[tuple[int, Path]]:
    for path in folder.glob("checkpoint-*"):
        if (named := TRL.pattern.fullmatch(path.name)) and path.is_dir():
            yield int(named["step"]), path


def _arguments(folder: Path, settings: SubjectSettings, model: Any) -> dict[str, Any]:
    """What both trainers are told."""
    return {
        "output_dir": str(folder),
        "max_steps": settings.steps,
        "per_device_train_batch_size": settings.micro_batch,
        "gradient_accumulation_steps": settings.batch_size // settings.micro_batch,
        "learning_rate": settings.learning_rate,
        "lr_scheduler_type": settings.schedule,
        "warmup_steps": settings.warmup_steps,
        "weight_decay": settings.weight_decay,
        "max_grad_norm": settings.max_grad_norm,
        "seed": settings.seed,
        "tf32": settings.tf32 or None,
        "bf16": False,
        "fp16": False,
        "gradient_checkpointing": settings.gradient_checkpointing,
        "save_strategy": "no",  # the steps are chosen by a callback
        "logging_steps": 1,
        "report_to": [],
        "disable_tqdm": True,
        "use_cpu": model.device.type == "cpu",
        "dataloader_pin_memory": model.device.type != "cpu",
    }


def _tokenizer(channels: Channels, model: Any) -> Any:
    """The tokenizer as TRL uses it: its end token is the format's, and the model ends its turn with the format's."""
    tokenizer = channels.tokenizer
    if tokenizer.eos_token_id not in channels.end_ids:
        tokenizer.eos_token = tokenizer.convert_ids_to_tokens(channels.end_ids[0])
    model.generation_config.eos_token_id = list(channels.end_ids)
    return tokenizer


def _train(trainer: Any, folder: Path) -> None:
    from transformers import PrinterCallback

    trainer.remove_callback(PrinterCallback)
    drop_cut_short(folder)
    last = last_checkpoint(folder)
    with _full_disk(folder), no_progress_bars():
        trainer.train(resume_from_checkpoint=None if last is None else str(last[1]))
    if not all(bool(p.isfinite().all()) for p in trainer.model.parameters() if p.requires_grad):
        raise ModelError("the weights are no longer finite after the last step; give a lower learning rate")


@contextmanager
def _full_disk(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"can't write {folder}: {error.strerror or error}; free some space, and run the same command again"
        ) from None


class _SaveAt(TrainerCallback):  # type: ignore[misc]
    """Saves at the given steps, whatever the trainer's own strategy is."""

    def __init__(self, steps: Sequence[int]) -> None:
        self._steps = frozenset(steps)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: object) -> Any:
        control.should_save = state.global_step in self._steps
        return control


class _Tell(TrainerCallback):  # type: ignore[misc]
    """Progress, a step at a time."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress

    def on_step_end(self, args: Any, state: Any, control: Any, **_: object) -> Any:
        if self._progress is not None:
            self._progress(state.global_step, state.max_steps)
        return control


def check_settings(settings: SubjectSettings, n_examples: int) -> None:
    """Raise InputError for settings that no batch can be made of."""
    if settings.method == "grpo":
        prompts = settings.batch_size // settings.group
        if prompts > n_examples:
            raise InputError(
                f"a step of batch_size = {settings.batch_size} with group = {settings.group} takes {prompts} problems, "
                f"but there are {n_examples}: give a smaller batch_size or a larger group"
            )
