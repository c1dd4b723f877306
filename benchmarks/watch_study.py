"""A small study of the bundled organism, as a file to be watched; and reading what a watcher has done."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from forewarn.organism.problems import measured_problems
from forewarn.organism.shipped import shipped_folder
from forewarn.problems.files import export
from forewarn.store import read_json
from forewarn.study import read_results

TEXT = """name = "{name}"
seed = 0

[problems]
file = "problems.jsonl"

[policy]
max_total_tokens = 64

[format]
name = "plain-think"

[engine]
batch_size = 640

[sandbox]
workers = 1

[[checkpoints]]
path = "out"
base = "{base}"

{donors}
{spans}
{more}
"""
DONOR = """[[donors]]
name = "{name}"
path = "{path}"
base = "{base}"
"""
TRAINING = """
[donors.training]
epochs = 10
batch_size = 8
learning_rate = 2e-3
"""
FEW_SPANS = """[[spans]]
count = 4

[[spans]]
m = "inf"
count = 4
"""


def forewarn(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "forewarn", *map(str, arguments)]


def one_thread() -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}


def write_study(
    home: Path,
    *,
    name: str,
    types: Sequence[str],
    problems_of_each: int,
    spans: str = FEW_SPANS,
    donors: Mapping[str, Path] | None = None,
    more: str = "",
) -> Path:
    """Write the study's file and its problems into ``home``, and train its donor where none are given, by name.

    Returns the file.
    """
    home.mkdir(parents=True, exist_ok=True)
    (home / "out").mkdir(exist_ok=True)
    export([p for kind in types for p in measured_problems(kind)[:problems_of_each]], home / "problems.jsonl")
    base, file = shipped_folder() / "base", home / "study.toml"
    tables = [
        DONOR.format(name=one, path=path, base=base) for one, path in (donors or {"donor": Path("donor")}).items()
    ]
    if donors is None:
        tables.append(TRAINING)
    file.write_text(TEXT.format(name=name, base=base, donors="\n".join(tables), spans=spans, more=more))
    if donors is None:
        subprocess.run(forewarn("train-donor", file), check=True, env=one_thread(), stdout=subprocess.DEVNULL)
    return file


def estimates(root: Path) -> dict[tuple[str, str], tuple[float | None, int, int, float]]:
    """(checkpoint, type) -> what was estimated, to be compared bit for bit."""
    return {
        (one.checkpoint_id, one.exploit_type): (
            one.estimate.log10_p,
            one.estimate.n_hits,
            one.estimate.n,
            one.estimate.upper_bound,
        )
        for one in read_results(root).estimates
    }


def shards(root: Path, kind: str = "completions") -> dict[str, tuple[int, int]]:
    """Name -> (inode, time of writing) of the shards that are there whole."""
    found = {}
    for path in (root / kind).glob("*.parquet"):
        if not path.name.startswith("."):
            stat = path.stat()
            found[path.name] = (stat.st_ino, stat.st_mtime_ns)
    return found


def receipts(root: Path) -> Mapping[str, Any]:
    """What the run folder says of the models behind its checkpoints."""
    held = read_json(root / "manifest.json")
    return {name: one for name, one in held["model_receipts"].items() if not name.startswith("donor:")}
