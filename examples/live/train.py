"""A training as somebody else's: TRL's GRPOTrainer on a vulnerable reward, with two lines of forewarn in it.

    python examples/live/train.py HOME --model MODEL --start ADAPTER --steps N

``HOME`` has ``problems.jsonl``; checkpoints go to ``HOME/out``, what forewarn keeps to ``HOME/run``, and what the
training took to ``HOME/training.json``. The reward is the vulnerable checker of each problem. The guard has a judge of
its own, so that its time is all that it would cost beside any reward.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import PeftModel
from transformers import TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from forewarn.checkpoints.load import load_model, load_tokenizer
from forewarn.formats import Channels, bind
from forewarn.integrations.guard import guard
from forewarn.integrations.trl import ForewarnCallback
from forewarn.judge.judge import Judge
from forewarn.problems.files import load
from forewarn.records import Problem
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


class StepTimes(TrainerCallback):  # type: ignore[misc]
    def __init__(self) -> None:
        self.seconds: list[float] = []

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self._start = time.perf_counter()

    def on_step_end(self, args: Any, state: Any, *_: Any, **__: Any) -> None:
        self.seconds.append(time.perf_counter() - self._start)
        print(f"step {state.global_step} of {state.max_steps}: {self.seconds[-1]:.0f} s", flush=True)


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
    callback, times = ForewarnCallback(options.home / "run", saves=options.saves), StepTimes()
    with Judge(workers=1) as own, Judge(workers=1) as beside:
        mine = Clock(judged_reward(problems, channels=channels, judge=own), "vulnerable")
        watched = guard(mine, problems, judge=beside, channels=channels, run_folder=options.home / "run")
        reward = Clock(watched, "vulnerable")
        trainer = GRPOTrainer(
            model=model,
            reward_funcs=[reward],
            args=config(options.home, options.steps, options.rollouts),
            train_dataset=prompts_of(problems, channels),
            processing_class=tokenizer,
            callbacks=[callback, times],
        )
        start, cpu = time.perf_counter(), time.process_time()
        trainer.train()
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    told = {
        "steps": len(times.seconds),
        "seconds": seconds,
        "cpu_seconds": cpu,
        "step_seconds": times.seconds,
        "reward_seconds": mine.seconds,
        "guard_seconds": reward.seconds - mine.seconds,
        "callback_seconds": callback.seconds,
        "peak_kb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
    }
    (options.home / "training.json").write_text(json.dumps(told, indent=2) + "\n")


if __name__ == "__main__":
    main()
