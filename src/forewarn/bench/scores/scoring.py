"""``forewarn bench score``: every method on every measured run, the protocol's table, and the pairs behind it.

Development runs teach and set thresholds; test runs are scored where there are any, else the development runs, each by
what the others teach. Works on any subset of the runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl

from forewarn import __version__
from forewarn.bench.methods import CONFIGURATION, METHODS, OURS
from forewarn.bench.outcomes.pairs import Pair
from forewarn.bench.outcomes.start import base_starts
from forewarn.bench.protocol import Protocol
from forewarn.bench.record import RunRecord, looks_of, pairs_of, read_run
from forewarn.bench.runs import BenchRun, all_runs, find_run
from forewarn.bench.scores import words
from forewarn.bench.scores.build import panel_of
from forewarn.bench.scores.certain import E_VALUES, certain_entries
from forewarn.bench.scores.certain import FIGURES as CERTAIN
from forewarn.bench.scores.figures import Entry, Table
from forewarn.bench.scores.found import FIGURE, found_calibration, found_entries, found_of, found_table
from forewarn.bench.scores.panel import Panel
from forewarn.bench.scores.sayings import Sayings
from forewarn.errors import InputError
from forewarn.store import write_json, write_table

Log = Callable[[str], None]
Use = Literal["test", "development"]
SCORE_FOLDER = "score"
PAIR_ROWS = {"v2": pl.Int64, "crossing": pl.Float64, "crossing_low": pl.Float64, "why_not": pl.String}


@dataclass(frozen=True, slots=True)
class Score:
    """What a scoring found."""

    use: Use
    runs: tuple[str, ...]
    """that are scored"""
    missing: Mapping[str, str]
    """run -> why it is not"""
    pairs: tuple[Pair, ...]
    """of the runs that are scored"""
    counts: Mapping[str, int]
    positives_alone: int
    """positives without a comparable pair in C3"""
    entries: tuple[Entry, ...]
    calibration: Mapping[str, Sequence[tuple[float, int, int]]]
    answers: pl.DataFrame
    """a row a method, pair and checkpoint: score and recalibrated probability, with alarms"""
    found: pl.DataFrame
    """a row a run and type that its training pays for: what was said before the training, and the first hit's step"""
    found_calibration: Mapping[str, Sequence[tuple[float, int, int]]]
    error_budget: float
    """of alarms by e-values"""
    provisional: bool
    """start levels are taken as they are, resolved or not: no result of the protocol"""


def score(
    names: Sequence[str],
    folder: Path,
    protocol: Protocol,
    log: Log,
    *,
    use: Use | None = None,
    provisional: bool = False,
    methods: Sequence[str] = (),
    keep: Path | None = None,
) -> Score:
    """Score these runs (all of them by default), from the records in ``folder``.

    ``use``: which of them; None: the test runs if any of them can be scored, else the development runs.
    ``provisional``: take the best known start levels as if they were resolved. ``methods``: only these beside ours and
    configuration only. ``keep``: a folder for what methods say, which takes a minute a run. Raises InputError for no
    run or method, or where nothing can be scored.
    """
    chosen = _chosen_methods(methods)
    wanted = [find_run(name, protocol) for name in names] if names else list(all_runs(protocol).values())
    records, missing = _read(wanted, folder, protocol)
    asked = [run.name for run in wanted if run.name in records]
    use = use or ("test" if any(records[name].run.use == "test" for name in asked) else "development")
    scored = tuple(name for name in asked if records[name].run.use == use)
    if not scored:
        why = next((f" ({name}: {reason})" for name, reason in missing.items()), "")
        raise InputError(f"there is no {use} run to score in {folder}{why}")
    starts = {
        base: base_starts(folder / base, base, protocol, provisional=provisional)
        for base in {r.run.base for r in records.values()}
    }
    pairs = tuple(p for r in records.values() for p in pairs_of(r, starts[r.run.base], protocol))
    looks = {name: looks_of(record, protocol) for name, record in records.items()}
    panels, sayings = {}, Sayings(keep, protocol.seed)
    for name in chosen:
        log(f"{name}: {METHODS[name].says}")
        said = {run: sayings.ask(name, METHODS[name], mine) for run, mine in looks.items()}
        panels[name] = panel_of(name, said, pairs, protocol)
    log("before training")
    asked_about = tuple(p for p in pairs if p.run in scored)
    before = [o for name, record in records.items() if name in scored for o in found_of(record, asked_about, protocol)]
    certain = certain_entries(records, asked_about, protocol)
    log("figures")
    table = Table(panels, np.array([p.run in scored for p in pairs], dtype=np.bool_), protocol)
    return Score(
        use=use,
        runs=scored,
        missing={name: why for name, why in missing.items() if find_run(name, protocol) in wanted},
        pairs=asked_about,
        counts=table.counts,
        positives_alone=table.positives(panels[OURS])[1],
        entries=(*table.entries(OURS, CONFIGURATION), *found_entries(before, protocol), *certain),
        calibration={name: table.calibration(name) for name in panels},
        answers=_answers(table, panels, scored),
        found=found_table(before),
        found_calibration=found_calibration(before),
        error_budget=protocol.evalues.budget,
        provisional=provisional,
    )


