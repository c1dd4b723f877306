"""Which series a frame of cells holds: the estimate always, truth and rivals where they were measured."""

from __future__ import annotations

import polars as pl

from forewarn.report.style import SERIES

MEASURED = {
    "truth": "truth_n",
    "estimate": "n",
    "brute": "brute_n",
    "study_tokens": "study_n",
    "study_words": "study_n",
}
"""series -> the column that is null where the series was not drawn"""


def known_series(cells: pl.DataFrame) -> list[str]:
    """The keys of ``style.SERIES`` that some cell has, in its order."""
    return [key for key in SERIES if cells[MEASURED[key]].is_not_null().any()]
