"""The files and columns of a run folder: names, types and what they hold. The records say what they mean."""

from __future__ import annotations

import polars as pl

from forewarn.records.spans import ANCHORS

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
ESTIMATE_ROWS = pl.Schema(
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
        "donor_opened": pl.Float64(),
        "model_receipt": pl.String(),  # which weights the estimate is about: models.receipts.Receipt.key
    }
)
