"""The study's pooled prefix estimator, with prefixes cut by tokens and by words; it has no interval."""

from __future__ import annotations

from collections.abc import Callable

from forewarn.report import numbers as write
from forewarn.report.series.base import Reading, Row, Series, as_number


def study_text(log10_p: object, n: object) -> str:
    if n is None:
        return write.NONE
    return write.NO_HIT if log10_p is None else write.log_rate(as_number(log10_p))


def _read(unit: str) -> Callable[[Row], Reading]:
    column = f"study_{unit}_log10"
    return lambda row: Reading(as_number(row[column]), says=study_text(row[column], row["study_n"]))


TOKENS = Series(
    "study_tokens", "study's estimator, tokens", "study, tokens", "#d55e00", "var(--tokens)", "s", "square", -0.035,
    False, "study_n", _read("tokens"),
)  # fmt: skip
WORDS = Series(
    "study_words", "study's estimator, words", "study, words", "#cc79a7", "var(--words)", "^", "triangle-up", -0.055,
    False, "study_n", _read("words"),
)  # fmt: skip
