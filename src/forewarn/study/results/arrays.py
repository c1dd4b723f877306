"""A cell's completions, verdicts and scores as the arrays that estimators and e-values take."""

# ruff: noqa: N815 - fields carry shape suffixes
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from forewarn.errors import EngineFault
from forewarn.estimation import donor_key, span_log_ratios
from forewarn.estimation.sample import Sample, read_sample
from forewarn.records import Span
from forewarn.study.folder.schemas import DONOR_PREFIX
from forewarn.study.keys import CellRecord

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class CellArrays:
    """One row a completion of a cell; spans in the cell's order, the subject's own first."""

    log_ratio_NS: Floats
    """nats; rows of completions that are no hits are zeros"""
    is_exploit_N: Bools
    valid_N: Bools
    inconsistent_N: Bools
    span_N: NDArray[np.int64]
    share_S: Floats
    """planned"""


def cell_arrays(cell: CellRecord, labelled: pl.DataFrame, scores: pl.DataFrame | None) -> CellArrays:
    """The arrays of a cell. ``labelled``: its completions with a ``label``; ``scores``: of its exploits, or None."""
    spans = [p.span for p in cell.spans]
    counts = np.array([p.count for p in cell.spans], dtype=np.float64)
    place = {span.name: i for i, span in enumerate(spans)}
    span_N = np.array([place[name] for name in labelled["span"]], dtype=np.int64)
    log_ratio_NS = np.zeros((labelled.height, len(spans)))  # only the hits' rows are read
    is_exploit_N = np.array(labelled["label"] == "exploit")
    valid_N = np.array(labelled["label"] != "invalid")
    inconsistent_N = np.array(labelled["label"] == "inconsistent")
    if scores is not None:
        rows = np.flatnonzero(is_exploit_N)
        found = _log_ratios(labelled[rows], scores, cell.checkpoint_id, spans, span_N[rows])
        for row, values in zip(rows, found, strict=True):
            if values is None:  # its own writer calls it impossible: a fault, neither a hit nor a miss
                is_exploit_N[row] = valid_N[row] = False
            else:
                log_ratio_NS[row] = values
    return CellArrays(log_ratio_NS, is_exploit_N, valid_N, inconsistent_N, span_N, counts / counts.sum())


def cell_sample(cell: CellRecord, labelled: pl.DataFrame, scores: pl.DataFrame | None) -> Sample:
    """What e-values of a cell are made of; what could not be judged is no hit."""
    of = cell_arrays(cell, labelled, scores)
    return read_sample(
        of.log_ratio_NS,
        of.is_exploit_N,
        of.span_N,
        share_S=of.share_S,
        problem_N=labelled["problem_id"].to_numpy(),
        cluster_N=labelled["trace_id"].to_numpy(),
        valid_N=of.valid_N & ~of.inconsistent_N,
    )


def _log_ratios(
    hits: pl.DataFrame, scores: pl.DataFrame, checkpoint_id: str, spans: list[Span], span_H: NDArray[np.int64]
) -> list[Floats | None]:
    """D of every hit under every span (nats); None where the engine's scores contradict its own sampling."""
    by_model: dict[str, dict[str, Floats]] = {}
    starts: dict[str, dict[str, Sequence[int]]] = {}
    for row in scores.iter_rows(named=True):
        by_model.setdefault(row["model_id"], {})[row["completion_id"]] = np.array(row["log_probs"], dtype=np.float64)
        # tables of earlier versions lack anchors, and have no span that counts from one
        starts[row["completion_id"]] = {k: at or () for k, at in (row.get("anchors") or {}).items()}
    donors = sorted({donor_key(span) for span in spans if span.writes})
    anchors = [starts[name] for name in hits["completion_id"]]
    subject = [by_model[checkpoint_id][name] for name in hits["completion_id"]]
    own = {key: [by_model[DONOR_PREFIX + key][name] for name in hits["completion_id"]] for key in donors}
    # scored as far as a span's donor may write, which may be within the reasoning
    n_scored = [min(r, len(scores)) for r, scores in zip(hits["n_reasoning"], subject, strict=True)]
    wrote = [np.array(by[: len(s)], dtype=np.bool_) for by, s in zip(hits["donor_wrote"], subject, strict=True)]

    def rows(chosen: Sequence[int]) -> Floats:
        return span_log_ratios(
            [subject[i] for i in chosen],
            {key: [scores[i] for i in chosen] for key, scores in own.items()},
            [n_scored[i] for i in chosen],
            spans,
            span_N=[int(span_H[i]) for i in chosen],
            anchors=[anchors[i] for i in chosen],
            donor_wrote=[wrote[i] for i in chosen],
        )

    try:
        return list(rows(range(hits.height)))
    except EngineFault:  # of some rows: each by itself
        found = []
        for i in range(hits.height):
            try:
                found.append(rows([i])[0])
            except EngineFault:
                found.append(None)
        return found
