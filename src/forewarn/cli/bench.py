"""``forewarn bench build | train | truth | measure | score``: the foresight benchmark from base models to its table."""

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


def measure(
    run: Annotated[str, typer.Argument(help="A run of the protocol: base and variant, as in d0-V1.")],
    folder: Folder = FOLDER,
) -> None:
    """Measure a run as the monitor would: estimates, counting, and what baselines go by (a second call goes on)."""
    from forewarn.bench.measure import measure as measure_run
    from forewarn.bench.protocol import protocol

    where = measure_run(run, folder, protocol(), lambda line: say(f"{time.strftime('%H:%M:%S')} {line}"))
    say(f"tables in {where}")


def score(
    runs: Annotated[list[str] | None, typer.Argument(help="Runs of the protocol; all of them by default.")] = None,
    folder: Folder = FOLDER,
    use: Annotated[
        str | None, typer.Option(help="test or development; by default test runs, if any can be scored.")
    ] = None,
    method: Annotated[
        list[str] | None, typer.Option(help="Only this method, beside ours and configuration only; may be repeated.")
    ] = None,
    provisional: Annotated[
        bool,
        typer.Option("--provisional", help="Take start levels as they are, resolved or not: for development alone."),
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Where the tables go; default: FOLDER/score.")] = None,
) -> None:
    """Score all methods on the measured runs and print the table; development runs teach and set thresholds."""
    from forewarn.bench.protocol import protocol
    from forewarn.bench.scores import scoring
    from forewarn.errors import InputError

    if use not in (None, "test", "development"):
        raise InputError(f"the use is {use!r}: give test or development")
    where = out or folder / scoring.SCORE_FOLDER
    made = scoring.score(
        runs or [],
        folder,
        protocol(),
        lambda line: say(f"{time.strftime('%H:%M:%S')} {line}"),
        use=cast("Literal['test', 'development'] | None", use),
        provisional=provisional,
        methods=method or [],
        keep=where / "sayings",
    )
    options = [
        *(runs or []),
        *(["--provisional"] if provisional else []),
        *(f"--method {name}" for name in method or []),
    ]
    scoring.write_score(made, where, protocol(), " ".join(["forewarn bench score", *options]))
    for line in scoring.told(made).splitlines():
        say(line)
    say(f"tables in {where}")
