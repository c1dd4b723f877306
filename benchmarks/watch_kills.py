"""A watcher under fire: it, its sandbox, a sink and the trainer are killed (SIGKILL) at random moments.

    python benchmarks/watch_kills.py HOME [--kills 20] [--seed 0]

A trainer in a process of its own writes checkpoints of the bundled organism piece by piece and keeps twelve; a watcher
measures them and posts to a webhook in a third process. What was killed is started again, but for the sandbox, which
is the watcher's own. Checked: every checkpoint that is measured here and by a run that nothing disturbed agrees in
every completion, verdict and estimate; no shard was written twice, no program judged twice, and there are no more
shards than undisturbed; every checkpoint that the trainer finished is measured; the weights that were measured are
those that it finished; and a killed watcher leaves no process behind. Ends with 1 otherwise.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import polars as pl
from benchmarks.watch_study import estimates, forewarn, one_thread, receipts, shards, write_study
from benchmarks.watch_trainer import plan

from forewarn.checkpoints.receipts import take_receipt
from forewarn.monitor.pins import pins_in
from forewarn.monitor.sinks.jsonl import read_alerts
from forewarn.organism.shipped import shipped_folder
from forewarn.study import read_verdicts

VICTIMS = ("watcher", "watcher", "sandbox", "sink", "trainer")
"""who may be next; twice named, twice as often"""
KINDS = ("completions", "submissions", "scores")
LONGEST_S = 1800.0
KEEP = 12
"""checkpoints that the trainer keeps: a killed watcher has to be back before they are gone"""
SINK = """
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
class Sink(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        open(sys.argv[2], "ab").write(body.replace(b"\\n", b" ") + b"\\n")
        self.send_response(200)
        self.end_headers()
    def log_message(self, *values):
        pass
HTTPServer(("127.0.0.1", int(sys.argv[1])), Sink).serve_forever()
"""


def descendants(pid: int) -> list[tuple[int, str]]:
    """(process, command line) of all processes below one."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                parents.setdefault(parent, []).append(int(entry.name))
    found, queue = [], [pid]
    while queue:
        for child in parents.get(queue.pop(), ()):
            queue.append(child)
            with contextlib.suppress(OSError):
                found.append((child, Path(f"/proc/{child}/cmdline").read_text().replace("\0", " ")))
    return found


def alive(pid: int, command: str) -> bool:
    """Whether that process is there; another one may have its number by now."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ") == command != ""
    except OSError:
        return False


@dataclass
class Fire:
    """The processes and what was done to them."""

    home: Path
    count: int
    between_s: float
    port: int
    commands: dict[str, list[str]]
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    kills: Counter[str] = field(default_factory=Counter)
    left_behind: list[str] = field(default_factory=list)
    seen: dict[str, tuple[int, int]] = field(default_factory=dict)
    twice: set[str] = field(default_factory=set)
    ended_early: bool = False
    """whether the watcher ended by itself"""

    @property
    def root(self) -> Path:
        return self.home / "run"

    def start(self, name: str) -> None:
        with (self.home / f"{name}.log").open("ab") as log:  # the process has a copy of its own
            self.processes[name] = subprocess.Popen(self.commands[name], env=one_thread(), stdout=log, stderr=log)

    def over(self, name: str) -> bool:
        return self.processes[name].poll() is not None

    def look(self) -> None:
        for kind in KINDS:
            for name, mark in shards(self.root, kind).items():
                if self.seen.setdefault(f"{kind}/{name}", mark) != mark:
                    self.twice.add(f"{kind}/{name}")

    def wait(self, seconds: float, until: Callable[[], bool] = lambda: False) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end and not until():
            self.look()
            time.sleep(0.1)

    def kill(self, victim: str, rng: random.Random) -> None:
        if victim == "sandbox":
            found: list[int] = []

            def there() -> bool:
                found[:] = [pid for pid, name in descendants(self.processes["watcher"].pid) if "zygote" in name]
                return bool(found) or self.over("watcher")

            self.wait(60, there)
            if found:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(rng.choice(found), signal.SIGKILL)
                    self.kills[victim] += 1
            return
        if self.over(victim):
            return
        below = descendants(self.processes[victim].pid)
        self.processes[victim].kill()
        self.processes[victim].wait()
        self.kills[victim] += 1
        self.wait(10, lambda: not any(alive(*one) for one in below))
        self.left_behind += [f"{victim}: {command}" for pid, command in below if alive(pid, command)]
        self.wait(rng.uniform(0, 2))
        self.start(victim)


def under_fire(home: Path, study: Path, kills: int, count: int, between_s: float, seed: int) -> Fire:
    """Run everything until the trainer has ended and all kills are done; then measure what is left."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    watch = ("watch", study, "--run-folder", home / "run", "--every", 0.2)
    alert = ("--alert", f"webhook=http://127.0.0.1:{port}/", "--alert", f"jsonl={home / 'mine.jsonl'}")
    trainer = str(Path(__file__).with_name("watch_trainer.py"))
    commands = {
        "sink": [sys.executable, "-c", SINK, str(port), str(home / "posted.jsonl")],
        "trainer": [sys.executable, trainer, str(home / "out"), "--count", str(count), "--keep", str(KEEP),
                    "--between", str(between_s)],
        "watcher": forewarn(*watch, *alert),
    }  # fmt: skip
    fire, rng, end = Fire(home, count, between_s, port, commands), random.Random(seed), time.monotonic() + LONGEST_S
    for name in commands:
        fire.start(name)
    try:
        while sum(fire.kills.values()) < kills and time.monotonic() < end:
            fire.wait(rng.uniform(0.5, 3 * between_s), lambda: fire.over("watcher"))
            if fire.over("watcher"):
                break
            fire.kill(rng.choice(VICTIMS), rng)
        fire.wait(end - time.monotonic(), lambda: fire.over("trainer") or fire.over("watcher"))
        fire.ended_early = fire.over("watcher")
    finally:
        for process in fire.processes.values():
            process.kill()
            process.wait()
    subprocess.run(
        forewarn(*watch, "--once"), env=one_thread(), check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    fire.look()
    return fire


def undisturbed(home: Path, study: Path, count: int) -> Path:
    """The same checkpoints, all there from the first, measured in one go."""
    calm = home / "calm"
    calm.mkdir()
    trainer = str(Path(__file__).with_name("watch_trainer.py"))
    pace = ("--pause", "0", "--between", "0")
    written = [sys.executable, trainer, str(calm / "out"), "--count", str(count), *pace]
    subprocess.run(written, check=True, env=one_thread(), stdout=subprocess.DEVNULL)
    text = study.read_text().replace('path = "out"', f'path = "{calm / "out"}"')
    beside = study.with_name("calm.toml")
    beside.write_text(text)
    command = forewarn("watch", beside, "--run-folder", calm / "run", "--once", "--every", 0.1)
    subprocess.run(command, check=True, env=one_thread(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return calm / "run"


def differences(root: Path, calm: Path) -> list[str]:
    """Where what was measured under fire is not what was measured undisturbed."""
    first, second = estimates(root), estimates(calm)
    found = [f"{key}: not measured" for key in second if key not in first]
    found += [f"{key}: another estimate" for key in first if first[key] != second.get(key)]
    for kind in KINDS:
        mine, other = shards(root, kind), shards(calm, kind)
        found += [f"{kind}/{name}: not undisturbed" for name in mine if name not in other]
        for name in mine.keys() & other.keys():
            a, b = (pl.read_parquet(folder / kind / name) for folder in (root, calm))
            if not a.equals(b):
                found.append(f"{kind}/{name}: other content")
    labels = [_labels(folder) for folder in (root, calm)]
    found += [f"verdict {key}: {labels[0][key]}, undisturbed {labels[1].get(key)}" for key in labels[0]
              if labels[0][key] != labels[1].get(key)]  # fmt: skip
    return found


def _labels(root: Path) -> dict[tuple[str, str], str]:
    table = read_verdicts(root)
    keys = zip(table["problem_key"].to_list(), table["code_key"].to_list(), strict=True)
    return dict(zip(keys, table["label"].to_list(), strict=True))


def judged_twice(root: Path) -> int:
    """Verdicts on a program that had one already; one that broke has to be judged again."""
    tables = [pl.read_parquet(root / "verdicts" / name) for name in shards(root, "verdicts")]
    given = pl.concat(tables).filter(pl.col("label") != "invalid")
    return given.height - given.unique(["problem_key", "code_key"]).height


def wrong_weights(root: Path, count: int) -> list[str]:
    """Checkpoints that were measured on other weights than their trainer finished."""
    base, held = str(shipped_folder() / "base"), receipts(root)
    true = {f"checkpoint-{step}": take_receipt(base, str(adapter)).key for step, adapter in plan(count)}
    return [name for name, one in held.items() if one["key"] != true.get(name)]


def check(home: Path, kills: int, count: int, between_s: float, seed: int) -> dict[str, Any]:
    study = write_study(home, name="fire", types=("test_skipping", "process_exit"), problems_of_each=3)
    fire = under_fire(home, study, kills, count, between_s, seed)
    calm = undisturbed(home, study, count)
    finished = {f"checkpoint-{step}" for step, _ in plan(count)}
    kept = {one.name for one in pins_in(fire.root)}
    measured = {name for name, _ in estimates(fire.root)}
    return {
        "kills": dict(fire.kills),
        "checkpoints": count,
        "measured": len(measured),
        "kept_and_not_measured": sorted(kept - measured),
        "finished_and_not_kept": sorted(finished - kept),
        "wrong_weights": wrong_weights(fire.root, count),
        "differences": differences(fire.root, calm),
        "shards": {kind: len(shards(fire.root, kind)) for kind in KINDS},
        "shards_undisturbed": {kind: len(shards(calm, kind)) for kind in KINDS},
        "written_twice": sorted(fire.twice),
        "judged_twice": judged_twice(fire.root),
        "left_behind": fire.left_behind,
        "watcher_ended_by_itself": fire.ended_early,
        "alerts": len(read_alerts(fire.root / "alerts.jsonl")),
        "alerts_posted": len((home / "posted.jsonl").read_bytes().splitlines()),
    }


FAULTS = ("kept_and_not_measured", "finished_and_not_kept", "wrong_weights", "differences", "written_twice",
          "judged_twice", "left_behind", "watcher_ended_by_itself")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("home", type=Path)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--count", type=int, default=16, help="checkpoints")
    parser.add_argument("--between", type=float, default=10.0, help="seconds between checkpoints")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    found = check(options.home.resolve(), options.kills, options.count, options.between, options.seed)
    print(json.dumps(found, indent=2))
    sys.exit(any(found[name] for name in FAULTS))


if __name__ == "__main__":
    main()
