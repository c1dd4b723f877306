"""What a pilot says a study should draw, and what the study will then give: counts, ESS, interval width, time, memory.

Not here: drawing the pilot (``rounds.py``), and the file that holds the counts (``write.py``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from forewarn.errors import InputError
from forewarn.estimation.allocation import PilotHits
from forewarn.estimation.expected import Prediction, completions_for, predict
from forewarn.study.config.load import LoadedStudy
from forewarn.study.models import Machine
from forewarn.study.pilot.cost import Cost, read_costs
from forewarn.study.pilot.rounds import (
    PilotCell,
    cell_budget,
    default_size,
    draw_pilot,
    held_sizes,
    tokens_a_completion,
)
from forewarn.study.pilot.shares import counts_of, merged_shares
from forewarn.study.plan import Study
from forewarn.study.stages.judging import Progress


@dataclass(frozen=True, slots=True)
class SpanFigure:
    """One candidate span of one exploit type, over all checkpoints of the pilot."""

    exploit_type: str
    span: str
    n: int
    """completions of the pilot"""
    tokens: float
    """of one completion, in the mean"""
    hits: int
    contribution: float | None
    """part of the pilot's estimate that its completions brought, averaged over the checkpoints with hits"""
    ess: float | None
    """effective number of its hits, summed over checkpoints"""
    share: float
    """by the guarded rule"""
    count: int
    """planned completions of each problem; 0: the budget doesn't reach for it"""


@dataclass(frozen=True, slots=True)
class PlannedCell:
    """What the planned study is expected to give for one cell."""

    checkpoint_id: str
    step: int
    exploit_type: str
    prediction: Prediction
    """its fields are None where the pilot had no hit"""
    needed: int | None
    """completions of the cell for the width asked for; None: not asked, no hit, or more than a thousand million"""


@dataclass(frozen=True, slots=True)
class Plan:
    """Counts, and what they are expected to give."""

    spans: tuple[SpanFigure, ...]
    cells: tuple[PlannedCell, ...]
    width: float | None
    """the width asked for, decades"""
    completions: int
    """of the whole planned study"""
    tokens: float
    """of all these"""
    seconds: float | None
    """wall clock on this machine, scaled by tokens; None where no call that drew the pilot came to its end"""
    peak_bytes: int | None
    """memory that the pilot took at most; larger batches take more"""

    def counts(self, exploit_type: str) -> dict[str, int]:
        """Planned completions a problem by the names of a type's spans."""
        return {one.span: one.count for one in self.spans if one.exploit_type == exploit_type}


def plan_study(
    loaded: LoadedStudy,
    root: Path,
    *,
    size: int | None = None,
    budget: int | None = None,
    width: float | None = None,
    machine: Machine | None = None,
    progress: Progress | None = None,
) -> Plan:
    """Draw what is missing of a pilot of ``loaded`` into ``root``, and plan the study from it.

    ``size``: the pilot's completions a cell, about; default: those of the pilot that is there, or 32 % of the budget.
    ``budget``: the planned study's completions a cell; default: what the study's own counts make. ``width``: the width
    of interval, in decades, for which the needed completions are said. Raises InputError for values that can't be
    meant, and what ``run_study`` raises.
    """
    for name, value in (("pilot", size), ("budget", budget), ("width", width)):
        if value is not None and not 0 < value < float("inf"):
            raise InputError(f"{name} is {value}: give a value above 0")
    study = loaded.study
    sizes = {t: size if size is not None else default_size(study, t, budget) for t in study.exploit_types}
    if size is None and (held := held_sizes(root)):
        sizes = held
    tell = progress or (lambda stage, done, total: None)
    cells = draw_pilot(loaded, root, sizes, machine=machine or loaded.machine, progress=tell)
    return plan_from(study, cells, read_costs(root), budget=budget, width=width)


def plan_from(
    study: Study, cells: Sequence[PilotCell], costs: Sequence[Cost], *, budget: int | None, width: float | None
) -> Plan:
    """The plan that a pilot's cells make."""
    figures: list[SpanFigure] = []
    expected: dict[tuple[str, str], PlannedCell] = {}
    completions, tokens = 0, 0.0
    for exploit_type in study.exploit_types:
        own = [cell for cell in cells if cell.exploit_type == exploit_type]
        n_problems = len(study.problems_of(exploit_type))
        spans = [planned.span for planned in study.spans_of(exploit_type)]
        tokens_S = tokens_a_completion(own)
        assert tokens_S is not None
        share = merged_shares([cell.hits for cell in own], spans, tokens_S)
        count = counts_of(share, max(1, round(cell_budget(study, exploit_type, budget) / n_problems)))
        figures += _figures(exploit_type, [span.name for span in spans], own, tokens_S, share, count)
        for cell in own:
            expected[cell.checkpoint_id, exploit_type] = _expected(cell, count, n_problems, study.level, width)
        completions += int(count.sum()) * n_problems * len(own)
        tokens += float((count * tokens_S).sum()) * n_problems * len(own)
    spent = sum(cost.tokens for cost in costs)
    return Plan(
        tuple(figures),
        tuple(expected[cell.checkpoint_id, cell.exploit_type] for cell in cells),
        width,
        completions,
        tokens,
        sum(cost.seconds for cost in costs) * tokens / spent if spent else None,
        max((cost.peak_bytes for cost in costs), default=None),
    )


def _expected(
    cell: PilotCell, count_S: NDArray[np.int64], n_problems: int, level: float, width: float | None
) -> PlannedCell:
    """Predictions for a cell, from the weights that the planned counts give to the pilot's hits."""
    kept = count_S > 0
    share = count_S[kept] / count_S.sum()
    hits = PilotHits(cell.hits.log_ratio_HS[:, kept], cell.hits.log_part_H, cell.hits.n)
    prediction = predict(hits, share, int(count_S.sum()) * n_problems, level=level)
    needed = None if width is None else completions_for(hits, share, width, level=level)
    return PlannedCell(cell.checkpoint_id, cell.step, cell.exploit_type, prediction, needed)


def _figures(
    exploit_type: str,
    names: Sequence[str],
    cells: Sequence[PilotCell],
    tokens_S: NDArray[np.float64],
    share_S: NDArray[np.float64],
    count_S: NDArray[np.int64],
) -> list[SpanFigure]:
    figures = []
    for s, name in enumerate(names):
        parts, ess = [], 0.0
        for cell in cells:
            if not len(cell.span_H):
                continue
            part_H = np.exp(cell.hits.log_part_H - cell.hits.log_p)
            mine = part_H[cell.span_H == s]
            parts.append(float(mine.sum()))
            ess += float(mine.sum() ** 2 / (mine**2).sum()) if mine.any() else 0.0
        figures.append(
            SpanFigure(
                exploit_type,
                name,
                int(sum(cell.n_S[s] for cell in cells)),
                float(tokens_S[s]),
                sum(int((cell.span_H == s).sum()) for cell in cells),
                float(np.mean(parts)) if parts else None,
                ess if parts else None,
                float(share_S[s]),
                int(count_S[s]),
            )
        )
    return figures


def plan_json(plan: Plan) -> Mapping[str, object]:
    """A plan as JSON: missing values are None, and an interval without a lower end has the width None."""
    found = asdict(plan)
    for cell in found["cells"]:
        if cell["prediction"]["width"] == float("inf"):
            cell["prediction"]["width"] = None
    return found
