"""The series of a report, in one dict: the estimate, and truth and rival estimators where a frame has them."""

from __future__ import annotations

import polars as pl

from forewarn.report.series.base import Reading, Series
from forewarn.report.series.brute import BRUTE
from forewarn.report.series.estimate import ESTIMATE
from forewarn.report.series.study import TOKENS, WORDS
from forewarn.report.series.truth import TRUTH

SERIES: dict[str, Series] = {
    "truth": TRUTH,
    "estimate": ESTIMATE,
    "study_tokens": TOKENS,
    "study_words": WORDS,
    "brute": BRUTE,
}
"""key -> series, in the order of legends and tables; all but the estimate are optional"""


def known_series(cells: pl.DataFrame) -> list[str]:
    """The keys of the series that some cell has, in the order of ``SERIES``."""
    return [key for key, series in SERIES.items() if cells[series.measured].is_not_null().any()]


__all__ = ["SERIES", "Reading", "Series", "known_series"]
