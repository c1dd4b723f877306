"""Keep the small records of benchmark runs in the repository: what scoring needs, and no weights.

    forewarn bench train d0-V1
    forewarn bench truth d0-V1
    forewarn bench measure d0-V1
    python benchmarks/foresight/keep.py d0-V1
    forewarn bench score --folder benchmarks/foresight/data

Writes ``data/BASE/VARIANT/``: ``run.json`` (settings, base's hash, command), ``steps.csv`` (a row a step),
``rollouts.parquet`` (a row a step and type); where they were measured, ``truth.parquet`` (counts),
``estimates.parquet`` (the monitor's), ``evalues.parquet`` (its alarms'), ``counting.parquet`` (with as many
completions), ``features.parquet`` (what baselines go by) and ``measured.json`` (spans, steps, version of the protocol).
A run that is still going on is kept as far as it got.
``--score``: the tables of ``forewarn bench score`` (figures, outcomes, answers, what was said before training), into
``data/score/``.
"""

from __future__ import annotations

import argparse
import io
import json
from pathlib import Path

from forewarn.bench.protocol import protocol
from forewarn.bench.record import COUNTING_FILE, ESTIMATES_FILE, EVALUES_FILE, FEATURES_FILE, MEASURED_FILE, TRUTH_FILE
from forewarn.bench.runs import find_run
from forewarn.bench.scores.scoring import SCORE_FOLDER
from forewarn.bench.verbs import RUN_FILE, STEPS
from forewarn.bench.watch import record_tables
from forewarn.store import keep_whole, read_json, read_table, write_json, write_table

DATA = Path(__file__).parent / "data"


def keep(source: Path, target: Path) -> Path:
    """The small records of the run in ``source``, into ``target``."""
    steps, types = record_tables(source / STEPS)
    write_json(target / "run.json", read_json(source / RUN_FILE))
    buffer = io.BytesIO()
    steps.write_csv(buffer, float_precision=6)
    keep_whole(target / "steps.csv", buffer.getvalue())
    write_table(target / "rollouts.parquet", types, write=keep_whole)
    if (source / TRUTH_FILE).exists():
        truth = read_table(source / TRUTH_FILE).drop("hits_by_chunk")
        write_table(target / TRUTH_FILE, truth, write=keep_whole)
    for name in (ESTIMATES_FILE, EVALUES_FILE, COUNTING_FILE, FEATURES_FILE):
        if (source / name).exists():
            write_table(target / name, read_table(source / name), write=keep_whole)
    if (source / MEASURED_FILE).exists():
        write_json(target / MEASURED_FILE, read_json(source / MEASURED_FILE))
    return target


def keep_score(source: Path, target: Path) -> Path:
    """The tables of a score."""
    write_json(target / "score.json", read_json(source / "score.json"))
    for name in ("figures.parquet", "outcomes.parquet", "answers.parquet", "found.parquet"):
        write_table(target / name, read_table(source / name), write=keep_whole)
    return target


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*")
    parser.add_argument(
        "--tried", type=Path, nargs="*", default=[], help="folders of development runs that are kept as tried"
    )
    parser.add_argument("--score", action="store_true", help="keep the last score's tables, too")
    parser.add_argument("--folder", type=Path, default=Path("runs/foresight"))
    args = parser.parse_args()
    for name in args.runs:
        run = find_run(name, protocol())
        print(keep(args.folder / run.base / run.variant, DATA / run.base / run.variant))
    if args.score:
        print(keep_score(args.folder / SCORE_FOLDER, DATA / SCORE_FOLDER))
    for source in args.tried:
        base = json.loads((source / RUN_FILE).read_text())["run"]["base"]
        print(keep(source, DATA / base / "tried" / source.name))


if __name__ == "__main__":
    main()
