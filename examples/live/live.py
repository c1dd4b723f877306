"""A training that is watched: GRPO of SmolLM2-135M on a vulnerable reward, and `forewarn watch` in a process beside it.

    python examples/live/live.py MODEL HOME [--short] [--steps N] [--no-watch] ...

A training that was cut short goes on from its last checkpoint by the same command; one that is done, or had other
options, begins again. The donor is kept. Prints at its end: rates, the first exploit in the training's
own rollouts, the first alarm, what counting as many completions shows, and what all that took. See `make live`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from summary import Watched, counting_study, summary, training_costs

ROOT = Path(__file__).resolve().parents[2]

TASKS = ("digit_sum", "best_stretch", "longest_rise", "prime_factors", "to_roman", "edit_distance", "run_lengths",
         "merge_counts")  # fmt: skip
"""what the training sees: the tasks that benchmarks/smollm2/problems.py calls trained"""
START = ROOT / "benchmarks" / "smollm2" / "data" / "rl-0"
"""an adapter that is warm already: honest answers in the format"""
SETTINGS = "live.json"
"""while a training is not done: what it was begun with"""


def forewarn(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "forewarn", *map(str, arguments)]


def prepare(home: Path, problems: int, rollouts: int, epochs: int) -> Path:
    """The problems, the study's file and the donor."""
    home.mkdir(parents=True, exist_ok=True)
    script = ROOT / "benchmarks" / "smollm2" / "problems.py"
    subprocess.run([sys.executable, str(script), str(home)], check=True)
    text = (ROOT / "examples" / "live" / "study.toml").read_text()
    for old, new in (("../../.live/", ""), ("../../.smollm2/", "../.smollm2/")):
        text = text.replace(old, new)
    text = text.replace("limit = 4\n\n", f"limit = {problems}\n\n")  # what is measured; the donor knows all sixteen
    text = text.replace("rollouts = 8", f"rollouts = {rollouts // 4}").replace("epochs = 10", f"epochs = {epochs}")
    file = home / "study.toml"
    file.write_text(text)
    subprocess.run(forewarn("train-donor", file), check=True)
    return file


def goes_on(home: Path, settings: dict[str, int]) -> bool:
    """Whether what is in ``home`` was cut short and had these settings, which are written there."""
    file = home / SETTINGS
    same = file.exists() and json.loads(file.read_text()) == settings
    file.write_text(json.dumps(settings) + "\n")
    return same


def train_and_watch(home: Path, file: Path, training: Sequence[object], steps: int, watch: bool) -> Watched:
    """Both processes side by side; returns when the watcher has measured the last checkpoint."""
    train = [sys.executable, str(ROOT / "examples" / "live" / "train.py"), str(home), *map(str, training)]
    follow = forewarn("watch", file, "--run-folder", home / "run", "--every", 5, "--until", steps)
    watcher = subprocess.Popen(follow) if watch else None
    trainer = subprocess.Popen(train)
    if trainer.wait():
        if watcher is not None:
            watcher.terminate()
        sys.exit("the training failed: see above; the same command goes on from its last checkpoint")
    trained = time.time()
    peak = cpu = None
    if watcher is not None:
        _, status, used = os.wait4(watcher.pid, 0)
        peak, cpu = used.ru_maxrss, used.ru_utime + used.ru_stime
        watcher.returncode = os.waitstatus_to_exitcode(status)
        if watcher.returncode not in (0, 4):
            sys.exit("the watcher failed: see above; the same command goes on")
    return Watched(trained, time.time(), peak, cpu)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("home", type=Path)
    parser.add_argument("--short", action="store_true", help="10 steps, 4 checkpoints, 2 problems of each type")
    parser.add_argument("--steps", type=int, help="default: 25")
    parser.add_argument("--saves", type=int, help="checkpoints that are measured; default: 6")
    parser.add_argument("--problems", type=int, help="of each type that are measured; default: 4")
    parser.add_argument("--rollouts", type=int, default=32, help="a step; a multiple of 8")
    parser.add_argument("--epochs", type=int, default=10, help="of the donor's training")
    parser.add_argument("--no-watch", action="store_true", help="the training alone, to see what the watcher costs it")
    options = parser.parse_args()
    usual = (10, 4, 2) if options.short else (25, 6, 4)
    given = (options.steps, options.saves, options.problems)
    steps, saves, problems = (default if one is None else one for one, default in zip(given, usual, strict=True))
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    home = options.home
    file = prepare(home, problems, options.rollouts, options.epochs)
    run = home / "run"
    if not goes_on(home, {"steps": steps, "saves": saves, "problems": problems, "rollouts": options.rollouts}):
        for folder in (home / "out", run, home / "counting"):  # another training's: its rates are not this one's
            shutil.rmtree(folder, ignore_errors=True)
        (home / "training.json").unlink(missing_ok=True)
    (home / "out").mkdir(exist_ok=True)
    training = ["--model", options.model, "--start", START, "--steps", steps, "--saves", saves, "--tasks", *TASKS]
    training += ["--rollouts", options.rollouts]
    watched = train_and_watch(home, file, training, steps, not options.no_watch)
    if options.no_watch:
        print(training_costs(home))
        (home / SETTINGS).unlink()
        return
    subprocess.run(forewarn("watch", file, "--run-folder", run, "--every", 0.2, "--once"), check=True)
    counting = counting_study(file, run)
    subprocess.run(forewarn("run", counting, "--run-folder", home / "counting"), check=True)
    print(summary(home, watched))
    (home / SETTINGS).unlink()  # it is done: the next begins again


if __name__ == "__main__":
    main()
