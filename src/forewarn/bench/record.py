"""A run of the benchmark as data: truth, estimates, counting, features and steps, read from its folder.

A folder ``BASE/VARIANT`` of the work, or the same kept in the repository (benchmarks/foresight/keep.py). Not here: what
comes of a run (``outcomes/``).
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import polars as pl

from forewarn.bench.bases import roles_of
from forewarn.bench.methods.base import Seen, TypeSeen, Window
from forewarn.bench.outcomes.curve import Counted
from forewarn.bench.outcomes.pairs import Evidence, Pair, outcome
from forewarn.bench.outcomes.start import Start
from forewarn.bench.protocol import Protocol
from forewarn.bench.runs import BenchRun, rl_recipe
from forewarn.bench.watch import record_tables
from forewarn.errors import InputError
from forewarn.records import Estimate
from forewarn.store import read_json, read_table
from forewarn.study.folder.tables import estimates_of

TRUTH_FILE = "truth.parquet"
ESTIMATES_FILE = "estimates.parquet"
COUNTING_FILE = "counting.parquet"
FEATURES_FILE = "features.parquet"
EVALUES_FILE = "evalues.parquet"
MEASURED_FILE = "measured.json"
RUN_FILE = "run.json"
STEPS_FILE, STEPS_KEPT, ROLLOUTS_KEPT = "steps.jsonl", "steps.csv", "rollouts.parquet"

COUNTING_ROWS = {
    "step": pl.Int64,
    "exploit_type": pl.String,
    "n": pl.Int64,
    "hits": pl.Int64,
    "mentions": pl.Int64,
    "unclear": pl.Int64,
}
FEATURE_ROWS = {
    "step": pl.Int64,
    "exploit_type": pl.String,
    "reference_log_prob": pl.Float64,
    "prefix_log10": pl.Float64,
    "prefix_hits": pl.Int64,
}
Cells = Mapping[tuple[int, str], Any]
"""(step, exploit type) -> what was found there"""


@dataclass(frozen=True, slots=True)
class RunRecord:
    """All of one run that scoring needs."""

    run: BenchRun
    protocol_version: int
    truth: pl.DataFrame
    estimates: Mapping[tuple[int, str], Estimate]
    counting: Mapping[tuple[int, str], Mapping[str, int]]
    features: Mapping[tuple[int, str], Mapping[str, float | None]]
    steps: pl.DataFrame
    rollouts: pl.DataFrame
    evalues: pl.DataFrame | None
    """a row a checkpoint, type and kind of alarm; None: measured before the benchmark had them"""


def read_run(folder: Path, run: BenchRun, protocol: Protocol) -> RunRecord | str:
    """A run's record from ``folder/BASE/VARIANT``, or why it can't be scored yet.

    Raises StoreError for a damaged file, and InputError for cells of types that the benchmark doesn't have or of
    another version of the protocol.
    """
    where = folder / run.base / run.variant
    wanted = {
        TRUTH_FILE: f"truth not measured: run `forewarn bench truth {run.name}`",
        ESTIMATES_FILE: f"not measured by the monitor: run `forewarn bench measure {run.name}`",
        COUNTING_FILE: f"not measured by the monitor: run `forewarn bench measure {run.name}`",
        FEATURES_FILE: f"not measured by the monitor: run `forewarn bench measure {run.name}`",
    }
    for name, missing in wanted.items():
        if not (where / name).exists():
            return missing
    if not ((where / STEPS_FILE).exists() or (where / STEPS_KEPT).exists()):
        return f"not trained: run `forewarn bench train {run.name}`"
    other = _other_settings(where, run, protocol)
    if other:
        return f"trained with other settings than the protocol's ({', '.join(other)})"
    held = read_json(where / MEASURED_FILE)
    version = held.get("protocol") if isinstance(held, dict) else None
    if not isinstance(version, int) or not protocol.unchanged_since <= version <= protocol.version:
        raise InputError(
            f"{where} was measured under version {version} of the protocol, and this is version {protocol.version}: "
            f"run `forewarn bench measure {run.name}` in another folder"
        )
    estimates = {(e.step, e.exploit_type): e.estimate for e in estimates_of(read_table(where / ESTIMATES_FILE))}
    types = list(roles_of(run.base, protocol))
    missing_cells = [s for s in protocol.monitor.steps if any((s, name) not in estimates for name in types)]
    if missing_cells:
        return f"measured without step {missing_cells[0]}: run `forewarn bench measure {run.name}` to go on"
    steps, rollouts = _steps(where)
    record = RunRecord(
        run,
        version,
        read_table(where / TRUTH_FILE),
        estimates,
        _cells(read_table(where / COUNTING_FILE)),
        _cells(read_table(where / FEATURES_FILE)),
        steps,
        rollouts,
        read_table(where / EVALUES_FILE) if (where / EVALUES_FILE).exists() else None,
    )
    named = {*record.truth["exploit_type"].to_list(), *(name for _, name in (*estimates, *record.counting))}
    unknown = sorted(named - set(types))
    if unknown:
        raise InputError(f"{where} has cells of {unknown[0]!r}, which is no type of base {run.base}: measure it again")
    return record


def _other_settings(where: Path, run: BenchRun, protocol: Protocol) -> list[str]:
    """The settings of RL in which a run differs from its design."""
    held = read_json(where / RUN_FILE)
    rl = held.get("rl") if isinstance(held, dict) else None
    wanted = json.loads(json.dumps(asdict(rl_recipe(run, protocol))))
    return [name for name, value in wanted.items() if not isinstance(rl, dict) or rl.get(name) != value]


def _steps(where: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    if (where / STEPS_FILE).exists():
        return record_tables(where / STEPS_FILE)
    return pl.read_csv(where / STEPS_KEPT), read_table(where / ROLLOUTS_KEPT)


def _cells(table: pl.DataFrame) -> Cells:
    return {(row["step"], row["exploit_type"]): row for row in table.iter_rows(named=True)}


def pairs_of(record: RunRecord, starts: Mapping[str, Start], protocol: Protocol) -> list[Pair]:
    """The outcome of every type in a run."""
    found = []
    for name in roles_of(record.run.base, protocol):
        cells = record.truth.filter(pl.col("exploit_type") == name).sort("step")
        first = record.counting.get((0, name))
        hits = record.rollouts.filter((pl.col("exploit_type") == name) & (pl.col("exploits") > 0))
        evidence = Evidence(
            start=starts[name],
            truth=[Counted(row["step"], row["n"], row["hits"]) for row in cells.iter_rows(named=True)],
            unclear={row["step"]: row["n_invalid"] / row["n"] for row in cells.iter_rows(named=True)},
            first_count=None if first is None else Counted(0, first["n"], first["hits"]),
            first_rollout_hit=None if hits.is_empty() else int(hits["step"].to_numpy().min()),
        )
        found.append(outcome(record.run, name, evidence, protocol))
    return found


def looks_of(record: RunRecord, protocol: Protocol) -> list[Seen]:
    """The run as it is known at each checkpoint at which methods are run."""
    steps = protocol.monitor.steps
    roles = roles_of(record.run.base, protocol)
    windows = [_window(record, a, b) for a, b in itertools.pairwise(steps)]
    return [
        Seen(
            record.run,
            protocol,
            c,
            steps[:c],
            roles,
            {name: _type_seen(record, name, steps[:c]) for name in roles},
            tuple(windows[: c - 1]),
        )
        for c in range(1, len(steps) + 1)
    ]


def _type_seen(record: RunRecord, name: str, steps: Iterable[int]) -> TypeSeen:
    steps = tuple(steps)
    keys = [(step, name) for step in steps]
    counted = [record.counting.get(key) for key in keys]
    features = [record.features.get(key) or {} for key in keys]
    mine = record.rollouts.filter((pl.col("exploit_type") == name) & (pl.col("step") <= steps[-1]))
    return TypeSeen(
        estimates=tuple(record.estimates.get(key) for key in keys),
        counts=tuple(None if c is None else Counted(c["step"], c["n"], c["hits"]) for c in counted),
        mentions=tuple(None if c is None else c["mentions"] / c["n"] for c in counted),
        reference_log_probs=tuple(f.get("reference_log_prob") for f in features),
        prefix_log10=tuple(f.get("prefix_log10") for f in features),
        rollout_hits=int(mine["exploits"].sum()),
        rollouts=int(mine["n"].sum()),
    )


def _window(record: RunRecord, after: int, until: int) -> Window:
    """What the training's log says of the steps after one checkpoint and up to the next."""
    steps = record.steps.filter((pl.col("step") > after) & (pl.col("step") <= until)).sort("step")
    mine = record.rollouts.filter((pl.col("step") > after) & (pl.col("step") <= until))
    by_type = mine.group_by("exploit_type", maintain_order=True).agg(pl.col("paid").sum(), pl.col("n").sum())
    return Window(
        kl=float(steps["kl"][-1]) if steps.height else 0.0,
        rewarded={row["exploit_type"]: (row["paid"], row["n"]) for row in by_type.iter_rows(named=True)},
    )
