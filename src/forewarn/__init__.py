"""forewarn: early warning of reward hacking in RL-trained language models, with probabilities.

Data flows one way, and each arrow is one place in the code::

    Problem -> Span -> Completion -> Verdict -> log-ratios -> Estimate -> Trend -> Alert

Every name of ``__all__`` is imported on first use, so that ``import forewarn`` is quick and works without torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from forewarn.errors import ForewarnError as ForewarnError
    from forewarn.estimation import join as join
    from forewarn.estimation import mixture_estimate as mixture_estimate
    from forewarn.estimation import n_deciding as n_deciding
    from forewarn.estimation import span_log_ratios as span_log_ratios
    from forewarn.estimation import suggest_shares as suggest_shares
    from forewarn.judge.environment import Attempt as Attempt
    from forewarn.judge.environment import Environment as Environment
    from forewarn.judge.judge import Judge as Judge
    from forewarn.prediction import forecast as forecast
    from forewarn.records import UNBOUNDED as UNBOUNDED
    from forewarn.records import Estimate as Estimate
    from forewarn.records import Policy as Policy
    from forewarn.records import Problem as Problem
    from forewarn.records import Span as Span
    from forewarn.records import TestCase as TestCase
    from forewarn.records import Verdict as Verdict
    from forewarn.report import write_report as write_report
    from forewarn.study import Machine as Machine
    from forewarn.study import Sandboxing as Sandboxing
    from forewarn.study import Study as Study
    from forewarn.study import estimate_run as estimate_run
    from forewarn.study import load_study as load_study
    from forewarn.study import read_estimates as read_estimates
    from forewarn.study import run_study as run_study

__version__ = "0.1.0"

_HOMES = {
    "forewarn.errors": ("ForewarnError",),
    "forewarn.estimation": ("join", "mixture_estimate", "n_deciding", "span_log_ratios", "suggest_shares"),
    "forewarn.judge.environment": ("Attempt", "Environment"),
    "forewarn.judge.judge": ("Judge",),
    "forewarn.prediction": ("forecast",),
    "forewarn.records": ("UNBOUNDED", "Estimate", "Policy", "Problem", "Span", "TestCase", "Verdict"),
    "forewarn.report": ("write_report",),
    "forewarn.study": (
        "Machine",
        "Sandboxing",
        "Study",
        "estimate_run",
        "load_study",
        "read_estimates",
        "run_study",
    ),
}
"""module -> its names that are offered here"""
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "UNBOUNDED",
    "Attempt",
    "Environment",
    "Estimate",
    "ForewarnError",
    "Judge",
    "Machine",
    "Policy",
    "Problem",
    "Sandboxing",
    "Span",
    "Study",
    "TestCase",
    "Verdict",
    "__version__",
    "estimate_run",
    "forecast",
    "join",
    "load_study",
    "mixture_estimate",
    "n_deciding",
    "read_estimates",
    "run_study",
    "span_log_ratios",
    "suggest_shares",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME_OF})
