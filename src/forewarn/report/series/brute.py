"""Brute force with as many completions as the estimate had."""

from __future__ import annotations

from forewarn.report.series.base import Series, counted

BRUTE = Series(
    "brute", "brute force, same number of completions", "brute force, same N", "#009e73", "var(--brute)", "D",
    "diamond", 0.035, True, "brute_n", counted("brute"),
)  # fmt: skip
