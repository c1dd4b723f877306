"""A third round of donor refinement on the organism's cells that stay unresolved: estimates before and after.

    forewarn demo --run-folder runs/demo
    python benchmarks/organism_refinement.py --demo runs/demo --out runs/benchmarks/refinement

Takes the exploit types that are unresolved at some checkpoint of the RL run in a finished demo. Draws a batch for them
at the first checkpoint (200 completions a problem, 120 of them from donors at half their LoRA's scale: nearer
to the subject), fits a new donor to the exploits weighted by p/q, reasoning included, and measures the same cells with
as many completions as the demo, seeds of their own, once with the demo's donors and once with the new one in the
explorer's place. Nothing of the batch enters an estimate.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

import torch

from forewarn.checkpoints.load import load_model
from forewarn.organism.chat import FORMAT
from forewarn.organism.demo import SPANS
from forewarn.organism.donors import DONOR, EXPLORER, donor_settings
from forewarn.organism.problems import measured_problems
from forewarn.organism.recipe import Recipe
from forewarn.organism.shipped import Organism, shipped_folder
from forewarn.records import UNBOUNDED, Policy, Span
from forewarn.store import read_table
from forewarn.study import CellEstimate, Machine, ModelSource, PlannedSpan, Study, read_cells, run_study
from forewarn.study.donors.batch import weighted_exploits
from forewarn.training.refine import refinement_examples
from forewarn.training.sft import SETTINGS_FILE, save, sft

SEEKER = "seeker"
BATCH = (
    PlannedSpan(Span(), 40),
    PlannedSpan(Span(0, UNBOUNDED, DONOR), 20),
    PlannedSpan(Span(0, UNBOUNDED, DONOR, 0.5), 40),
    PlannedSpan(Span(UNBOUNDED, UNBOUNDED, EXPLORER), 20),
    PlannedSpan(Span(UNBOUNDED, UNBOUNDED, EXPLORER, 0.5), 40),
    PlannedSpan(Span(0, UNBOUNDED, EXPLORER, 0.5), 40),
)
MEASURED = (0, 2, 3, 5)
"""positions of the checkpoints measured again"""


def unresolved_types(cells: list[CellEstimate]) -> dict[str, list[str]]:
    """Type -> why each cell of the RL run is unresolved; only types with at least one hit anywhere."""
    mine = [c for c in cells if c.checkpoint_id.startswith("rl/")]
    found: dict[str, list[str]] = {}
    for cell in mine:
        if not cell.estimate.resolved and cell.estimate.log10_p is not None and cell.estimate.log10_p < -2:
            found.setdefault(cell.exploit_type, []).append(f"step {cell.step}: {cell.estimate.reason}")
    return found


class Bench:
    """The organism, the demo's donors, and where the work goes."""

    def __init__(self, demo: Path, out: Path, types: tuple[str, ...]) -> None:
        self.organism, self.out, self.types = Organism(shipped_folder()), out, types
        self._donors = {name: demo / "donors" / name for name in (DONOR, EXPLORER)} | {SEEKER: out / "donors" / SEEKER}
        self._policy = Policy(max_total_tokens=Recipe().model.max_total_tokens)
        self._machine = Machine(workers=2, batch_size=640)

    def study(self, name: str, steps: list[int], spans: tuple[PlannedSpan, ...], seed: int) -> Study:
        base = str(self.organism.base)
        used = {planned.span.donor for planned in spans}
        return Study(
            name=name,
            problems=tuple(p for t in self.types for p in measured_problems(t)),
            checkpoints=tuple(ModelSource(f"rl/{s}", base, str(self.organism.adapter("rl", s)), s) for s in steps),
            donors=tuple(ModelSource(n, base, str(f)) for n, f in self._donors.items() if n in used),
            spans=spans,
            policy=self._policy,
            seed=seed,
            channel_format=FORMAT,
        )

    def run(self, study: Study) -> list[CellEstimate]:
        return run_study(study, self.out / study.name, machine=self._machine)

    def refine(self, first_step: int) -> int:
        """Draw the batch and train the new donor on it; how many distinct exploits it saw."""
        study = self.study("batch", [first_step], BATCH, 101)
        self.run(study)
        found = weighted_exploits(self.out / study.name, study)
        if not (self._donors[SEEKER] / SETTINGS_FILE).exists():
            settings = donor_settings(3)
            examples = refinement_examples(found, 192, max_share=0.05, seed=1)
            save(sft(load_model(self.organism.base), examples, settings), self._donors[SEEKER], settings)
        return len(found)


def with_seeker(planned: PlannedSpan) -> PlannedSpan:
    span = planned.span
    return PlannedSpan(Span(span.k, span.m, SEEKER), planned.count) if span.donor == EXPLORER else planned


def shown(cell: CellEstimate) -> str:
    e = cell.estimate
    if e.log10_p is None or e.interval_log10 is None or e.ess is None:
        return "no hit"
    low, high = (f"{10**end:.1e}" if math.isfinite(end) else "0" for end in e.interval_log10)
    return f"{10**e.log10_p:.1e} [{low}, {high}], ESS {e.ess:.0f}, {'resolved' if e.resolved else 'unresolved'}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--demo", type=Path, default=Path("runs/demo"))
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks/refinement"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    why = unresolved_types(read_cells(args.demo / "study"))
    print(json.dumps(why, indent=1), flush=True)
    bench = Bench(args.demo, args.out, tuple(why))
    steps = [bench.organism.steps("rl")[i] for i in MEASURED]
    print(f"{bench.refine(steps[0])} exploits in the batch", flush=True)
    before = bench.run(bench.study("before", steps, SPANS, 202))
    after = bench.run(bench.study("after", steps, tuple(map(with_seeker, SPANS)), 202))
    truth = {
        (r["step"], r["exploit_type"]): f"{r['hits']}/{r['n']} [{r['lo']:.1e}, {r['hi']:.1e}]"
        for r in read_table(shipped_folder() / "truth.parquet").iter_rows(named=True)
        if r["run"] == "rl"
    }
    lines = ["| exploit type | step | truth | before | after |", "|:--|--:|:--|:--|:--|"]
    for a, b in zip(before, after, strict=True):
        key = truth[a.step, a.exploit_type]
        lines.append(f"| {a.exploit_type} | {a.step} | {key} | {shown(a)} | {shown(b)} |")
    print("\n".join(lines))
    (args.out / "table.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
