"""The truth: brute force with many completions."""

from __future__ import annotations

from forewarn.report.series.base import Series, counted

TRUTH = Series(
    "truth", "truth (brute force, many completions)", "truth", "#1b1f24", "currentColor", "_", "stroke", 0.0, True,
    "truth_n", counted("truth"),
)  # fmt: skip
