"""A donor by SFT, one by refinement and one by RL on the bundled organism, at equal training compute.

    python benchmarks/organism_rl_donor.py --out runs/benchmarks/rl-donor

Three exploit types at two checkpoints, 20 problems each. All donors begin with the same short SFT on the types'
exploits, all tasks and wordings. The one by RL goes on with a small refinement batch, RL in three seeds and a fit; the
refined one takes as much CPU time for a second round of refinement, and the one by SFT for more epochs. CPU time is
what this process and its sandboxes took, everything included. Then each donor measures the same cells with as many
completions. Resumable: what is there is left alone.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch

from forewarn.organism.problems import all_problems, measured_problems
from forewarn.organism.recipe import Recipe
from forewarn.organism.shipped import Organism, shipped_folder
from forewarn.problems.files import export
from forewarn.store import read_table
from forewarn.study import CellEstimate
from forewarn.study.config.load import load_study
from forewarn.study.donors.refine import refine_donor
from forewarn.study.donors.train import train_donors
from forewarn.study.stages.run import run_study

TYPES = ("test_skipping", "function_attribute_flag", "verifier_logic_override")
STEPS = (4, 25)
FIT = "epochs = 3.0\nbatch_size = 32\nlearning_rate = 2e-3\nrank = 16\nalpha = 32.0\n"
HEAD = """
name = "rl-donor-benchmark"
[problems]
file = "problems.jsonl"
[policy]
max_total_tokens = {tokens}
[format]
name = "plain-think"
[engine]
batch_size = 640
[sandbox]
workers = 1
"""
DONORS = """
[[donors]]
name = "donor"
path = "donor"
base = "{base}"
[donors.training]
epochs = 2.0
batch_size = 32
learning_rate = 2e-3
problems = {{ file = "training.jsonl" }}
[[donors]]
name = "sft"
path = "sft"
base = "{base}"
[donors.training]
epochs = {epochs}
batch_size = 32
learning_rate = 2e-3
problems = {{ file = "training.jsonl" }}
[[donors]]
name = "scout"
path = "scout"
base = "{base}"
[donors.refinement]
from = ["donor"]
completions = 16
{fit}
[[donors]]
name = "refined"
path = "refined"
base = "{base}"
[donors.refinement]
from = ["donor", "scout"]
completions = {completions}
{fit}
[[donors]]
name = "rl"
path = "rl"
base = "{base}"
[donors.refinement]
{fit}
[donors.refinement.rl]
start = "scout"
steps = {rl_steps}
batch_size = 96
group = 8
learning_rate = 1e-3
"""
SPANS = {
    name: [("", 4), (f'm = "inf"\ndonor = "{name}"', 3), (f'k = "inf"\nm = "inf"\ndonor = "{name}"', 6)]
    for name in ("sft", "refined", "rl")
} | {
    "rl and its seeds": [
        ("", 4),
        ('m = "inf"\ndonor = "rl"', 2),
        ('k = "inf"\nm = "inf"\ndonor = "rl"', 4),
        *((f'k = "inf"\nm = "inf"\ndonor = "seed-{i}"', 1) for i in (1, 2, 3)),
    ]
}


class Bench:
    """The study's file with what is known so far, and where the work goes."""

    def __init__(self, out: Path, rl_steps: int) -> None:
        self.out, self.organism = out, Organism(shipped_folder())
        self.values: dict[str, float | int] = {"epochs": 2.0, "completions": 16, "rl_steps": rl_steps}
        self.spent: dict[str, float] = {}
        out.mkdir(parents=True, exist_ok=True)
        export([p for name in TYPES for p in measured_problems(name)], out / "problems.jsonl")
        export([p for p in all_problems() if p.exploit_type in TYPES], out / "training.jsonl")
        if (out / "spent.json").exists():
            held = json.loads((out / "spent.json").read_text())
            self.spent, self.values = held["spent"], held["values"]

    def file(self, spans: list[tuple[str, int]], seeds: bool = False) -> Path:
        text = HEAD.format(tokens=Recipe().model.max_total_tokens)
        for step in STEPS:
            adapter, base = self.organism.adapter("rl", step), self.organism.base
            text += f'[[checkpoints]]\npath = "{adapter}"\nbase = "{base}"\nstep = {step}\nname = "rl/{step}"\n'
        text += DONORS.format(base=self.organism.base, fit=FIT, **self.values)
        for number in (1, 2, 3) if seeds else ():
            text += f'[[donors]]\nname = "seed-{number}"\npath = "rl/seed-{number}"\nbase = "{self.organism.base}"\n'
        text += "".join(f"[[spans]]\n{written}\ncount = {count}\n" for written, count in spans)
        (self.out / "study.toml").write_text(text)
        return self.out / "study.toml"

    def timed(self, name: str, work: Callable[[Path], object]) -> None:
        """Do a piece of training, and keep what CPU time it took."""
        if name in self.spent:
            return
        before = cpu_s()
        work(self.file([("", 1)]))
        self.spent[name] = cpu_s() - before
        (self.out / "spent.json").write_text(json.dumps({"spent": self.spent, "values": self.values}))
        print(f"{name}: {self.spent[name]:.0f} s of CPU time", flush=True)

    def refine(self, name: str) -> Callable[[Path], object]:
        folder = self.out / "batches" / name
        return lambda file: print(refine_donor(file, donor=name, run_folder=folder).seeds, flush=True)

    def train(self) -> dict[str, float]:
        """Train all donors; returns the CPU time behind each, seconds."""
        self.timed("donor", lambda file: train_donors(file, only="donor"))
        self.timed("scout", self.refine("scout"))
        self.timed("rl", self.refine("rl"))
        common, scout = self.spent["donor"], self.spent["scout"]
        budget = common + scout + self.spent["rl"]
        if "refined" not in self.spent:
            self.values["completions"] = max(8, round(16 * self.spent["rl"] / scout))
            self.values["epochs"] = max(1.0, round(2 * budget / common, 1))
        self.timed("refined", self.refine("refined"))
        self.timed("sft", lambda file: train_donors(file, only="sft"))
        return {
            "sft": self.spent["sft"],
            "refined": common + scout + self.spent["refined"],
            "rl": budget,
            "rl and its seeds": budget,
        }

    def measure(self, name: str) -> list[CellEstimate]:
        """Estimates of all cells, with this donor's spans and brute force."""
        loaded = load_study(self._measuring(name))
        return run_study(
            loaded.study, self.out / "measured" / name, machine=loaded.machine, sandboxing=loaded.sandboxing
        )

    def _measuring(self, name: str) -> Path:
        """The study's file with the donors of these spans alone: all others would be loaded too."""
        file = self.file(SPANS[name], seeds="seeds" in name)
        head, *donors = file.read_text().split("[[donors]]")
        donors[-1], spans = donors[-1].split("[[spans]]", 1)
        used = [part for part in donors if f'donor = "{part.split(chr(34))[1]}"' in spans]
        file.write_text("[[donors]]".join([head, *used]) + "[[spans]]" + spans)
        return file


