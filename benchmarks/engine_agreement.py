"""Two engines on the same tokens: what a demo sampled and scored by vLLM gives when transformers scores it.

    .venv-vllm/bin/forewarn demo --engine vllm --run-folder runs/demo-vllm
    python benchmarks/engine_agreement.py --demo runs/demo-vllm --out runs/benchmarks/engine_agreement

Completions and verdicts are those of the run; the reference engine recomputes only the scores on the same
weights. Prints the worst and the median difference of a hit's log-weight (nats) and of its log-ratios, and how far the
estimates move beside their own intervals.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import numpy as np
import torch

from forewarn.organism.demo import DemoPlan, demo_study
from forewarn.organism.recipe import Recipe
from forewarn.organism.shipped import Organism, shipped_folder
from forewarn.records import Policy
from forewarn.study import Machine, read_cells, read_hits, run_study


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--demo", type=Path, default=Path("runs/demo-vllm"))
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks/engine_agreement"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    theirs = args.demo / "study"
    root = args.out / "study"
    for name in ("completions", "verdicts"):
        shutil.copytree(theirs / name, root / name, dirs_exist_ok=True)
    shutil.copy2(theirs / "study.json", root / "study.json")
    plan = DemoPlan(engine="http://already-sampled")  # the widened models; nothing is asked of this engine
    policy = Policy(max_total_tokens=Recipe().model.max_total_tokens)
    study = demo_study(Organism(shipped_folder()), args.demo / "donors", plan, policy, args.demo / "wide")
    run_study(study, root, machine=Machine(workers=2, batch_size=640))
    ours = read_hits(root).join(read_hits(theirs), on="completion_id", suffix="_vllm")
    weight = np.abs(ours["log_weight"].to_numpy() - ours["log_weight_vllm"].to_numpy())
    ratio = np.array(
        [np.abs(np.array(a) - np.array(b)).max() for a, b in ours.select("log_ratios", "log_ratios_vllm").iter_rows()]
    )
    moved, inside, n = [], 0, 0
    for a, b in zip(read_cells(root), read_cells(theirs), strict=True):
        if a.estimate.log10_p is None or b.estimate.log10_p is None or a.estimate.interval_log10 is None:
            continue
        n += 1
        moved.append(abs(a.estimate.log10_p - b.estimate.log10_p))
        # importance weights may sum to more than 1; a probability's interval ends there
        inside += a.estimate.interval_log10[0] <= min(b.estimate.log10_p, 0.0) <= a.estimate.interval_log10[1]
    found = {
        "hits": len(weight),
        "log_weight_nats": {"worst": float(weight.max()), "median": float(np.median(weight))},
        "log_ratio_nats": {"worst": float(ratio.max()), "median": float(np.median(ratio))},
        "tokens_a_hit": float(np.mean(ours["n_tokens"].to_numpy())),
        "cells": n,
        "estimate_moves_decades": {"worst": float(max(moved)), "median": float(np.median(moved))},
        "inside_the_interval": inside,
    }
    print(json.dumps(found, indent=1))
    (args.out / "result.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