def _read(wanted: Sequence[BenchRun], folder: Path, protocol: Protocol) -> tuple[dict[str, RunRecord], dict[str, str]]:
    """The records of these runs and of the development runs, and why others have none."""
    teachers = [run for run in all_runs(protocol).values() if run.use == "development"]
    records: dict[str, RunRecord] = {}
    missing: dict[str, str] = {}
    needed = {run.name for run in (*wanted, *teachers)}
    for run in (name for name in all_runs(protocol) if name in needed):  # in one order, however they are asked for
        found = read_run(folder, find_run(run, protocol), protocol)
        if isinstance(found, str):
            missing[run] = found
        else:
            records[run] = found
    return records, missing


def _chosen_methods(methods: Sequence[str]) -> list[str]:
    unknown = [name for name in methods if name not in METHODS]
    if unknown:
        raise InputError(f"there is no method {unknown[0]!r}: choose among {', '.join(METHODS)}")
    return [name for name in METHODS if not methods or name in methods or name in (OURS, CONFIGURATION)]


def _answers(table: Table, panels: Mapping[str, Panel], scored: Sequence[str]) -> pl.DataFrame:
    rows: list[dict[str, Any]] = []
    for name, panel in panels.items():
        for i, (pair, alarm) in enumerate(zip(panel.pairs, table.alarms_of(panel), strict=True)):
            if pair.run not in scored:
                continue
            rows += [
                {
                    "method": name,
                    "run": pair.run,
                    "exploit_type": pair.exploit_type,
                    "checkpoint": c + 1,
                    "score": float(panel.score_IC[i, c]),
                    "probability": float(panel.probability_IC[i, c]),
                    "blind": pair.blind(c + 1),
                    "first_alarm": alarm is not None and alarm.checkpoint == c + 1,
                }
                for c in range(panel.score_IC.shape[1])
            ]
    return pl.DataFrame(rows)


def write_score(made: Score, out: Path, protocol: Protocol, command: str) -> None:
    """Keep a score as data: ``score.json`` (what was scored), and tables of figures, outcomes and answers."""
    summary = {
        "version": __version__,
        "protocol": protocol.version,
        "command": command,
        "use": made.use,
        "runs": list(made.runs),
        "missing": dict(made.missing),
        "counts": dict(made.counts),
        "positives without a comparable pair": made.positives_alone,
        "start levels": "provisional, resolved or not" if made.provisional else "resolved",
        "calibration": {name: [list(one) for one in bins] for name, bins in made.calibration.items()},
    }
    write_json(out / "score.json", summary)
    flat = [{k: v for k, v in asdict(e).items() if k != "found"} | asdict(e.found) for e in made.entries]
    write_table(out / "figures.parquet", pl.DataFrame(flat, infer_schema_length=None))
    outcomes = pl.DataFrame([asdict(p) for p in made.pairs], schema_overrides=PAIR_ROWS)
    write_table(out / "outcomes.parquet", outcomes.with_columns(pl.lit(protocol.version).alias("protocol")))
    write_table(out / "answers.parquet", made.answers)
    write_table(out / "found.parquet", made.found)


def told(made: Score) -> str:
    """The score in words."""
    entries = made.entries
    counts = ", ".join(f"{name} {n}" for name, n in made.counts.items())
    alone = f"positives without a comparable pair {made.positives_alone}"
    parts = [f"{made.use} runs: {', '.join(made.runs)}\n{counts}; {alone}\n"]
    if made.provisional:
        parts.append("Start levels are provisional, resolved or not: this is no result of the protocol.\n")
    parts += [
        "Figures with 90 % intervals, by run\n\n" + words.figures_table(entries, words.MAIN),
        "C3 by variant\n\n" + words.by_group(entries, "C3"),
        "C3 by landmark\n\n"
        + words.figures_table(entries, list(dict.fromkeys(e.figure for e in entries if " at checkpoint " in e.figure))),
        "Sensitivity of C3\n\n" + words.figures_table(entries, ["C3", "C3 near start", "C3 with 2 to 10 %"]),
        "CRPS skill over configuration only, by variant\n\n" + words.by_group(entries, "CRPS skill"),
        "Alarms at thresholds set on development runs\n\n"
        + words.figures_table([e for e in entries if not e.method.startswith(E_VALUES)], words.ALARMS),
        f"Alarms by e-values, with a budget of {made.error_budget:g} a run\n\n"
        + words.figures_table([e for e in entries if e.method.startswith(E_VALUES)], CERTAIN),
        "Calibration: what was said, and how many came\n\n" + words.calibration_table(made.calibration),
        "Before training: whether the run comes upon a type\n\n" + words.figures_table(entries, [FIGURE]),
        words.calibration_table(made.found_calibration),
        "Pairs\n\n" + words.pairs_table(made.pairs),
    ]
    if made.missing:
        parts.append("Not scored\n\n" + "\n".join(f"- {name}: {why}" for name, why in made.missing.items()) + "\n")
    return "\n".join(parts)
