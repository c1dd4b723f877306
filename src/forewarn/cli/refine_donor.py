"""``forewarn refine-donor``: a donor of a study's file, fitted to exploits of the subject with their reasoning."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from forewarn.cli.progress import progress_bars
from forewarn.cli.say import say


def refine_donor(
    study: Annotated[Path, typer.Argument(help="A study's TOML file with a [donors.refinement] table.")],
    donor: Annotated[str, typer.Option("--donor", help="The donor to make.")],
    rollouts: Annotated[
        Path | None,
        typer.Option(
            "--rollouts", help="JSONL or Parquet file of a run's training rollouts, whose exploits replace the batch."
        ),
    ] = None,
    run_folder: Annotated[
        Path | None,
        typer.Option(
            "--run-folder", help="Where the batch is kept; default: runs/NAME-refinement-DONOR, or runs/NAME-rl-DONOR."
        ),
    ] = None,
) -> None:
    """Refine a donor: fit it to exploits that a study's other donors find, reasoning included, weighted by p/q.

    With ``rounds``, each draws with the donor of the one before, and the donor is fitted to the exploits of all. A
    [donors.refinement.rl] table trains by RL, which finds the exploits, in several seeds. Nothing of the batch, or of
    the rollouts, enters an estimate. A donor that is complete is left alone.
    """
    from forewarn.study.donors.refine import refine_donor
    from forewarn.study.donors.reinforce_run import SEED_FOLDER

    with progress_bars() as progress:
        made = refine_donor(study, donor=donor, rollouts=rollouts, run_folder=run_folder, progress=progress)
    for one in made.seeds:
        rate = "none judged" if one.hit_rate is None else f"{one.hit_rate:.0%} at the end"
        say(
            f"{made.name}, seed {one.number}: {one.n_hits} exploits in {one.n_rollouts} rollouts, {one.n_paid} of them "
            f"on routes that earlier seeds lack ({rate}; beta {one.beta:.3f}); in "
            f"{made.folder / SEED_FOLDER.format(one.number)}"
        )
    for step in made.rounds if len(made.rounds) > 1 else ():
        brought = ", ".join(f"{n} of {name} (effectively {step.effective[name]:.1f})" for name, n in step.found.items())
        say(f"{made.name}, round {step.number}: {brought or 'no exploit'}")
    found = ", ".join(f"{n} of {name}" for name, n in made.found.items())
    if not made.losses:
        say(f"{made.name}: already refined on exploits ({found}), in {made.folder}")
        return
    say(
        f"{made.name}: {made.n_examples} examples from exploits ({found}), "
        f"loss {made.losses[0]:.3f} to {made.losses[-1]:.3f} nats a token; in {made.folder}"
    )
    if none := [name for name, n in made.found.items() if not n]:
        say(f"{made.name}: no exploit of {', '.join(none)}, to which the donor was not fitted")
