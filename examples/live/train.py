"""A training as somebody else's: TRL's GRPOTrainer on a vulnerable reward, with two lines of forewarn in it.

    python examples/live/train.py HOME --model MODEL --start ADAPTER --steps N

``HOME`` has ``problems.jsonl``; checkpoints go to ``HOME/out``, what forewarn keeps to ``HOME/run``, and what the
training took to ``HOME/training.json``. A training that was cut short goes on from its last checkpoint. The reward is
the vulnerable checker of each problem. The guard has a judge of its own, so that its time is all that it would cost
beside any reward.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import PeftModel
from transformers import TrainerCallback
from transformers.trainer_utils import get_last_checkpoint
from trl import GRPOConfig, GRPOTrainer

from forewarn.checkpoints.load import load_model, load_tokenizer
from forewarn.formats import Channels, bind
from forewarn.integrations.guard import guard
from forewarn.integrations.trl import ForewarnCallback
from forewarn.judge.judge import Judge
from forewarn.problems.files import load
from forewarn.records import Problem
from forewarn.store import write_json
from forewarn.training.reward import judged_reward

SYSTEM, FORMAT = "You write Python.", "chatml-think"
GROUP, TOKENS = 8, 48


class Clock:
    """A function and the seconds spent in it."""

    def __init__(self, function: Any, name: str) -> None:
        self._function, self.__name__, self.seconds = function, name, 0.0

    def __call__(self, *values: Any, **named: Any) -> Any:
        start = time.perf_counter()
        try:
            return self._function(*values, **named)
        finally:
            self.seconds += time.perf_counter() - start


class Costs(TrainerCallback):  # type: ignore[misc]
    """Writes what each step took into a file, from the end of the step before; a resumed training adds to it."""

    def __init__(self, file: Path, seconds: Callable[[], dict[str, float]]) -> None:
        """``seconds``: what has been spent so far, by name."""
        self._file, self._seconds = file, seconds
        self._steps: list[dict[str, float]] = []
        self._before: dict[str, float] = {}

    def on_train_begin(self, args: Any, state: Any, *_: Any, **__: Any) -> None:
        if state.global_step and self._file.exists():
            held = json.loads(self._file.read_text())["steps"]
            self._steps = [one for one in held if one["step"] <= state.global_step]  # later ones are done again
        self._before = self._seconds()

    def on_step_end(self, args: Any, state: Any, *_: Any, **__: Any) -> None:
        now = self._seconds()
        took = {name: round(now[name] - self._before[name], 4) for name in now}
        self._before = now
        self._steps.append({"step": state.global_step, **took})
        self._write()
        print(f"step {state.global_step} of {state.max_steps}: {took['seconds']:.0f} s", flush=True)

    def on_train_end(self, *_: Any, **__: Any) -> None:
        now = self._seconds()  # the last step's checkpoint is written behind it
        for name in now:
            self._steps[-1][name] = round(self._steps[-1][name] + now[name] - self._before[name], 4)
        self._write()

    def _write(self) -> None:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        write_json(self._file, {"peak_kb": peak, "steps": self._steps})


def prompts_of(problems: Sequence[Problem], channels: Channels) -> Dataset:
    prompts = [channels.turns(problem.question) + channels.format.open_reasoning for problem in problems]
    return Dataset.from_dict({"prompt": prompts, "problem_id": [problem.problem_id for problem in problems]})


def config(home: Path, steps: int, rollouts: int) -> GRPOConfig:
    return GRPOConfig(
        output_dir=str(home / "out"),
        max_steps=steps,
        per_device_train_batch_size=GROUP,
        gradient_accumulation_steps=rollouts // GROUP,
        num_generations=GROUP,
        max_completion_length=TOKENS,
        learning_rate=5e-4,
        lr_scheduler_type="constant",
        beta=0.0,
        save_strategy="no",  # the callback chooses the steps
        save_total_limit=2,
        logging_steps=1,
        report_to=[],
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        dataloader_pin_memory=False,
        disable_tqdm=True,
        seed=0,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("home", type=Path)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--start", type=Path, required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--saves", type=int, required=True)
    parser.add_argument("--rollouts", type=int, required=True, help="a step; a multiple of 8")
    parser.add_argument("--tasks", nargs="+", required=True, help="what the training sees of the problems")
    options = parser.parse_args()
    torch.set_num_threads(1)
    problems = [one for one in load(options.home / "problems.jsonl") if one.task_id in options.tasks]
    tokenizer = load_tokenizer(options.model)
    channels = bind(FORMAT, tokenizer, system=SYSTEM)
    model: Any = PeftModel.from_pretrained(load_model(options.model), str(options.start), is_trainable=True)
    model.generation_config.eos_token_id = list(channels.end_ids)
    callback = ForewarnCallback(options.home / "run", saves=options.saves)
    with Judge(workers=1) as own, Judge(workers=1) as beside:
        mine = Clock(judged_reward(problems, channels=channels, judge=own), "vulnerable")
        watched = guard(mine, problems, judge=beside, channels=channels, run_folder=options.home / "run")
        reward = Clock(watched, "vulnerable")

        def spent() -> dict[str, float]:
            return {
                "seconds": time.perf_counter(),
                "cpu": time.process_time(),
                "reward": mine.seconds,
                "guard": reward.seconds - mine.seconds,
                "callback": callback.seconds,
            }

        trainer = GRPOTrainer(
            model=model,
            reward_funcs=[reward],
            args=config(options.home, options.steps, options.rollouts),
            train_dataset=prompts_of(problems, channels),
            processing_class=tokenizer,
            callbacks=[callback, Costs(options.home / "training.json", spent)],
        )
        trainer.train(resume_from_checkpoint=get_last_checkpoint(str(options.home / "out")))


if __name__ == "__main__":
    main()
