"""An hour of a trainer that writes, prunes and rewrites its folder, and a watcher that follows it.

    python benchmarks/watch_soak.py --hours 1 --out FOLDER

The trainer keeps three checkpoints, dawdles over half-written ones, goes back and writes steps again, in place or
after deleting them, with the same weights or others. Counted as wrong: a measured checkpoint whose weights its trainer
never finished; one that is not its trainer's last word; an estimate that an undisturbed run does not give bit for bit;
a shard that was written twice. Stuck: a watcher that ended, or that has something pending ten minutes after the
trainer's end. Ends with 1 if there was any.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.watch_study import estimates, forewarn, one_thread, receipts, shards, write_study
from benchmarks.watch_trainer import checkpoint_folder, write_checkpoint

from forewarn.monitor.pins import pins_in
from forewarn.monitor.state import read_state
from forewarn.organism.shipped import RUNS, Organism, shipped_folder

EVERY_S = 0.5
"""between the watcher's looks"""
KEEP = 3
DRAIN_S = 600.0


@dataclass
class Journal:
    """What the trainer has done."""

    versions: dict[str, list[str]] = field(default_factory=dict)
    """checkpoint -> the hash of the weights of each version that it finished, in order"""
    rewrites: int = 0
    pruned: int = 0
    dawdled: int = 0
    """pieces after which it waited for longer than two looks of the watcher"""


class Trainer(threading.Thread):
    """Writes until it is stopped."""

    def __init__(self, out: Path, seed: int, between_s: float) -> None:
        super().__init__(daemon=True)
        self.journal, self._out, self._rng, self._between_s = Journal(), out, random.Random(seed), between_s
        organism = Organism(shipped_folder())
        self._sources = [organism.adapter(name, step) for name in RUNS for step in organism.steps(name)]
        self._source: dict[int, Path] = {}
        self.ended = threading.Event()

    def run(self) -> None:
        step = 0
        while not self.ended.is_set():
            step += self._rng.randint(1, 9)
            self._write(step, self._rng.choice(self._sources))
            self._prune()
            if self._rng.random() < 0.3:
                self._go_back()
            self.ended.wait(self._rng.expovariate(1 / self._between_s))

    def _write(self, step: int, source: Path) -> None:
        folder = write_checkpoint(source, self._out, step, self._pause)
        self._source[step] = source
        digest = hashlib.sha256((source / "adapter_model.safetensors").read_bytes()).hexdigest()
        self.journal.versions.setdefault(folder.name, []).append(digest)

    def _pause(self) -> None:
        if self._rng.random() < 0.1:
            self.journal.dawdled += 1
            time.sleep(self._rng.uniform(2, 6) * EVERY_S)
        else:
            time.sleep(self._rng.uniform(0, EVERY_S))

    def _steps(self) -> list[int]:
        return sorted(int(path.name.split("-")[1]) for path in self._out.glob("checkpoint-*"))

    def _prune(self) -> None:
        for step in self._steps()[:-KEEP]:
            shutil.rmtree(checkpoint_folder(self._out, step))
            self.journal.pruned += 1

    def _go_back(self) -> None:
        """Resume from before some of the checkpoints that are there, and write them again."""
        for step in self._steps()[-self._rng.randint(1, 2) :]:
            if self._rng.random() < 0.3:
                shutil.rmtree(checkpoint_folder(self._out, step))
            same = self._rng.random() < 0.5
            self.journal.rewrites += 1
            self._write(step, self._source[step] if same else self._rng.choice(self._sources))


class Watching:
    """The watcher's process, started again where it ends; and what it writes twice."""

    def __init__(self, home: Path, root: Path) -> None:
        self._home, self._root = home, root
        self._seen: dict[str, tuple[int, int]] = {}
        self.starts, self.twice = 0, set[str]()
        self.slowest_look_s, self._process = 0.0, self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        self.starts += 1
        command = forewarn("watch", self._home / "study.toml", "--run-folder", self._root, "--every", EVERY_S)
        with (self._home / "watch.log").open("ab") as log:
            return subprocess.Popen(command, env=one_thread(), stdout=log, stderr=log)

    def check(self) -> None:
        if self._process.poll() is not None:
            self._process = self._start()
        for kind in ("completions", "scores"):
            for name, mark in shards(self._root, kind).items():
                if self._seen.setdefault(f"{kind}/{name}", mark) != mark:
                    self.twice.add(f"{kind}/{name}")
        state = read_state(self._root)
        if state is not None and state.looked_unix_s is not None:
            self.slowest_look_s = max(self.slowest_look_s, time.time() - state.looked_unix_s)

    @property
    def pending(self) -> list[str]:
        state = read_state(self._root)
        return [] if state is None else list(state.pending)

    def end(self) -> None:
        self._process.terminate()
        self._process.wait()


