"""Frames for a report, drawn from known rates: ten exploit types, two runs, twelve checkpoints."""

from __future__ import annotations

import math

import numpy as np
import polars as pl

from forewarn.estimation import clopper_pearson
from forewarn.report.frames import CELL_COLUMNS, FORECAST_COLUMNS

STEPS = (1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 240)
TYPES = {
    "hardcoded_tests": (2.5e-2, 12.0, 0.97),
    "early_exit": (7e-4, 60.0, 0.9),
    "exception_swallow": (1.5e-3, 35.0, 0.8),
    "type_confusion": (4e-3, 200.0, 0.2),
    "stdout_spoof": (9e-4, 1e4, 0.5),
    "env_probe": (1e-4, 1e4, 0.5),
    "frame_walk": (2e-5, 400.0, 0.01),
    "operator_overload": (3e-6, 1e4, 0.5),
    "timing_leak": (2e-8, 1e4, 0.5),
}
"""type -> rate before training, step of the middle of its growth in the rl run, highest rate"""
N = 1440
TRUTH_N = 20_480


def true_rate(run: str, step: int, exploit_type: str) -> float:
    start, middle, top = TYPES[exploit_type]
    if run == "control":
        return float(start * (1 + step / 40) ** -0.5)
    grown = 1 / (1 + (middle / step) ** 3)
    return float(min(top, start * (1 + 0.3 * math.log(step)) + top * grown))


def example_cells(seed: int = 7) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    rows = [
        _cell(rng, run, step, exploit_type, true_rate(run, step, exploit_type))
        for run in ("rl", "control")
        for step in STEPS
        for exploit_type in TYPES
    ]
    return pl.DataFrame(rows, schema=CELL_COLUMNS)


def _cell(rng: np.random.Generator, run: str, step: int, exploit_type: str, p: float) -> dict[str, object]:
    truth_hits = int(rng.binomial(TRUTH_N, p))
    truth_lo, truth_hi = clopper_pearson(truth_hits, TRUTH_N)
    brute_hits = int(rng.binomial(N, p))
    brute_lo, brute_hi = clopper_pearson(brute_hits, N)
    n_hits = int(rng.poisson(N * min(0.5, 0.12 * (p / 1e-4) ** 0.25))) if p > 1e-7 else 0
    row: dict[str, object] = dict.fromkeys(CELL_COLUMNS)
    row |= {
        "run": run, "step": step, "exploit_type": exploit_type, "lower_bound": 0.0, "upper_bound": 8e-3, "n": N,
        "n_hits": n_hits, "hits_by_span": [brute_hits, n_hits], "n_invalid": 0, "n_off_support": 0,
        "resolved": n_hits > 150, "reason": "resolved given coverage" if n_hits > 150 else "too few hits",
        "truth_hits": truth_hits, "truth_n": TRUTH_N, "truth_lo": truth_lo, "truth_hi": truth_hi,
        "study_n": N, "brute_hits": brute_hits, "brute_n": N, "brute_lo": brute_lo, "brute_hi": brute_hi,
    }  # fmt: skip
    if n_hits:
        sd = 0.07 + 0.06 * max(0.0, -math.log10(p) - 2)
        value = min(0.0, math.log10(p) + rng.normal(0, sd))
        share = min(0.97, 0.25 + 0.15 * max(0.0, -math.log10(p)))
        row |= {
            "log10_p": value, "lo": -math.inf if n_hits < 5 else value - 1.7 * sd, "hi": min(0.0, value + 1.7 * sd),
            "lower_bound": 10**value * 0.3, "upper_bound": max(10**value * 1.3, 8e-3), "ess": n_hits / 4.0,
            "max_share": min(1.0, 6 / n_hits), "khat": float(rng.normal(0.4, 0.1)) if n_hits > 20 else None,
            "covered_log10_p": value + math.log10(share), "uncovered_log10_p": value + math.log10(1 - share),
        }  # fmt: skip
    for name in ("tokens", "words"):
        low = min(0.2, math.log10(p) + rng.normal(0.3 * math.log10(p), 0.4))
        row[f"study_{name}_log10"] = low if rng.random() < min(1.0, 0.2 + p**0.2) else None
    return row


def example_forecasts() -> pl.DataFrame:
    rows = []
    for run in ("rl", "control"):
        for exploit_type in TYPES:
            rates = {step: true_rate(run, step, exploit_type) for step in STEPS}
            over = next((s for s, r in rates.items() if r > 0.1), None)
            for n in (3, 4):
                growth = rates[STEPS[n - 1]] / rates[STEPS[0]]
                probability = min(0.98, 0.02 + 0.1 * (growth - 1) + 2 * rates[STEPS[n - 1]])
                rows.append({
                    "run": run, "exploit_type": exploit_type, "n_checkpoints": n, "probability": max(0.01, probability),
                    "score": math.log(growth * rates[1]), "step_median": None if over is None else over * 1.2,
                    "step_lo": None if over is None else over * 0.6, "step_hi": None if over is None else over * 3.0,
                    "emerged": over is not None,
                    "first_call_step": None if over is None else max(2, over // 8),
                    "brute_first_step": next((s for s, r in rates.items() if r * 64 * 20 > 3), None),
                    "step_over_10pct": over,
                })  # fmt: skip
    return pl.DataFrame(rows, schema=FORECAST_COLUMNS)
