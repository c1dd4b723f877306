"""Drawing a pilot: two small rounds of a study's own cells, each with a run folder and a seed of its own.

The second round's shares come from the first. Nothing that a pilot draws enters an estimate: its manifests say what it
is, and its seeds are others than the study's. Not here: what is concluded from it (``plan.py``).
"""

# ruff: noqa: N815 - fields carry shape suffixes
from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from forewarn.errors import InputError
from forewarn.estimation.allocation import PilotHits
from forewarn.records import Problem, derived_seed
from forewarn.store import RunFolder, read_json, write_json
from forewarn.study.config.load import LoadedStudy
from forewarn.study.folder.cells import read_completions
from forewarn.study.folder.manifest import MANIFEST_FILE, check_purpose
from forewarn.study.models import Machine
from forewarn.study.pilot.cost import Meter
from forewarn.study.pilot.shares import counts_of, least_completions, merged_shares
from forewarn.study.plan import PlannedSpan, Study
from forewarn.study.results.estimates import read_hits
from forewarn.study.stages.judging import Progress
from forewarn.study.stages.run import run_study

Floats = NDArray[np.float64]
ROUNDS = (0.12, 0.20)
"""parts of a study's budget that the two rounds take by default; their estimates are weighed alike"""


@dataclass(frozen=True, slots=True)
class PilotCell:
    """What a pilot saw of one cell. Arrays have one entry a span, brute force first."""

    checkpoint_id: str
    step: int
    exploit_type: str
    hits: PilotHits
    span_H: NDArray[np.int64]
    """the span that each hit was drawn from"""
    n_S: NDArray[np.int64]
    """completions"""
    tokens_S: Floats
    """tokens of all completions"""


def default_size(study: Study, exploit_type: str, budget: int | None) -> int:
    """A pilot's completions in a cell of this type, where nothing else is asked for: 32 % of the cell's budget."""
    return max(1, round(sum(ROUNDS) * cell_budget(study, exploit_type, budget)))


def cell_budget(study: Study, exploit_type: str, budget: int | None) -> int:
    """Completions of a cell: ``budget``, or as many as the study's own counts make."""
    own = sum(planned.count for planned in study.spans_of(exploit_type))
    return budget if budget is not None else own * len(study.problems_of(exploit_type))


def held_sizes(root: Path) -> dict[str, int]:
    """The completions of a cell, by exploit type, of the pilot in ``root``; empty where there is none."""
    path = root / MANIFEST_FILE
    held: Any = read_json(path) if path.is_file() else {}
    sizes: Any = held.get("size") if isinstance(held, dict) else None
    return dict(sizes) if isinstance(sizes, dict) else {}


def draw_pilot(
    loaded: LoadedStudy, root: Path, size: Mapping[str, int], *, machine: Machine, progress: Progress
) -> list[PilotCell]:
    """Draw what is missing of a pilot into ``root`` and return every cell of the study as the pilot saw it.

    ``size``: completions of a cell, by exploit type. Raises InputError where the folder is something else's, and what
    ``run_study`` raises.
    """
    study = loaded.study
    check_purpose(root, "pilot")
    held = held_sizes(root)
    if root.exists() and not (root / MANIFEST_FILE).is_file() and (not root.is_dir() or any(root.iterdir())):
        raise InputError(f"{root} has other contents and is not a pilot: give the pilot a folder of its own")
    if held and held != size:
        said = "; ".join(f"{name}: {n}" for name, n in held.items())
        raise InputError(
            f"{root} holds a pilot of another size ({said}): leave --pilot out to plan by it, or give another folder"
        )
    write_json(root / MANIFEST_FILE, {"purpose": "pilot", "study": study.name, "seed": study.seed, "size": dict(size)})
    meter = Meter(root)
    sizes = [{t: max(1, round(size[t] * part / sum(ROUNDS))) for t in study.exploit_types} for part in ROUNDS]
    cells: list[PilotCell] = []
    for number, part in enumerate(ROUNDS):
        folder = root / f"round-{number + 1}"
        with meter.measured(RunFolder(folder), machine.workers):
            run_study(
                _round(study, number, sizes, cells),
                folder,
                machine=machine,
                sandboxing=loaded.sandboxing,
                progress=_named(f"pilot, round {number + 1}", progress),
                purpose="pilot",
            )
        found = _cells(study, folder, math.log(part / sum(ROUNDS)))
        cells = [_together(a, b) for a, b in zip(cells, found, strict=True)] if cells else found
    return cells


