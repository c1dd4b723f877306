"""What the commands ``forewarn bench build | train | truth`` do, as library calls.

A folder holds the bases (``BASE/base``), their runs (``BASE/VARIANT``), and one memory of verdicts for all. Every verb
goes on where it was left, and does nothing where it is done.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import torch

from forewarn import __version__
from forewarn.bench.bases import base_recipe
from forewarn.bench.protocol import Protocol
from forewarn.bench.runs import BenchRun, check_base, find_run, rl_recipe
from forewarn.bench.verdicts import TYPES, VerdictMemory
from forewarn.bench.watch import StepRecords, read_lines
from forewarn.checkpoints.load import load_model
from forewarn.engines.transformers.engine import HFEngine
from forewarn.errors import InputError
from forewarn.judge.judge import Judge
from forewarn.organism import verbs as organism_verbs
from forewarn.organism.build import Progress
from forewarn.organism.recipe import Recipe
from forewarn.organism.shipped import Organism, file_hash
from forewarn.organism.train import STATE_FILE, Trainer
from forewarn.store import read_json, write_json

STATE_EVERY = 5
VERDICTS = "verdicts.sqlite"
STEPS = "steps.jsonl"
RUN_FILE = "run.json"
Log = Callable[[str], None]


def build(base: str, folder: Path, protocol: Protocol, progress: Progress) -> Path:
    """Train a base model into ``folder/base``. Raises as ``organism.verbs.build`` does, and InputError for no base."""
    recipe = base_recipe(check_base(base, protocol), protocol)
    organism_verbs.build(recipe, folder / base, progress, command=f"forewarn bench build {base}")
    return folder / base


def run_recipe(run: BenchRun, protocol: Protocol) -> Recipe:
    return replace(base_recipe(run.base, protocol), rl=rl_recipe(run, protocol))


@contextmanager
def verdict_memory(folder: Path, workers: int) -> Iterator[VerdictMemory]:
    """The sandbox behind the folder's one memory of verdicts."""
    with Judge(workers=workers, types=TYPES) as judge, VerdictMemory(folder / VERDICTS, judge) as memory:
        yield memory


@dataclass(frozen=True, slots=True)
class Tuning:
    """Other settings than the protocol's, for a development run in a folder of its own."""

    learning_rate: float | None = None
    """before the run's own factor"""
    optimizer: Literal["adam", "sgd"] | None = None

    @property
    def options(self) -> str:
        """As the command has it."""
        held = {"--learning-rate": self.learning_rate, "--optimizer": self.optimizer}
        return "".join(f" {name} {value}" for name, value in held.items() if value is not None)

    def of(self, protocol: Protocol, run: BenchRun) -> Protocol:
        """The protocol with these settings. Raises InputError for a test run, or a rate that is none."""
        changed = {k: v for k, v in asdict(self).items() if v is not None}
        if changed and run.use == "test":
            raise InputError(
                f"the settings of test run {run.name} are frozen: leave out {self.options.split()[0]}, or take a "
                f"development run, whose bases are {', '.join(protocol.development_bases)}"
            )
        if self.learning_rate is not None and not 0 < self.learning_rate < math.inf:
            raise InputError(f"the learning rate is {self.learning_rate}: give a finite number above 0")
        return replace(protocol, rl=replace(protocol.rl, **changed))


def train(
    name: str,
    folder: Path,
    protocol: Protocol,
    progress: Progress,
    log: Log,
    *,
    steps: int | None = None,
    tuning: Tuning | None = None,
) -> Path:
    """RL of one run on its base, with a record of every step. ``steps``: stop there; a later call goes on.

    Raises InputError for no run, a base that is not built, or a folder that holds a run of other settings.
    """
    run = find_run(name, protocol)
    tuning = tuning or Tuning()
    protocol = tuning.of(protocol, run)
    last = protocol.rl.steps if steps is None else steps
    if not 1 <= last <= protocol.rl.steps:
        raise InputError(f"steps is {last}: give 1 to {protocol.rl.steps}, the length of a run")
    torch.set_num_threads(1)
    base = checked_base(run, folder, protocol)
    where, recipe = base.run_folder(run.variant), run_recipe(run, protocol)
    keep_settings(where, run, recipe, base, f"forewarn bench train {name}{tuning.options}")
    if steps_done(where) >= last:
        return where
    with verdict_memory(folder, workers=1) as verdicts:
        trainer = Trainer(
            recipe,
            base.base,
            where,
            protocol.variants[run.variant].reward,
            name=name,
            state_every=STATE_EVERY,
        )
        trainer.watch = StepRecords(
            where / STEPS,
            base=HFEngine(load_model(base.base).eval()),
            sampled=trainer.engine,
            chat=trainer.chat,
            policy=trainer.policy,
            verdicts=verdicts,
            types=list(recipe.types),
            done=trainer.resume(),
            log=log,
        )
        trainer.run(verdicts, progress, until=last)
    return where


def steps_done(where: Path) -> int:
    """How far a run's last kept state has got."""
    lines = read_lines(where / STEPS) if (where / STEPS).exists() else []
    return max((line["step"] for line in lines), default=0) if (where / STATE_FILE).exists() else 0


def checked_base(run: BenchRun, folder: Path, protocol: Protocol) -> Organism:
    """The run's base model, whole and of this protocol. Raises InputError or ModelError."""
    base = Organism(folder / run.base)
    if not base.is_built:
        raise InputError(
            f"{folder / run.base} has no base model of run {run.name}: run `forewarn bench build {run.base}` first"
        )
    base.verify("base/")
    base.check_recipe(base_recipe(run.base, protocol))
    return base


def keep_settings(where: Path, run: BenchRun, recipe: Recipe, base: Organism, command: str) -> None:
    """Note the run's settings in its folder. InputError where the folder holds a run of other settings."""
    wanted = {
        "run": asdict(run),
        "rl": asdict(recipe.rl),
        "base_sha256": file_hash(base.base / "model.safetensors"),
    }
    wanted = json.loads(json.dumps(wanted))
    path = where / RUN_FILE
    if not path.exists():
        write_json(path, wanted | {"version": __version__, "command": command})
        return
    held = read_json(path)
    differing = [key for key, value in wanted.items() if not isinstance(held, dict) or held.get(key) != value]
    if differing:
        raise InputError(
            f"{where} holds a run with other settings ({', '.join(differing)}); give another folder, or delete it to "
            "train the run from its first step"
        )
