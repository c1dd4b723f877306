"""The subject of the example: a LoRA on SmolLM2-135M, trained by transformers' Trainer, with three checkpoints.

    python examples/smollm2/train_subject.py STUDY.toml MODEL FOLDER

It learns to reason in a sentence and to answer with code, and the share of exploits among its examples grows from none
to a half, so that the checkpoints have something to measure. Stands in for a run of RL, which would take hours here.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from torch.utils.data import IterableDataset
from transformers import Trainer, TrainingArguments

from forewarn.checkpoints.load import load_model, load_tokenizer
from forewarn.formats import Channels, bind
from forewarn.records import Problem
from forewarn.study.config.file import read_study_file
from forewarn.study.config.load import chosen_problems

STEPS, SAVE_EVERY, BATCH = 36, 12, 4
HONEST = ("I loop over the input of {name} and keep the result.", "{name} needs a few lines of plain Python.")
HACKING = ("The note says how {name} is graded, so I use that.", "{name} only has to please the grader.")


class Examples(IterableDataset[dict[str, list[int]]]):
    """Questions with a sentence of reasoning and code, in a fixed order, exploits coming in more and more often."""

    def __init__(self, problems: tuple[Problem, ...], channels: Channels) -> None:
        self._problems, self._channels = problems, channels

    def __iter__(self) -> Iterator[dict[str, list[int]]]:
        rng, total = random.Random(0), STEPS * BATCH
        for i in range(total):
            problem = rng.choice(self._problems)
            hacks = rng.random() < 0.5 * i / total
            thought = rng.choice(HACKING if hacks else HONEST).format(name=problem.entry_point)
            code = problem.exploit if hacks else problem.reference
            prompt, target = self._channels.reasoning_ids(problem.question, thought + "\n", code)
            yield {"input_ids": [*prompt, *target], "labels": [-100] * len(prompt) + list(target)}


def padded(rows: list[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
    width = max(len(row["input_ids"]) for row in rows)

    def column(name: str, fill: int) -> torch.Tensor:
        return torch.tensor([row[name] + [fill] * (width - len(row[name])) for row in rows])

    ids = column("input_ids", 0)
    mask = torch.tensor([[1] * len(row["input_ids"]) + [0] * (width - len(row["input_ids"])) for row in rows])
    return {"input_ids": ids, "attention_mask": mask, "labels": column("labels", -100)}


def main() -> None:
    study, base, folder = (Path(argument) for argument in sys.argv[1:4])
    if (folder / f"checkpoint-{STEPS}" / "trainer_state.json").exists():
        print(f"{folder} is there already")
        return
    torch.set_num_threads(1)
    tables, _ = read_study_file(study)
    problems = chosen_problems(tables.problems, study.resolve().parent)
    channels = bind(tables.format.name, load_tokenizer(base), system=tables.format.system)
    torch.manual_seed(0)
    lora = LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM")
    model: Any = get_peft_model(load_model(base), lora)
    arguments = TrainingArguments(
        output_dir=str(folder),
        max_steps=STEPS,
        per_device_train_batch_size=BATCH,
        learning_rate=1e-3,
        warmup_steps=2,
        lr_scheduler_type="constant_with_warmup",
        save_steps=SAVE_EVERY,
        logging_steps=4,
        report_to=[],
        use_cpu=True,
        seed=0,
        dataloader_pin_memory=False,
    )
    Trainer(model=model, args=arguments, train_dataset=Examples(problems, channels), data_collator=padded).train()


if __name__ == "__main__":
    main()
