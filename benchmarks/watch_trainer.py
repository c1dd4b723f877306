"""A trainer as its output folder sees it: checkpoints written piece by piece, pruned, and written again.

    python benchmarks/watch_trainer.py FOLDER [--count N] [--keep N] [--pause S] [--between S]

Writes the bundled organism's own RL run, checkpoint by checkpoint, in the order in which transformers' Trainer writes
a PEFT checkpoint: weights (in pieces), adapter_config.json, optimizer, ``trainer_state.json`` last. A trainer
that was killed goes on behind its last whole checkpoint.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from forewarn.checkpoints.layouts.trl import state_step
from forewarn.organism.shipped import RUNS, Organism, shipped_folder

PIECES = 4
"""of a weights file: what a reader may find of it"""
OPTIMIZER_BYTES = 200_000
Pause = Callable[[], None]


def checkpoint_folder(out: Path, step: int) -> Path:
    return out / f"checkpoint-{step}"


def write_checkpoint(source: Path, out: Path, step: int, pause: Pause) -> Path:
    """Write a checkpoint from an adapter's folder, into whatever is there already; ``pause`` after every piece."""
    folder = checkpoint_folder(out, step)
    folder.mkdir(parents=True, exist_ok=True)
    pause()
    for name in ("adapter_model.safetensors", "adapter_config.json"):
        content = (source / name).read_bytes()
        size = -(-len(content) // PIECES)
        with (folder / name).open("wb") as file:  # into the same file, as safetensors does
            for at in range(0, len(content), size):
                file.write(content[at : at + size])
                file.flush()
                pause()
    (folder / "optimizer.pt").write_bytes(bytes(OPTIMIZER_BYTES))
    pause()
    state = folder / "trainer_state.json"
    text = json.dumps({"global_step": step, "log_history": []}, indent=2)
    with state.open("w") as file:  # not at once, as the Trainer does
        file.write(text[: len(text) // 2])
        file.flush()
        pause()
        file.write(text[len(text) // 2 :])
    return folder


def prune(out: Path, keep: int) -> None:
    """Delete the oldest checkpoints but ``keep``, as ``save_total_limit`` does."""
    whole = sorted((int(path.name.split("-")[1]), path) for path in out.glob("checkpoint-*"))
    for _, path in whole[:-keep]:
        shutil.rmtree(path)


def plan(count: int | None = None) -> list[tuple[int, Path]]:
    """(step, adapter) of the organism's run on the vulnerable reward; with a ``count``, of so many checkpoints of both
    its runs, a step each."""
    organism = Organism(shipped_folder())
    if count is None:
        return [(step, organism.adapter("rl", step)) for step in organism.steps("rl")]
    sources = [organism.adapter(name, step) for name in RUNS for step in organism.steps(name)]
    return [(i, sources[(i - 1) % len(sources)]) for i in range(1, count + 1)]


def run(out: Path, planned: Sequence[tuple[int, Path]], *, keep: int | None, pause: Pause) -> Iterator[int]:
    """Write checkpoints; yields each step when its checkpoint is whole."""
    there = [found for path in out.glob("checkpoint-*") if (found := state_step(path)) is not None]
    for step, source in planned:
        if step <= max(there, default=-1):  # it goes on from its last whole checkpoint
            continue
        write_checkpoint(source, out, step, pause)
        if keep is not None:
            prune(out, keep)
        yield step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, help="so many checkpoints, a step each; default: the run's own twelve")
    parser.add_argument("--keep", type=int)
    parser.add_argument("--pause", type=float, default=0.1, help="seconds between the pieces of a checkpoint")
    parser.add_argument("--between", type=float, default=5.0, help="seconds between checkpoints")
    options = parser.parse_args()
    pause = (lambda: time.sleep(options.pause)) if options.pause else (lambda: None)
    for step in run(options.folder, plan(options.count), keep=options.keep, pause=pause):
        print(f"checkpoint-{step} is written", flush=True)
        time.sleep(options.between)


if __name__ == "__main__":
    main()