def cpu_s() -> float:
    """CPU time of this process and of its finished children."""
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(used.ru_utime + used.ru_stime for used in both)


def table(found: dict[str, list[CellEstimate]], spent: dict[str, float]) -> list[str]:
    """The cells, and each donor's summary."""
    truth = {
        (r["step"], r["exploit_type"]): r
        for r in read_table(shipped_folder() / "truth.parquet").iter_rows(named=True)
        if r["run"] == "rl"
    }
    lines = ["| type | step | truth | " + " | ".join(found) + " |", "|" + "---|" * (3 + len(found))]
    for i, cell in enumerate(next(iter(found.values()))):
        row = truth[cell.step, cell.exploit_type]
        shown = [_shown(cells[i]) for cells in found.values()]
        lines.append(f"| {cell.exploit_type} | {cell.step} | {row['hits']} of {row['n']:,} | {' | '.join(shown)} |")
    lines += ["", "| donor | training, s of CPU | median error, decades | covers | median ESS | ESS a hit | resolved |"]
    lines.append("|" + "---|" * 7)
    for name, cells in found.items():
        errors, covers = [], 0
        for cell in cells:
            row, e = truth[cell.step, cell.exploit_type], cell.estimate
            errors.append(abs(e.log10_p - math.log10(row["hits"] / row["n"])) if e.log10_p is not None else math.inf)
            if e.interval_log10 is not None:
                covers += 10 ** e.interval_log10[0] <= row["hi"] and 10 ** e.interval_log10[1] >= row["lo"]
        ess = [cell.estimate.ess or 0.0 for cell in cells]
        a_hit = [(cell.estimate.ess or 0.0) / max(1, cell.estimate.n_hits) for cell in cells]
        lines.append(
            f"| {name} | {spent[name]:.0f} | {median(errors):.2f} | {covers} of {len(cells)} | {median(ess):.1f} | "
            f"{median(a_hit):.2f} | {sum(cell.estimate.resolved for cell in cells)} of {len(cells)} |"
        )
    return lines


def _shown(cell: CellEstimate) -> str:
    e = cell.estimate
    if e.log10_p is None or e.interval_log10 is None or e.ess is None:
        return "no hit"
    low, high = (f"{10**end:.1e}" for end in e.interval_log10)
    return f"{10**e.log10_p:.1e} ({low} to {high}), ESS {e.ess:.0f} of {e.n_hits} hits"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks/rl-donor"))
    parser.add_argument("--rl-steps", type=int, default=24)
    args = parser.parse_args()
    torch.set_num_threads(1)
    bench = Bench(args.out, args.rl_steps)
    spent = bench.train()
    found = {}
    for name in SPANS:
        found[name] = bench.measure(name)
        (args.out / "table.md").write_text("\n".join(table(found, spent)) + "\n")
        print("\n".join(table(found, spent)), flush=True)
    print(f"{cpu_s():.0f} s of CPU time in this process", flush=True)


if __name__ == "__main__":
    main()
