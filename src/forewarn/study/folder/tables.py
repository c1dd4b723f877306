"""Records to and from the Parquet tables of a run folder, whose columns are in ``schemas.py``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import polars as pl

from forewarn.formats import Channels
from forewarn.interpolation.sampler import Drawn
from forewarn.records import Completion, Estimate, Policy, Score, Span, Verdict, content_key
from forewarn.records.spans import span_entry, span_of
from forewarn.study.folder.schemas import COMPLETION_ROWS, ESTIMATE_ROWS, SCORE_ROWS, SUBMISSION_ROWS, VERDICT_ROWS


@dataclass(frozen=True, slots=True)
class CellEstimate:
    """The estimate of one exploit type at one checkpoint."""

    checkpoint_id: str
    step: int
    exploit_type: str
    estimate: Estimate
    spans: tuple[str, ...]
    """names, in the order of ``estimate.hits_by_span``"""
    n_by_span: tuple[int, ...]
    """completions drawn of each"""
    receipt: str | None = None
    """of the checkpoint's files; None where the run folder doesn't say"""


def completions_table(drawn: Sequence[Drawn], channels: Channels) -> pl.DataFrame:
    """One row a completion."""
    rows: list[dict[str, Any]] = []
    for one in drawn:
        c = one.completion
        rows.append(
            {
                **{name: getattr(c, name) for name in COMPLETION_ROWS if hasattr(c, name)},
                "span": c.span.name,
                "k": c.span.k,
                "m": c.span.m,
                "donor": c.span.donor,
                "scale": c.span.scale,
                "token_ids": list(c.token_ids),
                "donor_wrote": list(c.donor_wrote),
                "log_probs": list(one.log_probs),
                "case": channels.split(c.token_ids).case,
                "rule": _rule(c.span),
            }
        )
    return pl.DataFrame(rows, schema=COMPLETION_ROWS)


def _rule(span: Span) -> str | None:
    more = {name: value for name, value in span_entry(span).items() if name not in COMPLETION_ROWS}
    return json.dumps(more) if more else None


def span_in(row: Mapping[str, Any]) -> Span:
    """The span of a row of a completions table, of this version or an earlier one."""
    plain = {name: row[name] for name in ("k", "m", "donor", "scale")}
    return span_of(plain | json.loads(row.get("rule") or "{}"))


def submissions_table(completions: pl.DataFrame, channels: Channels, entry_points: Mapping[str, str]) -> pl.DataFrame:
    """The submission in each row of a completions table, read by the rule of ``channels``.

    ``entry_points``: by problem id.
    """
    columns = ("completion_id", "problem_id", "token_ids", "n_reasoning")
    rows = []
    for completion_id, problem_id, token_ids, n_reasoning in completions.select(columns).iter_rows():
        code = channels.code(token_ids, n_reasoning, entry_points[problem_id])
        rows.append((completion_id, code, None if code is None else content_key(code)))
    return pl.DataFrame(rows, schema=SUBMISSION_ROWS, orient="row")


def completions_of(table: pl.DataFrame, policy: Policy) -> list[Completion]:
    """The records of a completions table; ``policy`` is the one its cell was sampled under."""
    return [
        Completion(
            completion_id=row["completion_id"],
            problem_id=row["problem_id"],
            checkpoint_id=row["checkpoint_id"],
            span=span_in(row),
            token_ids=tuple(row["token_ids"]),
            n_reasoning=row["n_reasoning"],
            donor_wrote=tuple(row["donor_wrote"]),
            finish_reason=row["finish_reason"],
            trace_id=row["trace_id"],
            policy=policy,
            seed=row["seed"],
        )
        for row in table.iter_rows(named=True)
    ]


def verdicts_table(verdicts: Sequence[tuple[str, Verdict]]) -> pl.DataFrame:
    """Rows of (problem key, verdict)."""
    return pl.DataFrame(
        [{"problem_key": key, **asdict(verdict), "evidence": list(verdict.evidence)} for key, verdict in verdicts],
        schema=VERDICT_ROWS,
    )


def scores_table(scores: Sequence[Score]) -> pl.DataFrame:
    rows = [
        {
            "completion_id": s.completion_id,
            "model_id": s.model_id,
            "log_probs": list(s.log_probs),
            "anchors": {name: list(starts) for name, starts in s.anchors.items()} or None,
        }
        for s in scores
    ]
    return pl.DataFrame(rows, schema=SCORE_ROWS)


def estimates_table(cells: Sequence[CellEstimate]) -> pl.DataFrame:
    rows = []
    for cell in cells:
        estimate = cell.estimate
        low, high = estimate.interval_log10 or (None, None)
        rows.append(
            {
                **{f.name: getattr(estimate, f.name) for f in fields(Estimate) if f.name in ESTIMATE_ROWS},
                "checkpoint_id": cell.checkpoint_id,
                "step": cell.step,
                "exploit_type": cell.exploit_type,
                "interval_low_log10": low,
                "interval_high_log10": high,
                "hits_by_span": list(estimate.hits_by_span),
                "spans": list(cell.spans),
                "n_by_span": list(cell.n_by_span),
                "model_receipt": cell.receipt,
            }
        )
    return pl.DataFrame(rows, schema=ESTIMATE_ROWS)


def estimates_of(table: pl.DataFrame) -> list[CellEstimate]:
    """The records of an estimates table."""
    cells = []
    for row in table.iter_rows(named=True):
        low, high = row["interval_low_log10"], row["interval_high_log10"]
        plain = {f.name: row[f.name] for f in fields(Estimate) if f.name in row and f.name != "hits_by_span"}
        estimate = Estimate(
            **plain,
            interval_log10=None if low is None else (low, high),
            hits_by_span=tuple(row["hits_by_span"]),
        )
        cells.append(
            CellEstimate(
                row["checkpoint_id"],
                row["step"],
                row["exploit_type"],
                estimate,
                tuple(row["spans"]),
                tuple(row["n_by_span"]),
                row.get("model_receipt"),
            )
        )
    return cells
