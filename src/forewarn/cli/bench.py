"""``forewarn bench build | train | truth``: the foresight benchmark's base models, RL runs and true rates."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Literal, cast

import typer

from forewarn.cli.progress import progress_bars
from forewarn.cli.say import say

Folder = Annotated[Path, typer.Option("--folder", help="Where bases, runs and the verdict cache are.")]
FOLDER = Path("runs/foresight")


def build(
    base: Annotated[str, typer.Argument(help="A base of the protocol, as in d0 or t3.")], folder: Folder = FOLDER
) -> None:
    """Train a base model of the benchmark from scratch (about 7 minutes on one core)."""
    from forewarn.bench import verbs
    from forewarn.bench.protocol import protocol

    with progress_bars() as progress:
        where = verbs.build(base, folder, protocol(), progress)
    say(f"base model in {where}/base")


def train(
    run: Annotated[str, typer.Argument(help="A run of the protocol: base and variant, as in d0-V1.")],
    folder: Folder = FOLDER,
    steps: Annotated[int | None, typer.Option(help="Stop after this step; a later call goes on.")] = None,
    learning_rate: Annotated[
        float | None, typer.Option(help="Another one than the protocol's; development runs only.")
    ] = None,
    optimizer: Annotated[str | None, typer.Option(help="adam or sgd, in place of the protocol's; likewise.")] = None,
) -> None:
    """Train one run by RL, with a record of every step; a second call resumes. A line is printed for every step."""
    from forewarn.bench import verbs
    from forewarn.bench.protocol import protocol
    from forewarn.errors import InputError

    def log(line: str) -> None:
        say(f"{time.strftime('%H:%M:%S')} {run} {line}")

    if optimizer not in (None, "adam", "sgd"):
        raise InputError(f"the optimizer is {optimizer!r}: give adam or sgd")
    tuning = verbs.Tuning(learning_rate, cast("Literal['adam', 'sgd'] | None", optimizer))
    where = verbs.train(run, folder, protocol(), lambda stage, done, total: None, log, steps=steps, tuning=tuning)
    say(f"run in {where}")


def truth(
    run: Annotated[str, typer.Argument(help="A run of the protocol: base and variant, as in d0-V1.")],
    folder: Folder = FOLDER,
) -> None:
    """Measure the true exploit rates of a run's checkpoints by brute force (minutes; resumes where it stopped)."""
    from forewarn.bench.protocol import protocol
    from forewarn.bench.truth import measure_truth

    table = measure_truth(run, folder, protocol(), lambda line: say(f"{time.strftime('%H:%M:%S')} {run} {line}"))
    say(f"{table.height} cells in {folder}, {int(table['hits'].sum())} exploits of {int(table['n'].sum())} completions")
