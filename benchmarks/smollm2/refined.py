"""A donor refined in two rounds from the subject itself, on SmolLM2: the studies of the cells it is measured on.

    python benchmarks/smollm2/refined.py FOLDER            writes the studies' files into FOLDER
    forewarn train-donor FOLDER/refined-rl-0-1.toml        the softer donor
    forewarn refine-donor FOLDER/refined-rl-0-1.toml --donor refined --run-folder FOLDER/runs/rounds
    forewarn run FOLDER/refined-NAME-PART.toml --run-folder FOLDER/runs/refined-NAME-PART   NAME of CELLS, PART of PARTS
    python benchmarks/smollm2/refined.py FOLDER --keep     data/refined: what the studies found, and the donor

``FOLDER`` holds the model, ``problems.jsonl`` of ``problems.py``, and the subjects of ``data`` as ``subject`` and
``rare`` (their checkpoints: ``PATHS``).

Fixed before anything was drawn with it: the four cells with a truth of 20 hits or more that the study of ``study.toml``
left unresolved, at two checkpoints that were trained apart; one donor for all four, refined at ``rl-0`` on their three
types; part after part of 208 completions a cell, of both checkpoints in turn, for as long as the machine is there, at
most the four that make 832 as in ``study.toml``; none is looked at before the last is drawn, and all are told. A cell
is resolved by the verdict of the estimate itself. Told are estimate against truth, ESS, whether it is resolved, and the
share resolved of all nine cells, of which the other five keep their estimates; and ``reach.py`` on the truth's
exploits, of which none has fitted the donor.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from keep import COMPLETIONS, keep_spans, kept_cells
from kept import DATA, REFINED

from forewarn.store import write_table

HERE = Path(__file__).resolve().parent
CELLS = {
    "rl-0": ("error_code_abuse", "function_attribute_flag"),
    "warm-3": ("error_code_abuse", "magic_docstring_comment_token"),
}
"""checkpoint -> the types that are measured there"""
PATHS = {"rl-0": ("subject/checkpoint-0", 0), "warm-3": ("rare/checkpoint-1", 1)}
"""checkpoint -> its folder and step"""
PARTS = (1, 2, 3, 4)
"""seeds of a checkpoint's studies"""
CHECKPOINT = '[[checkpoints]]\npath = "{}"\nbase = "model"\nname = "{}"\nstep = {}\n'


def study(name: str, part: int) -> str:
    """The file of one part of a checkpoint's study. That of ``rl-0`` refines the donor, too."""
    text = (HERE / "refined.toml").read_text()
    kinds = ", ".join(f'"{kind}"' for kind in CELLS[name])
    path, step = PATHS[name]
    for old, new in (
        ("CHECKPOINTS\n", CHECKPOINT.format(path, name, step)),
        ("types = []", f"types = [{kinds}]"),
        ('name = "smollm2-refined"', f'name = "smollm2-refined-{name}-{part}"'),
        ("seed = 0", f"seed = {part}"),
    ):
        assert text.count(old) == 1
        text = text.replace(old, new)
    return text


def keep(folder: Path) -> None:
    """What the repository keeps of the studies and of the donor."""
    runs = sorted((folder / "runs").glob("refined-*"))
    write_table(DATA / REFINED / COMPLETIONS, kept_cells(runs, REFINED))
    keep_spans(runs[0], DATA / REFINED)
    for source in sorted((folder / REFINED).glob("adapter_*")):
        shutil.copyfile(source, DATA / REFINED / source.name)


def main() -> None:
    folder = Path(sys.argv[1])
    if "--keep" in sys.argv:
        keep(folder)
        return
    for name in CELLS:
        for part in PARTS:
            (folder / f"refined-{name}-{part}.toml").write_text(study(name, part))


if __name__ == "__main__":
    main()
