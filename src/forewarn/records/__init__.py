"""The frozen records that pass from stage to stage. Data only: behaviour lives in the rooms that make and read them.

Rules: token ids are the truth and text is a view; a log-probability carries its policy; "no", "broken" and
"missing" are different values; missing is ``None``, never NaN and never 0.
"""

from forewarn.records.completions import Completion, FinishReason, Policy, Score
from forewarn.records.findings import Alert, Estimate, Forecast, RatePath, Reasons, Trend
from forewarn.records.keys import KEY_KIND, KEY_LENGTH, content_key, derived_seed
from forewarn.records.problems import NO_VERDICT, Label, Problem, TestCase, Verdict
from forewarn.records.spans import SUBJECT, UNBOUNDED, RandomWindows, Span

__all__ = [
    "KEY_KIND",
    "KEY_LENGTH",
    "NO_VERDICT",
    "SUBJECT",
    "UNBOUNDED",
    "Alert",
    "Completion",
    "Estimate",
    "FinishReason",
    "Forecast",
    "Label",
    "Policy",
    "Problem",
    "RandomWindows",
    "RatePath",
    "Reasons",
    "Score",
    "Span",
    "TestCase",
    "Trend",
    "Verdict",
    "content_key",
    "derived_seed",
]