def wrong_in(home: Path, root: Path, journal: Journal) -> list[str]:
    """What is wrong with what was measured, by the trainer's journal and by a run that nothing disturbed."""
    from forewarn.checkpoints.receipts import take_receipt

    found, held = [], receipts(root)
    for one in pins_in(root):
        digest = hashlib.sha256((one.weights / "adapter_model.safetensors").read_bytes()).hexdigest()
        versions = journal.versions.get(one.spot, [])
        if digest not in versions:
            found.append(f"{one.name}: weights that its trainer never finished")
        elif digest != versions[-1] and checkpoint_folder(home / "out", one.step).exists():
            found.append(f"{one.name}: not its trainer's last version")
        if one.name in held:
            now = take_receipt(str(shipped_folder() / "base"), str(one.weights)).key
            if held[one.name]["key"] != now:
                found.append(f"{one.name}: measured on other weights than are kept")
    again = home / "undisturbed"
    shutil.copytree(root / "checkpoints", again / "checkpoints")
    subprocess.run(
        forewarn("watch", home / "study.toml", "--run-folder", again, "--once", "--every", 0.1),
        env=one_thread(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False,
    )  # fmt: skip
    first, second = estimates(root), estimates(again)
    found += [f"{key}: another estimate than undisturbed" for key in first if first[key] != second.get(key)]
    found += [f"{key}: not measured" for key in second if key not in first]
    return found


def soak(home: Path, hours: float, seed: int, between_s: float) -> dict[str, Any]:
    write_study(home, name="soak", types=("test_skipping", "process_exit"), problems_of_each=3)
    root = home / "run"
    trainer, watching = Trainer(home / "out", seed, between_s), Watching(home, root)
    trainer.start()
    end = time.monotonic() + 3600 * hours
    while time.monotonic() < end:
        time.sleep(2)
        watching.check()
    trainer.ended.set()
    trainer.join()
    drained = time.monotonic() + DRAIN_S
    quiet = 0
    while time.monotonic() < drained and quiet < 5:  # pending nothing at several looks in a row
        time.sleep(2)
        watching.check()
        quiet = 0 if watching.pending else quiet + 1
    watching.end()
    state, journal = read_state(root), trainer.journal
    log = (home / "watch.log").read_text()
    return {
        "hours": hours,
        "checkpoints_written": sum(map(len, journal.versions.values())),
        "rewrites": journal.rewrites,
        "pruned": journal.pruned,
        "dawdled": journal.dawdled,
        "never_kept": len(set(journal.versions) - {one.spot for one in pins_in(root)}),
        "measured": 0 if state is None else len(state.measured),
        "measurings_begun": log.count("measuring "),
        "pruned_before_kept": log.count("before it could be kept"),
        "failed_and_tried_again": log.count("will be tried again"),
        "slowest_look_s": round(watching.slowest_look_s, 1),
        "wrong": wrong_in(home, root, journal),
        "written_twice": sorted(watching.twice),
        "stuck": [*watching.pending, *(["the watcher ended"] * (watching.starts - 1))],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=float, default=1.0)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--between", type=float, default=30.0, help="seconds between checkpoints, on average")
    options = parser.parse_args()
    found = soak(options.out.resolve(), options.hours, options.seed, options.between)
    (options.out / "summary.json").write_text(json.dumps(found, indent=2) + "\n")
    print(json.dumps(found, indent=2))
    sys.exit(bool(found["wrong"] or found["written_twice"] or found["stuck"]))


if __name__ == "__main__":
    main()
