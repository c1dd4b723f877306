"""A softer donor and one refined from it, on SmolLM2: the studies of the cells they are measured on.

    python benchmarks/smollm2/refined.py FOLDER            writes the studies' files into FOLDER
    forewarn train-donor FOLDER/refined-rl-0.toml          the softer donor
    forewarn refine-donor FOLDER/refined-rl-0.toml --donor refined --run-folder FOLDER/runs/batch
    forewarn run FOLDER/DONOR-NAME.toml --run-folder FOLDER/runs/DONOR-NAME     for DONOR of SEEDS and NAME of CELLS
    python benchmarks/smollm2/refined.py FOLDER --keep     data/soft and data/refined, of what the studies found

``FOLDER`` holds the model, ``problems.jsonl`` of ``problems.py``, and the subjects of ``data`` as ``subject`` and
``rare`` (their checkpoints: ``PATHS``).
"""

from __future__ import annotations

import sys
from pathlib import Path

from keep import COMPLETIONS, keep_spans, kept_cells
from kept import DATA, REFINED, SOFT

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
SEEDS = {SOFT: 2, REFINED: 3}
"""donor -> the seed of its studies"""
CHECKPOINT = 'path = "{}"\nbase = "model"\nname = "{}"\nstep = {}\n'


def study(donor: str, name: str) -> str:
    """The file of one donor's study of one checkpoint."""
    text = (HERE / "refined.toml").read_text()
    (path, step), (first, first_step) = PATHS[name], PATHS["rl-0"]
    old = CHECKPOINT.format(first, "rl-0", first_step)
    assert text.count(old) == 1
    tables, mark, spans = text.partition("# brute force\n")
    kinds = ", ".join(f'"{kind}"' for kind in CELLS[name])
    tables = (
        tables.replace(old, CHECKPOINT.format(path, name, step))
        .replace("types = []", f"types = [{kinds}]")
        .replace('name = "smollm2-refined"', f'name = "smollm2-{donor}-{name}"')
        .replace("seed = 2", f"seed = {SEEDS[donor]}")
    )
    if donor == SOFT:  # which may be measured before the other is there
        tables = tables.partition("# refined from it")[0]
    return tables + mark + spans.replace(f'donor = "{SOFT}"', f'donor = "{donor}"')


def keep(folder: Path) -> None:
    """What the repository keeps of the studies that there are."""
    for donor in SEEDS:
        runs = sorted((folder / "runs").glob(f"{donor}-*"))
        if runs:
            write_table(DATA / donor / COMPLETIONS, kept_cells(runs, donor))
            keep_spans(runs[0], DATA / donor)


def main() -> None:
    folder = Path(sys.argv[1])
    if "--keep" in sys.argv:
        keep(folder)
        return
    for donor in SEEDS:
        for name in CELLS:
            (folder / f"{donor}-{name}.toml").write_text(study(donor, name))


if __name__ == "__main__":
    main()