def _named(prefix: str, progress: Progress) -> Progress:
    return lambda stage, done, total: progress(f"{prefix}: {stage}", done, total)


def _round(study: Study, number: int, sizes: Sequence[Mapping[str, int]], seen: Sequence[PilotCell]) -> Study:
    """One round as a study. Where its completions don't reach for every span on every problem, it has fewer problems,
    and the second round goes on with others."""
    problems: list[Problem] = []
    spans: list[PlannedSpan] = []
    for exploit_type in study.exploit_types:
        planned = study.spans_of(exploit_type)
        least = least_completions(len(planned))
        own = list(study.problems_of(exploit_type))
        random.Random(derived_seed("order of a pilot's problems", study.seed, exploit_type)).shuffle(own)
        # in the second round at least twice as many completions a problem as spans, so that shares can differ
        n_problems = [min(len(own), max(1, size[exploit_type] // ((i + 1) * least))) for i, size in enumerate(sizes)]
        first = sum(n_problems[:number])
        problems += [own[(first + i) % len(own)] for i in range(n_problems[number])]
        cells = [cell for cell in seen if cell.exploit_type == exploit_type]
        share = merged_shares([cell.hits for cell in cells], [one.span for one in planned], tokens_a_completion(cells))
        per_problem = max(least, round(sizes[number][exploit_type] / n_problems[number]))
        spans += [
            PlannedSpan(one.span, int(count), (exploit_type,))
            for one, count in zip(planned, counts_of(share, per_problem), strict=True)
        ]
    return replace(
        study,
        name=f"{study.name}-pilot-{number + 1}",
        problems=tuple(problems),
        spans=tuple(spans),
        seed=derived_seed("pilot", study.seed, number + 1),
    )


def tokens_a_completion(cells: Sequence[PilotCell]) -> Floats | None:
    """The cost of one completion of each span, over cells of one type; None before anything was drawn."""
    if not len(cells):
        return None
    tokens_S = np.sum([cell.tokens_S for cell in cells], axis=0)
    n_S = np.sum([cell.n_S for cell in cells], axis=0)
    return np.asarray(np.maximum(1.0, tokens_S / np.maximum(1, n_S)), dtype=np.float64)


def _cells(study: Study, folder: Path, log_part: float) -> list[PilotCell]:
    """Every cell as one round saw it. ``log_part``: of the round's part of the pilot, nats."""
    types = {problem.problem_id: problem.exploit_type for problem in study.problems}
    drawn = read_completions(folder).select(
        "checkpoint_id",
        "span",
        pl.col("problem_id").replace_strict(types).alias("exploit_type"),
        pl.col("token_ids").list.len().alias("n_tokens"),
    )
    hits = read_hits(folder)
    found = []
    for cell in study.cells():
        mine = (pl.col("checkpoint_id") == cell.checkpoint.model_id) & (pl.col("exploit_type") == cell.exploit_type)
        names = [planned.span.name for planned in study.spans_of(cell.exploit_type)]
        place = {name: i for i, name in enumerate(names)}
        own = drawn.filter(mine)
        span_N = np.array([place[name] for name in own["span"]], dtype=np.int64)
        rows = hits.filter(mine & pl.col("log_weight").is_finite())
        log_ratio_HS = np.array(rows["log_ratios"].to_list(), dtype=np.float64).reshape(rows.height, len(names))
        if rows.height:  # a study's spans keep their order, by which a round's are listed too
            assert rows["spans"][0].to_list() == names
        part_H = rows["log_weight"].to_numpy() - math.log(own.height) + log_part
        found.append(
            PilotCell(
                cell.checkpoint.model_id,
                cell.checkpoint.step,
                cell.exploit_type,
                PilotHits(log_ratio_HS, part_H, own.height),
                np.array([place[name] for name in rows["span"]], dtype=np.int64),
                np.bincount(span_N, minlength=len(names)),
                np.bincount(span_N, own["n_tokens"].to_numpy(), len(names)).astype(np.float64),
            )
        )
    return found


def _together(a: PilotCell, b: PilotCell) -> PilotCell:
    """Two rounds of one cell: each has its own weights, and the rounds' parts were fixed before."""
    hits = PilotHits(
        np.concatenate([a.hits.log_ratio_HS, b.hits.log_ratio_HS]),
        np.concatenate([a.hits.log_part_H, b.hits.log_part_H]),
        a.hits.n + b.hits.n,
    )
    span_H = np.concatenate([a.span_H, b.span_H])
    return replace(a, hits=hits, span_H=span_H, n_S=a.n_S + b.n_S, tokens_S=a.tokens_S + b.tokens_S)
