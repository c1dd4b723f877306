"""A donor refined in two rounds from the subject itself, on SmolLM2, and what is measured with it.

    python benchmarks/smollm2/refined.py FOLDER            writes the studies' files into FOLDER
    forewarn train-donor FOLDER/rounds.toml                the softer donor
    forewarn refine-donor FOLDER/rounds.toml --donor refined --run-folder FOLDER/runs/rounds
    forewarn run FOLDER/refined-NAME-DONOR-PART.toml --run-folder FOLDER/runs/refined-NAME-DONOR-PART
    python benchmarks/smollm2/refined.py FOLDER --keep     data/refined: what the studies found, and the donors

``FOLDER`` holds the model, ``problems.jsonl`` of ``problems.py``, and the subjects of ``data`` as ``subject`` and
``rare`` (their checkpoints: ``PATHS``).

Before a completion was drawn with it, ``reach.py`` had told of the first round's donor that it reaches
``function_attribute_flag`` at ``rl-0`` best of the four cells that the study of ``study.toml`` left unresolved
(``CELLS``), and that windows do it, not whole completions. Fixed then, for the CPU time that was left: that cell alone,
that donor, two parts of 208 completions, both told; resolved by the verdict of the estimate itself.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from compact import compact
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
STUDIES = {("rl-0", "round-1"): ("function_attribute_flag",)}
"""(checkpoint, donor) -> the types that are measured"""
PARTS = (1, 2)
"""seeds of a study"""
FIRST_DONOR, ALONE = "# as in study.toml", "# of the first round alone"
"""where the tables of the donors begin in ``refined.toml``"""
CHECKPOINT = '[[checkpoints]]\npath = "{}"\nbase = "model"\nname = "{}"\nstep = {}\n'


def study(name: str, donor: str, kinds: Sequence[str], called: str, seed: int) -> str:
    """The file of a study of some types of a checkpoint with a donor. That of ``rounds.toml`` refines it."""
    text = (HERE / "refined.toml").read_text()
    # a study lists donors that are there
    drop, until = (ALONE, "# brute force") if donor == REFINED else (FIRST_DONOR, ALONE)
    text = text[: text.index(drop)] + text[text.index(until) :]
    path, step = PATHS[name]
    for old, new in (
        ("CHECKPOINTS\n", CHECKPOINT.format(path, name, step)),
        ("types = []", "types = [" + ", ".join(f'"{kind}"' for kind in kinds) + "]"),
        ('name = "smollm2-refined"', f'name = "smollm2-{called}"'),
        ("seed = 0", f"seed = {seed}"),
        ("DONOR", donor),
    ):
        assert old in text
        text = text.replace(old, new)
    return text


def keep(folder: Path) -> None:
    """What the repository keeps of the donors, and of the studies if there are any."""
    for source in (folder / REFINED, *sorted((folder / REFINED).glob("round-*"))):
        if (source / "adapter_config.json").exists():
            compact(source, DATA / REFINED / source.relative_to(folder / REFINED))
    if runs := sorted((folder / "runs").glob("refined-*")):
        [(_, donor)] = STUDIES
        write_table(DATA / REFINED / COMPLETIONS, kept_cells(runs, donor))
        keep_spans(runs[0], DATA / REFINED)


def main() -> None:
    folder = Path(sys.argv[1])
    if "--keep" in sys.argv:
        keep(folder)
        return
    (folder / "rounds.toml").write_text(study("rl-0", REFINED, CELLS["rl-0"], "refined-rl-0-1", 1))
    for (name, donor), kinds in STUDIES.items():
        for part in PARTS:
            called = f"refined-{name}-{donor}-{part}"
            (folder / f"{called}.toml").write_text(study(name, donor, kinds, called, part))


if __name__ == "__main__":
    main()
