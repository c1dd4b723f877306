"""A donor refined in three rounds from the subject itself, on SmolLM2: the studies of the cells it is measured on.

    python benchmarks/smollm2/refined.py FOLDER            writes the studies' files into FOLDER
    forewarn train-donor FOLDER/refined-rl-0-1.toml        the softer donor
    forewarn refine-donor FOLDER/refined-NAME-1.toml --donor refined --run-folder FOLDER/runs/rounds-NAME
    forewarn run FOLDER/refined-NAME-PART.toml --run-folder FOLDER/runs/refined-NAME-PART     NAME of CELLS, PART 1, 2
    python benchmarks/smollm2/refined.py FOLDER --keep     data/refined: what the studies found, and the donors

``FOLDER`` holds the model, ``problems.jsonl`` of ``problems.py``, and the subjects of ``data`` as ``subject`` and
``rare`` (their checkpoints: ``PATHS``).

Fixed before anything was drawn with it: the four cells with a truth of 20 hits or more that the study of ``study.toml``
left unresolved; a donor for each of their two checkpoints, refined on that checkpoint's two types alone; both parts of
a study together, 832 completions a cell as there, of which the first part, 416, is half (held against the first half
of the other). A cell is resolved by the verdict of the estimate itself. Told are estimate against truth, ESS, whether
it is resolved, and the share resolved of all nine cells, of which the other five keep their estimates; and ``reach.py``
on the truth's exploits, of which none has fitted a donor.
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
    "warm-3": ("error_code_abuse", "magic_docstring_comment_token"),
    "rl-0": ("error_code_abuse", "function_attribute_flag"),
}
"""checkpoint -> the types that are measured there"""
PATHS = {"rl-0": "subject/checkpoint-0", "warm-3": "rare/checkpoint-1"}
PARTS = (1, 2)
"""seeds of a checkpoint's two studies"""


def study(name: str, part: int) -> str:
    """The file of one part of a checkpoint's study."""
    text = (HERE / "refined.toml").read_text()
    kinds = ", ".join(f'"{kind}"' for kind in CELLS[name])
    for old, new in (
        ("CHECKPOINT", PATHS[name]),
        ("NAME", name),
        ("types = []", f"types = [{kinds}]"),
        ('name = "smollm2-refined"', f'name = "smollm2-refined-{name}-{part}"'),
        ("seed = 0", f"seed = {part}"),
    ):
        assert old in text
        text = text.replace(old, new)
    return text


def keep(folder: Path) -> None:
    """What the repository keeps of the studies and donors that there are."""
    runs = sorted((folder / "runs").glob("refined-*"))
    write_table(DATA / REFINED / COMPLETIONS, kept_cells(runs, REFINED))
    keep_spans(runs[0], DATA / REFINED)
    for name in CELLS:
        for source in sorted((folder / f"refined-{name}").glob("adapter_*")):
            (DATA / REFINED / name).mkdir(exist_ok=True)
            shutil.copyfile(source, DATA / REFINED / name / source.name)


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
