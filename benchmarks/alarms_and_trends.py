"""False alarms, power and delay of the e-value alarms; coverage of slopes with shared traces and cells without hits.

    python benchmarks/alarms_and_trends.py --runs 2000 --repeats 500 --out runs/benchmarks/alarms_and_trends

A run is 8 exploit types (8 exact worlds) x 12 looks, fresh completions at each look. Null: every type's rate is
exactly the u it is tested against, the edge of the null. Growth: one type's rate is 5 or 30 times u from look 5 on.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

from forewarn.estimation import mixture_estimate
from forewarn.estimation.classic import kl_slope
from forewarn.estimation.sample import read_sample
from forewarn.prediction import (
    elond,
    first_crossing,
    fit_trend,
    gls_trend,
    joint_covariance,
    log_e_exceeds,
    log_e_growth,
)
from forewarn.prediction.alarms import log_e_of_looks
from forewarn.worlds import World
from forewarn.worlds.catalogue import DONOR, Habits, checkpoints, simple
from forewarn.worlds.draw import draw, draw_looks, draw_units

ALPHA, LOOKS, GROWS_AT = 0.1, 12, 5
COUNT = np.array([40] + [16] * 9)
"""184 completions a type and look"""
TYPES = {
    "accidental": Habits(intent=1e-5, slip=0.03, look=0.02),
    "deliberate": Habits(intent=3e-4, slip=1e-4),
    "both_roads": Habits(intent=2e-4, turn=1e-5, slip=0.015),
    "both_needed": Habits(intent=2e-3, slip=1e-4, hack=0.08),
    "rare_1e-6": Habits(intent=3e-6, turn=1e-7, slip=8e-4),
    "rare_1e-9": Habits(intent=3e-9, turn=1e-10, slip=2e-5),
    "looks_often": Habits(intent=1e-3, slip=5e-3, look=0.1),
    "common": Habits(intent=0.01, turn=1e-3, slip=0.02),
}
WEAK = replace(DONOR, intent=0.05, turn=0.01, slip=0.02)
TRENDS = {
    # name: habits, donor, steps, slope, (traces, own, answer-only completions a span)
    "flat": (Habits(intent=1e-3, slip=3e-3), DONOR, (1, 4, 15), 0.0, (60, 120, 60)),
    "growing": (Habits(intent=1e-4, slip=1e-3), DONOR, (1, 4, 15, 60), 0.8, (60, 120, 60)),
    "growing, few hits": (Habits(intent=1e-4, slip=1e-3), DONOR, (1, 4, 15, 60), 0.8, (10, 20, 10)),
    "falling": (Habits(intent=1e-2, slip=1e-2), DONOR, (1, 4, 15, 60), -0.8, (30, 60, 30)),
    "weak donor, 10 % zero cells": (Habits(intent=1e-4, slip=1e-3), WEAK, (1, 4, 15, 60), 0.8, (40, 80, 40)),
    "weak donor, 60 % zero cells": (Habits(intent=1e-4, slip=1e-3), WEAK, (1, 4, 15, 60), 0.8, (10, 20, 10)),
    "flat, 70 % zero cells": (Habits(intent=1e-4, slip=1e-3), WEAK, (1, 4, 15), 0.0, (8, 16, 8)),
}


def e_values(world: World, u: float, n: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """ln e-values of ``n`` independent looks, drawn together; one look is checked against ``log_e_exceeds``."""
    n_unit = int(COUNT.sum())
    weight_H, look_H = draw_looks(world, COUNT, n, rng)
    kind, d = world.kinds[0], draw(world, COUNT, rng)
    sample = read_sample(d.log_ratio_NS, d.is_exploit_N, d.span_N)
    of_hit = np.exp(kind.log_weight_Y(COUNT / n_unit))[d.leaf_N[d.is_exploit_N]]
    one = log_e_of_looks(of_hit / u, np.zeros(len(of_hit), int), 1, n_unit)
    assert np.isclose(one[0], log_e_exceeds(sample, u), rtol=1e-9, atol=1e-9)
    return log_e_of_looks(weight_H / u, look_H, n, n_unit)


def alarms(n_run: int, seed: int) -> dict[str, object]:
    worlds = {name: simple(name, habits, limit=7) for name, habits in TYPES.items()}
    null = np.stack(
        [e_values(w, w.p, n_run * LOOKS, np.random.default_rng([seed, i])).reshape(n_run, LOOKS)
         for i, w in enumerate(worlds.values())], axis=2
    )  # fmt: skip
    level = ALPHA / len(TYPES)
    false = {
        "e-LOND over types and looks": sum(
            any(elond(run.ravel().tolist(), alpha=ALPHA, n_planned=run.size)) for run in null
        ),
        "product per type (Ville), Bonferroni over types": sum(
            any(first_crossing(run[:, t].tolist(), level) is not None for t in range(run.shape[1])) for run in null
        ),
        "equal spending over looks and types": int((null >= -math.log(ALPHA / null[0].size)).any(axis=(1, 2)).sum()),
    }
    power: dict[str, object] = {}
    n_power = min(n_run, max(50, n_run // 10))
    for times in (5, 30):
        for t, name in enumerate(("accidental", "both_roads", "rare_1e-6")):
            first, grown = checkpoints(TYPES[name], DONOR, (1, times), 1.0)
            rng = np.random.default_rng([seed, times, t])
            quiet = e_values(first, first.p, n_power * GROWS_AT, rng).reshape(n_power, GROWS_AT)
            loud = e_values(grown, first.p, n_power * (LOOKS - GROWS_AT), rng).reshape(n_power, LOOKS - GROWS_AT)
            runs = null[:n_power].copy()
            runs[:, :, list(TYPES).index(name)] = np.concatenate([quiet, loud], axis=1)
            delay = {"e-LOND": [], "product": []}  # type: dict[str, list[float]]
            for run in runs:
                found = np.array(elond(run.ravel().tolist(), alpha=ALPHA, n_planned=run.size)).reshape(run.shape)
                at = np.flatnonzero(found[GROWS_AT:, list(TYPES).index(name)])
                delay["e-LOND"].append(float(at[0]) + 1 if len(at) else math.inf)
                crossed = first_crossing(run[:, list(TYPES).index(name)].tolist(), level)
                delay["product"].append(math.inf if crossed is None else float(crossed - GROWS_AT + 1))
            power[f"{name}, {times} times u = {first.p:.2g}"] = {
                how: {"alarmed": float(np.isfinite(v).mean()), "median looks to alarm": float(np.median(v))}
                for how, v in delay.items()
            }  # fmt: skip
    return {"runs": n_run, "alpha": ALPHA, "false_runs": false,
            "allowed_with_luck": int(binom.isf(1e-3, n_run, ALPHA)), "power": power,
            "null_mean_e": [float(np.exp(null[:, :, t]).mean()) for t in range(len(TYPES))]}  # fmt: skip


def growth(n_run: int, seed: int) -> dict[str, object]:
    """The growth e-value where p_c is 10 p_1^tau to the digit (null edge), and at 30 and 100 times the first rate."""
    habits, tau = Habits(intent=1e-4, slip=3e-3), 1e-3
    first = simple("first", habits, limit=7)
    kind, count = first.kinds[0], COUNT * 4
    e = kind.is_exploit_Y
    w = np.exp(kind.log_weight_Y(count / count.sum())[e])
    seen = float((np.exp(kind.log_p_Y[e]) * np.minimum(w, tau) / w).sum())
    out: dict[str, object] = {
        "runs": n_run,
        "tau": tau,
        "p_1": first.p,
        "p_1_tau": seen,
        "completions": int(count.sum()),
    }
    for name, times in (("null edge", 10 * seen / first.p), ("30 times", 30.0), ("100 times", 100.0)):
        now = checkpoints(habits, DONOR, (1, 10**6), math.log(times) / math.log(10**6))[1]
        rng, alarmed = np.random.default_rng([seed, int(times)]), 0
        for _ in range(n_run):
            a, b = (draw(world, count, rng) for world in (first, now))
            samples = [read_sample(d.log_ratio_NS, d.is_exploit_N, d.span_N) for d in (b, a)]
            alarmed += log_e_growth(samples[0], samples[1], tau=tau) >= -math.log(ALPHA)
        out[name] = alarmed / n_run
    return out


def prefix_kl(world: World, k: int) -> float:
    """KL of the donor's first ``k`` reasoning tokens against the subject's, nats, exact."""
    s = next(i for i, span in enumerate(world.spans) if (span.k, span.m) == (k, 0))
    kind = world.kinds[0]
    q = np.exp(kind.log_q_YS[:, s])
    return float((q[q > 0] * kind.log_ratio_YS[q > 0, s]).sum())


def trends(n_repeat: int, seed: int) -> dict[str, object]:
    out: dict[str, object] = {}
    for t, (name, (habits, donor, steps, slope, (n_trace, n_own, n_answer))) in enumerate(TRENDS.items()):
        worlds, rng = checkpoints(habits, donor, steps, slope), np.random.default_rng([seed, 77, t])
        inside: dict[str, list[bool]] = {"fit_trend": [], "gls_trend": []}
        width: dict[str, list[float]] = {"fit_trend": [], "gls_trend": []}
        zero, certified = 0, []
        for _ in range(n_repeat):
            draws = draw_units(worlds, n_trace, n_own, rng, answer_only=n_answer)
            # own and answer-only completions are independent at every checkpoint: their ids must differ
            ids = [
                np.where(d.cluster_N < n_trace, d.cluster_N, d.cluster_N + 10**6 * (c + 1)) for c, d in enumerate(draws)
            ]
            args = [(d.log_ratio_NS, d.is_exploit_N, d.span_N) for d in draws]
            # bounds at 1 - 0.1 / 2C, so that the certified range holds at 0.9 as a whole
            sure = 1 - 0.1 / (2 * len(steps))
            estimates = [mixture_estimate(*a, cluster_N=i, level=sure) for a, i in zip(args, ids, strict=True)]
            samples = [read_sample(*a, cluster_N=i) for a, i in zip(args, ids, strict=True)]
            zero += sum(e.log10_p is None for e in estimates)
            found = {"fit_trend": fit_trend(steps, estimates),
                     "gls_trend": gls_trend(steps, estimates, joint_covariance(samples, ids))}  # fmt: skip
            bounds = found["fit_trend"].certified_slopes
            certified.append(bounds is not None and bounds[0] <= slope <= bounds[1])
            for how, trend in found.items():
                if trend.slope_interval is not None:
                    low, high = trend.slope_interval
                    inside[how].append(low <= slope <= high)
                    width[how].append(high - low)
        out[name] = {
            "rates": [w.p for w in worlds], "slope": slope,
            "study_kl_slope": kl_slope(steps, [prefix_kl(w, 2) for w in worlds]),
            "zero_cells": zero / (n_repeat * len(steps)),
            "certified_covers": float(np.mean(certified)),
            **{how: {"has_interval": len(v) / n_repeat, "covers": float(np.mean(v)),
                     "median_width": float(np.median(width[how]))} for how, v in inside.items()},
        }  # fmt: skip
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=100)
    parser.add_argument("--seed", type=int, default=20261123)
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks/alarms_and_trends"))
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    start, result = time.perf_counter(), {}
    for name, part in (
        ("alarms", lambda: alarms(args.runs, args.seed)),
        ("trends", lambda: trends(args.repeats, args.seed)),
        ("growth", lambda: growth(max(50, args.runs // 10), args.seed)),
    ):
        result[name] = part()
        print(f"{time.perf_counter() - start:.0f} s {name}\n{json.dumps(result[name], indent=1)}", flush=True)
        (args.out / "result.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
