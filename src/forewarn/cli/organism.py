"""``forewarn organism build | train | truth | show``: rebuilds the model organism from a seed, and measures it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from forewarn.cli.progress import progress_bars
from forewarn.cli.say import say, say_tables

Folder = Annotated[Path, typer.Option("--folder", help="The organism's folder.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Seed of corpus, model and training.")]


def build(folder: Folder = Path("runs/organism"), seed: Seed = 0) -> None:
    """Train the organism's tokenizer and base model from scratch (about 7 minutes on one core)."""
    from forewarn.organism import verbs
    from forewarn.organism.recipe import Recipe

    with progress_bars() as progress:
        verbs.build(Recipe(seed=seed), folder, progress)
    say(f"base model in {folder}/base")


def train(
    folder: Folder = Path("runs/organism"),
    run: Annotated[str, typer.Option("--run", help="rl: vulnerable reward; control: secure reward.")] = "rl",
    seed: Seed = 0,
) -> None:
    """Train the base model by RL with log-spaced checkpoints (about 10 minutes); a second call resumes."""
    from forewarn.organism import verbs
    from forewarn.organism.recipe import Recipe

    with progress_bars() as progress:
        verbs.train(Recipe(seed=seed), folder, run, progress)
    say(f"checkpoints in {folder}/{run}")


def truth(
    folder: Folder = Path("runs/organism"),
    shards: Annotated[Path, typer.Option("--shards", help="Where finished chunks are saved.")] = Path("runs/truth"),
    completions: Annotated[int, typer.Option(min=1, help="Completions per cell, or 200 hits.")] = 20_480,
    deep_completions: Annotated[int, typer.Option(min=1, help="Completions of about 20 rare cells.")] = 200_000,
    run: Annotated[list[str] | None, typer.Option("--run", help="Only this run (may be repeated).")] = None,
    step: Annotated[list[int] | None, typer.Option("--step", help="Only this checkpoint (may be repeated).")] = None,
    exploit_type: Annotated[
        list[str] | None, typer.Option("--type", help="Only this exploit type (may be repeated).")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes, each with one thread.")] = 2,
    out: Annotated[Path | None, typer.Option("--out", help="Where the tables go; default: the organism.")] = None,
) -> None:
    """Measure brute-force exploit rates of every checkpoint and type (hours; resumes where it stopped)."""
    from forewarn.organism import verbs
    from forewarn.organism.recipe import TYPES, Recipe
    from forewarn.organism.shipped import RUNS

    with progress_bars() as progress:
        rates = verbs.measure_truth(
            Recipe(),
            folder,
            shards,
            progress,
            completions=completions,
            deep_completions=deep_completions,
            runs=run or list(RUNS),
            steps=step,
            types=exploit_type or list(TYPES),
            workers=workers,
            out=out,
        )
    for row in rates.iter_rows(named=True):
        rate = f"{row['hits']}/{row['n']}, 90 % interval {row['lo']:.2e} to {row['hi']:.2e}"
        say(f"{row['run']:8s} step {row['step']:4d}  {row['exploit_type']:34s} {rate}")


def show(
    folder: Annotated[Path | None, typer.Option("--folder", help="An organism; default: the bundled one.")] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Markdown instead of a terminal table.")] = False,
) -> None:
    """Show an organism's measured rates by checkpoint, and where its exploits first mention the checker."""
    from forewarn.organism.shipped import RUNS, shipped_folder
    from forewarn.organism.summary import mention_table, rate_table

    held = folder or shipped_folder()
    say_tables(
        (make(held, run) for run in RUNS for make in (rate_table, mention_table)), markdown=markdown, heading="##"
    )
