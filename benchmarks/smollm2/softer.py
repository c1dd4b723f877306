"""For how many epochs a softer donor is trained: the loss on exploits of tasks that it has not seen, epoch by epoch.

    python benchmarks/smollm2/softer.py FOLDER

``FOLDER`` holds the model, ``rl.toml`` and ``subject``. The rule, fixed before any estimate with such a donor was
looked at: every fourth task is held out, with its exploits of all types; a donor of ``SETTINGS`` is trained on those
of the other twelve. It gets the fewest epochs after which the loss on the held-out ones is at most ``FLOOR`` nats a
token, or, where none reaches that, the epochs with the least loss. The references of all tasks are written by one
generator, so that this loss alone keeps falling and would never say stop: hence a floor, in the middle of the styles
(0.1 to 0.5 nats) at which windows work on worlds with a known truth. The donor itself is then trained on all sixteen
tasks for so many epochs (``refined.toml``).
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

import torch

from forewarn.checkpoints.load import load_model
from forewarn.formats import Channels
from forewarn.records import Problem
from forewarn.study.config.load import load_study
from forewarn.study.models import study_channels
from forewarn.training.settings import LoraSettings, SFTSettings
from forewarn.training.sft import Example, donor_examples, sft
from problems import TRAINED, UNSEEN

SETTINGS = SFTSettings(
    seed=0,
    epochs=6,
    batch_size=8,
    learning_rate=5e-4,
    lora=LoraSettings(rank=8, alpha=16.0, target_modules="all-linear"),
)
FLOOR = 0.3
HELD_OUT = 4
"""each how-manieth task"""


def split(problems: list[Problem], channels: Channels) -> tuple[list[Example], list[Example]]:
    """Exploits to train on, and those of the held-out tasks."""
    tasks = list(TRAINED | UNSEEN)
    aside = set(tasks[HELD_OUT - 1 :: HELD_OUT])
    held = [problem for problem in problems if problem.entry_point in aside]
    return donor_examples([p for p in problems if p not in held], channels), donor_examples(held, channels)


def loss(model: torch.nn.Module, examples: list[Example]) -> float:
    """Mean over target tokens of -log p, nats."""
    total, tokens = 0.0, 0
    with torch.no_grad():
        for prompt, target in examples:
            ids = torch.tensor([[*prompt, *target]])
            log_p = model(input_ids=ids[:, :-1]).logits[0, len(prompt) - 1 :].log_softmax(-1)
            total -= float(log_p.gather(1, ids[0, len(prompt) :, None]).sum())
            tokens += len(target)
    return total / tokens


def chosen(losses: list[float]) -> int:
    """Epochs by the rule, from the held-out loss after each."""
    low = [epoch for epoch, value in enumerate(losses, 1) if value <= FLOOR]
    return low[0] if low else 1 + losses.index(min(losses))


def main() -> None:
    folder = Path(sys.argv[1])
    torch.set_num_threads(1)
    study = load_study(folder / "rl.toml").study
    training, held = split(list(study.problems), study_channels(study))
    model = load_model(folder / "model")
    steps = math.ceil(len(training) / SETTINGS.batch_size)
    losses: list[float] = []

    def after(step: int, total: int, now: float) -> None:
        if step % steps == 0:
            losses.append(loss(model, held))
            print(f"epoch {step // steps}: training {now:.3f}, held out {losses[-1]:.3f} nats a token", flush=True)
            if losses[-1] <= FLOOR or step == total:
                print(f"epochs by the rule: {chosen(losses)}")
                sys.exit()

    sft(model, training, SETTINGS, progress=after)


if __name__ == "__main__":
    main()
