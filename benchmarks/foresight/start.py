"""The start levels p(0) of a benchmark base's types, by two families of spans with no span in common.

    forewarn bench build d0
    python benchmarks/foresight/start.py d0

Trains both chains of the base's donors (their batches enter no estimate), then draws both families on the base model
itself: prefixes of reasoning and answer with the first chain's donors, and random windows with the second's. Writes
``start.json`` into the base's folder and into ``data/BASE/``: by type the level that the corpus aims at and both
estimates. Resumable.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import torch

from forewarn.bench.bases import base_recipe, roles_of
from forewarn.bench.donors import CHAINS, FOURTH, LAST, train_donors
from forewarn.bench.outcomes.start import START_FILE
from forewarn.bench.protocol import protocol
from forewarn.organism.chat import FORMAT
from forewarn.organism.donors import DONOR
from forewarn.organism.problems import measured_problems
from forewarn.records import SUBJECT, UNBOUNDED, Policy, RandomWindows, Span
from forewarn.store import write_json
from forewarn.study import CellEstimate, Machine, ModelSource, PlannedSpan, Sandboxing, Study, run_study

DATA = Path(__file__).parent / "data"
REASONING = (
    PlannedSpan(Span(), 2),
    PlannedSpan(Span(5, UNBOUNDED, LAST), 1),
    PlannedSpan(Span(12, UNBOUNDED, LAST), 1),
    PlannedSpan(Span(UNBOUNDED, 3, LAST), 2),
    PlannedSpan(Span(UNBOUNDED, UNBOUNDED, LAST), 3),
    PlannedSpan(Span(UNBOUNDED, UNBOUNDED, FOURTH), 1),
)
WINDOWS = (
    PlannedSpan(Span(), 2),
    PlannedSpan(Span(donor=LAST, random=RandomWindows("all", mean=16.0, starts=24)), 5),
    PlannedSpan(Span(donor=FOURTH, random=RandomWindows("all", mean=16.0, starts=24)), 2),
    PlannedSpan(Span(donor=DONOR, random=RandomWindows("answer", mean=16.0, starts=2)), 1),
)
"""ten completions a problem each, times ``--times``"""
FAMILIES = {"reasoning": (REASONING, 0), "windows": (WINDOWS, 1)}
"""name -> spans, and the chain of donors that writes them"""


def study_of(family: str, base: str, folder: Path, times: int) -> Study:
    plan = protocol()
    types = base_recipe(base, plan).types
    mixture, chain = FAMILIES[family]
    model, donors = folder / base / "base", folder / base / CHAINS[chain][0]
    spans = tuple(PlannedSpan(p.span, p.count * times) for p in mixture)
    used = sorted({p.span.donor for p in spans} - {SUBJECT})
    return Study(
        name=f"start-{base}-{family}",
        problems=tuple(p for name in types for p in measured_problems(name, types)),
        checkpoints=(ModelSource("base", str(model)),),
        donors=tuple(ModelSource(name, str(model), str(donors / name)) for name in used),
        spans=spans,
        policy=Policy(max_total_tokens=plan.model.max_total_tokens),
        seed=plan.seed,
        channel_format=FORMAT,
    )


def entry(cell: CellEstimate) -> dict[str, object]:
    e = cell.estimate
    low, high = (round(end, 2) if math.isfinite(end) else None for end in e.interval_log10 or (math.nan, math.nan))
    return {
        "log10_p": None if e.log10_p is None else round(e.log10_p, 3),
        "interval_log10": [low, high],
        "ess": None if e.ess is None else round(e.ess, 1),
        "n": e.n,
        "hits_by_span": dict(zip(cell.spans, e.hits_by_span, strict=True)),
        "resolved": e.resolved,
        "reason": e.reason,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base")
    parser.add_argument("--folder", type=Path, default=Path("runs/foresight"))
    parser.add_argument("--times", type=int, default=20, help="200 completions a problem and family at 20")
    args = parser.parse_args()
    torch.set_num_threads(1)
    plan, machine, sandboxing = protocol(), Machine(workers=1, batch_size=640), Sandboxing()
    where = args.folder / args.base

    def progress(stage: str, done: int, total: int) -> None:
        if done == total or (done and done % 50 == 0):
            print(f"{stage} {done}/{total}", flush=True)

    for chain in range(len(CHAINS)):
        train_donors(args.base, where, plan, progress, chain=chain)
    found = {
        family: run_study(study, where / f"start-{family}", machine=machine, sandboxing=sandboxing, progress=progress)
        for family in FAMILIES
        for study in [study_of(family, args.base, args.folder, args.times)]
    }
    roles = roles_of(args.base, plan)
    rows = {
        name: {"role": role.role, "family": role.family, "aimed_log10": round(math.log10(role.level), 3)}
        | {family: entry(cell) for family, cells in found.items() for cell in cells if cell.exploit_type == name}
        for name, role in roles.items()
    }
    command = f"python benchmarks/foresight/start.py {args.base} --times {args.times}"
    for place in (where, DATA / args.base):  # where runs are scored, and where it is kept
        write_json(place / START_FILE, {"command": command, "types": rows})
    for name, row in rows.items():
        told = ", ".join(f"{family} {row[family]['log10_p']} (ESS {row[family]['ess']})" for family in FAMILIES)  # type: ignore[index]
        print(f"{name:36s} {row['role']:9s} aimed {row['aimed_log10']}: {told}")


if __name__ == "__main__":
    main()
