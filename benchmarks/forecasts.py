"""Does the forecast rank the types of one RL run? Simulated policy gradient, many runs, against level and slope alone.

    python benchmarks/forecasts.py --runs 40
    python benchmarks/forecasts.py --runs 120 --on-law

Eight exploit types share an intent (look at the checker) and differ in competence (use the flaw, given a look);
GRPO-like updates on sampled groups, so what is never sampled is never rewarded. Rates start between 1e-8 and 1e-2.
Forecasts see noisy estimates at steps 1, 4 and 15, a sixth of them low by up to two decades (missed mass). A
simulation, not a language model: it compares scores, and shows how far the probabilities are from calibrated under
dynamics that their priors do not know. "joint" is the forecaster of all types of a run together; it is told how many
rollouts a step has and who shares an intent. ``--on-law`` draws runs from its own law instead, with its own priors:
that shows whether the filter does what it says.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from forewarn.estimation import mixture_estimate
from forewarn.prediction import Training, TypeTraining, auc, brier, fit_trend, forecast, forecast_run
from forewarn.records import Estimate

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.prediction import law_runs

TYPES, GROUPS, GROUP, HORIZON, STEPS = 8, 4, 8, 250, (1, 4, 15)
ESS = 20.0
EMPTY = mixture_estimate(np.full((500, 5), np.nan), np.zeros(500, dtype=bool), np.arange(500) % 5)


def rates(rng: np.random.Generator, learning_rate: float, *, shared: bool) -> NDArray[np.float64]:
    """True rates (steps x types) of one run."""
    intent = np.full(1 if shared else TYPES, math.log(0.02 / 0.98))
    competence, accident = rng.uniform(-11.5, -1, TYPES), np.exp(rng.uniform(-18, -9, TYPES))
    path = []
    for _ in range(HORIZON):
        look_p, use_p = np.broadcast_to(expit(intent), (TYPES,)), expit(competence)
        path.append(look_p * use_p + accident)
        look = rng.random((TYPES, GROUPS, GROUP)) < look_p[:, None, None]
        use = look & (rng.random(look.shape) < use_p[:, None, None])
        reward = (use | (rng.random(look.shape) < 0.1)).astype(float)
        spread = reward.std(axis=2, keepdims=True)
        advantage = np.where(
            spread > 0, (reward - reward.mean(axis=2, keepdims=True)) / np.where(spread > 0, spread, 1), 0
        )
        gradient = (advantage * (look - look_p[:, None, None])).mean(axis=(1, 2))
        intent = intent + learning_rate * (gradient.sum() if shared else gradient)
        competence = competence + TYPES * learning_rate * (advantage * look * (use - use_p[:, None, None])).mean(
            axis=(1, 2)
        )
    return np.array(path)


def estimate(rate: float, rng: np.random.Generator) -> Estimate:
    """A noisy estimate of the rate: about 20 effective hits, fewer below 1e-9, one in six low by 0.3 to 2 decades."""
    seen = rate * (10 ** -rng.uniform(0.3, 2) if rng.random() < 1 / 6 else 1.0)
    count = int(rng.poisson(ESS * min(1.0, seen / 1e-9)))
    if count == 0:
        return EMPTY
    value = min(seen * count / ESS, 0.999)
    return replace(
        EMPTY, log10_p=math.log10(value), ess=float(count), n_hits=count, lower_bound=value / 4,
        upper_bound=min(1.0, value + 0.03), resolved=count >= 8,
    )  # fmt: skip


def training_of(*, shared: bool) -> Training:
    """What a user would know of the training."""
    return Training({
        str(t): TypeTraining(GROUPS * GROUP, 0.9, family="all" if shared else str(t)) for t in range(TYPES)
    })  # fmt: skip


def reliability(probability: list[float], emerged: list[bool]) -> list[tuple[float, float, int]]:
    """(mean probability, share that emerged, how many) by bins of probability."""
    p, y = np.array(probability), np.array(emerged)
    bins = np.digitize(p, [0.05, 0.2, 0.4, 0.6, 0.8])
    return [
        (round(float(p[bins == b].mean()), 2), round(float(y[bins == b].mean()), 2), int((bins == b).sum()))
        for b in range(6)
        if (bins == b).any()
    ]


def compare(learning_rate: float, *, shared: bool, runs: int, seed: int) -> dict[str, object]:
    """Both forecasters, level and slope on so many runs."""
    rng = np.random.default_rng([seed, int(100 * learning_rate), shared])
    within: dict[str, list[float]] = {"joint": [], "forecast": [], "level": [], "slope": []}
    probability: dict[str, list[float]] = {"joint": [], "forecast": []}
    emerged: list[bool] = []
    for _ in range(runs):
        path = rates(rng, learning_rate, shared=shared)
        outcome = (path[STEPS[-1] :] > 0.1).any(axis=0)
        scores: dict[str, list[float]] = {name: [] for name in within}
        cells = {str(t): [estimate(float(path[s - 1, t]), rng) for s in STEPS] for t in range(TYPES)}
        known = training_of(shared=shared)
        together = forecast_run("run", STEPS, cells, horizon_step=HORIZON, training=known, rng=rng)
        for t, (name, mine) in enumerate(cells.items()):
            one = forecast("run", name, STEPS, mine, horizon_step=HORIZON, rng=rng)
            for who, said in (("joint", together[name]), ("forecast", one)):
                assert said.probability is not None
                probability[who].append(said.probability)
                scores[who].append(said.score)
            slope, last = fit_trend(STEPS, mine).slope, mine[-1].log10_p
            scores["level"].append(-99.0 if last is None else last)
            scores["slope"].append(-99.0 if slope is None else slope)
            emerged.append(bool(outcome[t]))
        if 0 < outcome.sum() < TYPES:
            for who, values in scores.items():
                within[who].append(auc(values, outcome, rng=rng).auc)
    y = np.array(emerged)
    return {
        "learning_rate": learning_rate,
        "shared_intent": shared,
        "runs": runs,
        "runs_with_both_outcomes": len(within["level"]),
        "share_emerged": round(float(y.mean()), 3),
        "mean_auc_within_run": {k: round(float(np.mean(v)), 3) for k, v in within.items()},
        "brier": {k: round(brier(np.array(v), y), 3) for k, v in probability.items()},
        "brier_of_base_rate": round(float(y.mean() * (1 - y.mean())), 3),
        "probability_outcome_count": {k: reliability(v, emerged) for k, v in probability.items()},
    }


def on_law(runs: int, seed: int) -> dict[str, object]:
    """The forecaster of all types on runs of its own law."""
    rng = np.random.default_rng(seed)
    said, came = list[float](), list[bool]()
    for _ in range(runs):
        cells, passed = law_runs.simulated(rng)
        together = forecast_run(
            "run", law_runs.STEPS, cells, horizon_step=law_runs.HORIZON, training=law_runs.mix(), rng=rng
        )
        said += [law_runs.probability(together, name) for name in law_runs.TYPES]
        came += passed
    y = np.array(came)
    return {
        "law": "its own",
        "runs": runs,
        "share_emerged": round(float(y.mean()), 3),
        "auc": round(auc(said, y, rng=rng).auc, 3) if 0 < y.sum() < len(y) else None,
        "brier": round(brier(np.array(said), y), 3),
        "brier_of_base_rate": round(float(y.mean() * (1 - y.mean())), 3),
        "probability_outcome_count": reliability(said, came),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--on-law", action="store_true")
    args = parser.parse_args()
    if args.on_law:
        print(json.dumps(on_law(args.runs, args.seed)))
        return
    for learning_rate in (0.25, 0.5):
        for shared in (True, False):
            print(json.dumps(compare(learning_rate, shared=shared, runs=args.runs, seed=args.seed)), flush=True)


if __name__ == "__main__":
    main()
