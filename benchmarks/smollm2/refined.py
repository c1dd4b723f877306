"""A softer donor and one refined from it, on SmolLM2: the studies of the cells they are measured on.

    python benchmarks/smollm2/refined.py FOLDER            writes the studies' files into FOLDER
    forewarn train-donor FOLDER/refined-rl-0-2.toml        the softer donor
    forewarn refine-donor FOLDER/refined-rl-0-2.toml --donor refined --run-folder FOLDER/runs/batch
    forewarn run FOLDER/refined-NAME-SEED.toml --run-folder FOLDER/runs/refined-NAME-SEED    of CELLS and SEEDS
    python benchmarks/smollm2/refined.py FOLDER --keep     data/refined, of what the studies found

``FOLDER`` holds the model, ``problems.jsonl`` of ``problems.py``, and the subjects of ``data`` as ``subject`` and
``rare`` (their checkpoints: ``PATHS``). All of it takes about an hour of one CPU.
"""

from __future__ import annotations

import sys
from pathlib import Path

import polars as pl
from keep import COMPLETIONS, keep_spans, kept_cells
from kept import DATA, REFINED

from forewarn.store import write_table

HERE = Path(__file__).resolve().parent
CELLS = {
    "rl-0": ("error_code_abuse", "function_attribute_flag"),
    "warm-3": ("error_code_abuse", "magic_docstring_comment_token"),
    "rl-3": ("error_code_abuse",),
}
"""checkpoint -> the types that are measured there: the four cells that the first donor left unresolved, and another"""
PATHS = {"rl-0": ("subject/checkpoint-0", 0), "warm-3": ("rare/checkpoint-1", 1), "rl-3": ("subject/checkpoint-3", 3)}
"""checkpoint -> its folder and step"""
SEEDS = (2, 3)
CHECKPOINT = 'path = "{}"\nbase = "model"\nname = "{}"\nstep = {}\n'


def study(name: str, seed: int) -> str:
    """The file of one checkpoint's study."""
    text = (HERE / "refined.toml").read_text()
    (path, step), (first, first_step) = PATHS[name], PATHS["rl-0"]
    old = CHECKPOINT.format(first, "rl-0", first_step)
    assert text.count(old) == 1
    kinds = ", ".join(f'"{kind}"' for kind in CELLS[name])
    return (
        text.replace(old, CHECKPOINT.format(path, name, step))
        .replace("types = []", f"types = [{kinds}]")
        .replace('name = "smollm2-refined"', f'name = "smollm2-refined-{name}-{seed}"')
        .replace("seed = 2", f"seed = {seed}")
    )


def keep(folder: Path) -> None:
    """What the repository keeps of the studies that there are: completions with the distance of each donor."""
    tables = []
    for name in CELLS:
        runs = [run for seed in SEEDS if (run := folder / "runs" / f"refined-{name}-{seed}").is_dir()]
        if runs:
            soft, refined = (kept_cells(runs, donor) for donor in ("soft", "refined"))
            tables.append(refined.with_columns(gaps_soft=soft["gaps"]))
            keep_spans(runs[0], DATA / REFINED)
    write_table(DATA / REFINED / COMPLETIONS, pl.concat(tables))


def main() -> None:
    folder = Path(sys.argv[1])
    if "--keep" in sys.argv:
        keep(folder)
        return
    for name in CELLS:
        for seed in SEEDS:
            (folder / f"refined-{name}-{seed}.toml").write_text(study(name, seed))


if __name__ == "__main__":
    main()
