"""Adapters small enough for a repository: weights in bfloat16, no path of the machine that trained them.

    python benchmarks/smollm2/compact.py RUN FOLDER [STEP ...]

What is measured is the rounded adapter, so this comes before the truth.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from forewarn.checkpoints.layouts.base import TRAINER_STATE
from forewarn.store import write_json

BASE = "SmolLM2-135M-Instruct"


def compact(source: Path, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    weights = load_file(source / "adapter_model.safetensors")
    save_file(
        {name: value.to(torch.bfloat16).contiguous() for name, value in weights.items()},
        target / "adapter_model.safetensors",
        metadata={"format": "pt"},
    )
    config = json.loads((source / "adapter_config.json").read_text())
    write_json(target / "adapter_config.json", config | {"base_model_name_or_path": BASE})


def main() -> None:
    run, folder, steps = Path(sys.argv[1]), Path(sys.argv[2]), [int(step) for step in sys.argv[3:]]
    for source in sorted(run.glob("checkpoint-*")):
        step = int(source.name.rpartition("-")[2])
        if (source / TRAINER_STATE).exists() and (not steps or step in steps):
            compact(source, folder / source.name)
            print(f"{folder / source.name}")


if __name__ == "__main__":
    main()
