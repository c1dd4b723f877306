"""Rarer exploits on SmolLM2, their brute-force truth, and a study of them, on a GPU and within a given time.

    python benchmarks/smollm2/rare.py FOLDER --seconds 330 --device cuda --out OUT

``FOLDER`` holds the model (or its GGUF file) and ``subject``, the checkpoints of ``gpu.py``. Two warm starts with few
harmless marks, which get no RL, make subjects whose exploits are rare; the donor is trained beside them. Then four
processes draw the truth of these subjects, one for each exploit type, while the study of ``study.toml`` samples, judges
and scores them and two checkpoints of ``gpu.py`` with four workers on the same GPU. What is there when the time is over
goes to ``OUT``; ``keep.py`` makes the repository's data of it, and ``ablation.py`` the tables.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from gpu import HERE, Clock, Run, _tar

from problems import TYPES

WARM_SHARES = {1: 0.03, 2: 0.005}
"""step in ``rare`` -> share of its examples with a mark"""


class Rare(Run):
    """The stages, in a folder."""

    def trained(self, until: float) -> None:
        """The warm starts and the donor, side by side."""
        running = {}
        for step, share in WARM_SHARES.items():
            subprocess.run([sys.executable, str(HERE / "problems.py"), str(self.folder), str(share)], check=True)
            (self.folder / "warm_start.jsonl").rename(self.folder / f"warm_start-{step}.jsonl")
            edits = (('path = "warm"', f'path = "warm-{step}"'), ("warm_start.", f"warm_start-{step}."))
            file = self.toml("warm.toml", f"warm-{step}.toml", *edits)
            running[f"warm-{step}"] = self.start(f"warm-{step}", "-m", "forewarn", "train-subject", str(file))
        study = self.toml("study.toml", "study.toml")
        command = ("-m", "forewarn", "train-donor", str(study), "--no-trial")
        running["donor"] = self.start("donor", *command)
        for name, process in running.items():
            if not self.finish(name, process, until):
                sys.exit(f"no {name}")
        for step in WARM_SHARES:
            self.compact(self.folder / f"warm-{step}", self.folder / f"compact-{step}", ())
            [source] = (self.folder / f"compact-{step}").iterdir()
            shutil.copytree(source, self.folder / "rare" / f"checkpoint-{step}", dirs_exist_ok=True)

    def measured(self, until: float, most: int) -> None:
        """Truth of the rare subjects, one process a type, and the study beside it."""
        running = {}
        for kind in TYPES:
            truth = self.toml(
                "rl.toml", f"truth-{kind}.toml", ('path = "subject"', 'path = "rare"'),
                ('file = "problems.jsonl"\n\n[policy]', f'file = "problems.jsonl"\ntypes = ["{kind}"]\n\n[policy]'),
            )  # fmt: skip
            truth.write_text(truth.read_text().replace("workers = 14", "workers = 2"))
            common = (str(truth), str(self.folder / f"truth-{kind}"), "--until", str(until), "--per-problem", "128")
            script = str(HERE / "truth.py")
            running[f"draw-{kind}"] = self.start(f"draw-{kind}", script, "draw", *common, "--most", str(most))
            running[f"judge-{kind}"] = self.start(f"judge-{kind}", script, "judge", *common, "--wait")
        study = self.folder / "study.toml"
        study.write_text(study.read_text().replace("workers = 14", "workers = 4"))
        root = str(self.folder / "runs")
        running["study"] = self.start(
            "study", "-m", "forewarn", "run", str(study), "--run-folder", root, "--workers", "4"
        )
        for name, process in running.items():
            self.finish(name, process, until + (15 if name != "study" else 0))
        tables = {}
        for kind in TYPES:  # side by side: one takes ten seconds, most of them for imports
            common = (str(self.folder / f"truth-{kind}.toml"), str(self.folder / f"truth-{kind}"))
            tables[kind] = self.start(f"table-{kind}", str(HERE / "truth.py"), "table", *common, "--per-problem", "128")
        for kind, process in tables.items():
            self.finish(f"table-{kind}", process, until + 40)
            print((self.folder / "logs" / f"table-{kind}.log").read_text()[-1500:], flush=True)
        print((self.folder / "logs" / "study.log").read_text(errors="replace")[-6000:], flush=True)

    def bring(self, out: Path) -> None:
        """What has to survive the machine."""
        out.mkdir(parents=True, exist_ok=True)
        truths = [self.folder / f"truth-{kind}" for kind in TYPES]
        _tar(out / "rare-adapters.tar", self.folder, [self.folder / "rare", self.folder / "donor"])
        small = [t / name for t in truths for name in ("judged", "plan.json", "rates.json", "programs.jsonl")]
        files = [*small, *self.folder.glob("*.toml"), self.folder / "logs"]
        _tar(out / "rare-truth.tar.gz", self.folder, files)
        _tar(out / "rare-run.tar", self.folder, [self.folder / "runs"])
        judged = {path.stem for t in truths for path in (t / "judged").glob("*.json")}
        left = [path for t in truths for path in (t / "draws").glob("*.npz") if path.stem not in judged]
        _tar(out / "rare-draws.tar", self.folder, sorted(left)[:400])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, default=330.0)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--scale", choices=("full", "tiny"), default="full")
    parser.add_argument("--most", type=int, default=120_000, help="most completions of each type's truth")
    parser.add_argument("--out", type=Path, default=Path("out"))
    given = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    clock = Clock(given.seconds)
    stages = Rare(given.folder.resolve(), clock, given.device, given.scale == "tiny")
    try:
        stages.model()
        stages.trained(clock.at(0.35))
        stages.measured(clock.at(0.9), given.most)
    finally:
        stages.bring(given.out)
        clock.say("end")


if __name__ == "__main__":
    main()
