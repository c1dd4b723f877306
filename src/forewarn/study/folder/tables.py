"""Records to and from Parquet tables. One place for file and column names and types; the records say what they mean."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import polars as pl

from forewarn.formats import Channels
from forewarn.interpolation.sampler import Drawn
from forewarn.records import Completion, Estimate, Policy, Score, Span, Verdict, content_key
from forewarn.spans import ANCHORS, span_entry, span_of

COMPLETIONS, SUBMISSIONS, VERDICTS, SCORES = "completions", "submissions", "verdicts", "scores"
"""stages, each a folder of shards"""
ESTIMATES_FILE, HITS_FILE = "estimates.parquet", "hits.parquet"
DONOR_PREFIX = "donor:"
"""before a donor's key in ``Score.model_id``, which otherwise is a checkpoint's"""

COMPLETION_ROWS = pl.Schema(
    {
        "completion_id": pl.String(),
        "problem_id": pl.String(),
        "checkpoint_id": pl.String(),
        "span": pl.String(),
        "k": pl.Int64(),
        "m": pl.Int64(),
        "donor": pl.String(),
        "scale": pl.Float64(),
        "token_ids": pl.List(pl.Int32()),
        "n_reasoning": pl.Int32(),
        "donor_wrote": pl.List(pl.Boolean()),
        "log_probs": pl.List(pl.Float64()),  # nats, each under the model that wrote the token, when it did
        "finish_reason": pl.String(),
        "trace_id": pl.String(),
        "seed": pl.Int64(),
        "case": pl.String(),  # how the channels lie: formats.Case
        "rule": pl.String(),  # what else the span says, as JSON; null where that is nothing
    }
)
SUBMISSION_ROWS = pl.Schema(
    {
        "completion_id": pl.String(),
        "code": pl.String(),  # the submission; null where no answer opened
        "code_key": pl.String(),
    }
)
VERDICT_ROWS = pl.Schema(
    {
        "problem_key": pl.String(),  # the problem as judged, tests included
        "problem_id": pl.String(),
        "code_key": pl.String(),
        "label": pl.String(),
        "vulnerable": pl.Boolean(),
        "patched": pl.Boolean(),
        "secure": pl.Boolean(),
        "isolation": pl.String(),
        "reason": pl.String(),
        "evidence": pl.List(pl.String()),  # of exploits: a line a checker
    }
)
SCORE_ROWS = pl.Schema(
    {
        "completion_id": pl.String(),
        "model_id": pl.String(),
        "log_probs": pl.List(pl.Float64()),
        "anchors": pl.Struct(dict.fromkeys(ANCHORS, pl.List(pl.Int32()))),  # null: no span counts from one
    }
)
HIT_ROWS = pl.Schema(
    {
        "checkpoint_id": pl.String(),
        "step": pl.Int64(),
        "exploit_type": pl.String(),
        "completion_id": pl.String(),
        "problem_id": pl.String(),
        "span": pl.String(),
        "log_weight": pl.Float64(),  # nats; -inf off the subject's support
        "rho": pl.Float64(),  # chance that brute force, not a donor, would have brought it
        "log_ratios": pl.List(pl.Float64()),  # D of every span, nats, in the order of spans
        "spans": pl.List(pl.String()),
        "n_reasoning": pl.Int32(),  # the answer's first token comes after these
        "n_tokens": pl.Int32(),
        "code": pl.String(),
    }
)
_ESTIMATE_ROWS = pl.Schema(
    {
        "checkpoint_id": pl.String(),
        "step": pl.Int64(),
        "exploit_type": pl.String(),
        "log10_p": pl.Float64(),
        "interval_low_log10": pl.Float64(),
        "interval_high_log10": pl.Float64(),
        "lower_bound": pl.Float64(),
        "upper_bound": pl.Float64(),
        "level": pl.Float64(),
        "n": pl.Int64(),
        "n_hits": pl.Int64(),
        "hits_by_span": pl.List(pl.Int64()),
        "spans": pl.List(pl.String()),
        "n_by_span": pl.List(pl.Int64()),
        "n_invalid": pl.Int64(),
        "n_inconsistent": pl.Int64(),
        "n_off_support": pl.Int64(),
        "ess": pl.Float64(),
        "max_share": pl.Float64(),
        "khat": pl.Float64(),
        "covered_log10_p": pl.Float64(),
        "uncovered_log10_p": pl.Float64(),
        "resolved": pl.Boolean(),
        "reason": pl.String(),
        "effective_programs": pl.Float64(),
        "effective_problems": pl.Float64(),
        "effective_spans": pl.Float64(),
        "donor_written": pl.Float64(),
        "model_receipt": pl.String(),  # which weights the estimate is about: models.receipts.Receipt.key
    }
)


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
                **{f.name: getattr(estimate, f.name) for f in fields(Estimate) if f.name in _ESTIMATE_ROWS},
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
    return pl.DataFrame(rows, schema=_ESTIMATE_ROWS)


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
