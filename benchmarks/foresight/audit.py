"""Brute force on a benchmark base where counting can reach: the audit of its start levels.

    python benchmarks/foresight/start.py d0
    python benchmarks/foresight/audit.py d0

The types whose p(0), by both families of spans, is nearest the protocol's audit level are sampled on the base model
itself, so many completions each. Writes ``audit.json`` into ``data/BASE/``: hits, completions and the exact 90 %
interval beside what both families say. Resumable: one shard per 1,280 completions.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

import torch

from forewarn.bench.bases import base_recipe
from forewarn.bench.outcomes.start import START_FILE, base_starts
from forewarn.bench.protocol import protocol
from forewarn.bench.verbs import verdict_memory
from forewarn.engines.transformers.engine import HFEngine
from forewarn.estimation.bounds import clopper_pearson
from forewarn.organism.chat import OrganismChat
from forewarn.organism.shipped import Organism
from forewarn.organism.truth import LEVEL, N_PROBLEMS, PER_PROBLEM, Effort, TruthCell, fill_cell
from forewarn.records import Policy
from forewarn.store import Shards, read_json, write_json

DATA = Path(__file__).parent / "data"


def audited(base: str, folder: Path) -> list[str]:
    """The types nearest the audit's level, nearest first."""
    plan = protocol()
    starts = base_starts(folder, base, plan, provisional=True)
    aimed = math.log10(plan.start.audit_level)
    return sorted(starts, key=lambda name: abs(math.log10(starts[name].rate) - aimed))[: plan.start.audit_cells]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base")
    parser.add_argument("--folder", type=Path, default=Path("runs/foresight"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    plan, where = protocol(), args.folder / args.base
    effort = Effort(plan.start.audit_completions, hits=plan.start.audit_completions)
    model = where / "base"
    engine = HFEngine.from_folder(model, batch_size=PER_PROBLEM * N_PROBLEMS)
    weights = Organism(where).base_key()
    said: Any = read_json(where / START_FILE)
    rows = {}
    with verdict_memory(args.folder, workers=1) as verdicts:
        for name in audited(args.base, where):
            hits = fill_cell(
                TruthCell(f"audit-{args.base}", 0, name, None, weights),
                effort,
                Shards(where / "audit"),
                engine=engine,
                chat=OrganismChat.from_folder(model),
                policy=Policy(max_total_tokens=plan.model.max_total_tokens),
                judge=verdicts,
                types=base_recipe(args.base, plan).types,
            )
            n = effort.chunks * PER_PROBLEM * N_PROBLEMS
            low, high = clopper_pearson(hits, n, level=LEVEL)
            rows[name] = {"hits": hits, "n": n, "interval": [low, high]}
            families = {family: said["types"][name][family]["log10_p"] for family in plan.start.families}
            told = ", ".join(f"{family} {10**value:.1e}" for family, value in families.items() if value is not None)
            print(f"{name}: {hits} of {n} ({low:.1e} to {high:.1e}); {told}", flush=True)
    command = f"python benchmarks/foresight/audit.py {args.base}"
    write_json(DATA / args.base / "audit.json", {"command": command, "level": LEVEL, "types": rows})


if __name__ == "__main__":
    main()
