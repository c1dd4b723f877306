"""How the interval method was chosen: candidates on random covered worlds, by measured coverage.

    python benchmarks/intervals.py --repeats 250

The worlds are drawn at random (seeded) and are not those of ``benchmarks/estimation.py``, which judges the choice. See
``docs/decisions`` for what was decided.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import replace

import numpy as np
from scipy.stats import norm
from scipy.stats import t as student

from forewarn.estimation.diagnostics import Diagnostics, count_uncovered, direct_test, judge
from forewarn.estimation.intervals import Units, gamma_interval, unit_totals
from forewarn.estimation.sample import read_sample
from forewarn.estimation.tails import pareto_khat
from forewarn.worlds import World
from forewarn.worlds.catalogue import Habits, simple, unequal
from forewarn.worlds.draw import draw, draw_random, planned_counts

LEVEL = 0.9


def random_worlds(n: int, rng: np.random.Generator) -> list[World]:
    """Worlds over the whole range of habits; every sixth has 10 or 40 unequal problems."""

    def log_uniform(low: float, high: float) -> float:
        return float(10 ** rng.uniform(low, high))

    out = []
    for i in range(n):
        subject = Habits(
            intent=log_uniform(-7, -2), turn=log_uniform(-7, -3), look=log_uniform(-3, -1), slip=log_uniform(-4, -1.3),
            hack=rng.uniform(0.1, 0.75), stop=rng.uniform(0.2, 0.5),
        )  # fmt: skip
        donor = Habits(
            intent=rng.uniform(0.2, 0.95), turn=rng.uniform(0, 0.3), look=rng.uniform(0.02, 0.3),
            slip=log_uniform(-2, -0.4), hack=rng.uniform(0.4, 0.78),
            stop=subject.stop if i % 2 else rng.uniform(0.2, 0.5),
        )  # fmt: skip
        if i % 6 == 5:
            common = replace(subject, intent=3 * subject.intent)
            out.append(unequal(f"random {i}", (10, 40)[i // 6 % 2], common, decades=rng.uniform(1, 4)))
        else:
            out.append(simple(f"random {i}", subject, donor))
    return out


def candidates(units: Units) -> dict[str, tuple[float, float]]:
    """ln of lower and upper factor on the estimate, by method."""

    def gamma(variance: float, extra: float) -> tuple[float, float]:
        changed = Units(np.concatenate([[extra], units.share_H[1:]]), variance)
        low, high = gamma_interval(changed, level=LEVEL)
        return (math.log(low) if low > 0 else -99.0), math.log(high)

    top, ess, variance = float(units.share_H[0]), units.ess, units.relative_variance
    z = float(norm.isf((1 - LEVEL) / 2)) * math.sqrt(variance)
    t = float(student.isf((1 - LEVEL) / 2, max(ess - 1, 1))) * math.sqrt(variance)
    return {
        "gamma, largest weight, stratified": gamma(variance, top),
        "gamma, mean weight, stratified": gamma(variance, 1 / ess),
        "gamma, twice the largest, stratified": gamma(variance, 2 * top),
        "gamma, largest weight, Poisson variance": gamma(1 / ess, top),
        "log-normal, delta method": (-z, z),
        "log-t, ESS - 1 degrees": (-t, t),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=100)
    parser.add_argument("--worlds", type=int, default=24)
    parser.add_argument("--seed", type=int, default=12345)
    args = parser.parse_args()
    coverage: dict[str, list[float]] = {}
    count: dict[str, np.ndarray] = {}
    width: dict[str, list[float]] = {}
    khat: list[tuple[bool, bool]] = []
    for w, world in enumerate(random_worlds(args.worlds, np.random.default_rng(args.seed))):
        if not world.covered:
            continue
        for n in (200, 1000, 5000):
            rng, count_S = np.random.default_rng([args.seed, w, n]), planned_counts(world, n)
            inside: dict[str, list[bool]] = {}
            for _ in range(args.repeats):
                random = count_S is None
                d = draw_random(world, n, rng) if count_S is None else draw(world, count_S, rng)
                sample = read_sample(
                    d.log_ratio_NS, d.is_exploit_N, d.span_N, problem_N=d.problem_N,
                    share_S=world.share_S if random else None, design="random" if random else "stratified",
                )  # fmt: skip
                found = unit_totals(sample)
                if found is None:
                    continue
                units, log_p = found
                tail = pareto_khat(units.share_H)
                verdict = Diagnostics(
                    units.ess, float(units.share_H[0]), None, direct_test(sample), count_uncovered(sample)
                )
                if not judge(verdict)[0]:
                    continue
                for name, (low, high) in candidates(units).items():
                    over, under = log_p + low > math.log(world.p), log_p + high < math.log(world.p)
                    inside.setdefault(name, []).append(not (over or under))
                    count[name] = count.get(name, np.zeros(3)) + np.array([1, over, under])
                    width.setdefault(name, []).append((high - low) / math.log(10))
                khat.append((tail is not None and tail > 0.7, not inside["gamma, largest weight, stratified"][-1]))
            for name, values in inside.items():
                if len(values) >= 0.9 * args.repeats:
                    coverage.setdefault(name, []).append(float(np.mean(values)))
    print("| method | lowest coverage of a world | mean | truth below | truth above | median width (decades) |")
    print("|---|---|---|---|---|---|")
    for name, values in coverage.items():
        n, over, under = count[name]
        print(f"| {name} | {min(values):.3f} | {np.mean(values):.3f} | {over / n:.3f} | {under / n:.3f} "
              f"| {np.median(width[name]):.3f} |")  # fmt: skip
    flags = np.array(khat)
    print(f"\n{len(next(iter(coverage.values())))} (world, N) with 90 % resolved, {args.repeats} repeats each")
    print(f"k-hat above 0.7: {flags[:, 0].mean():.3f} of resolved estimates; they miss in "
          f"{flags[flags[:, 0], 1].mean():.3f}, the others in {flags[~flags[:, 0], 1].mean():.3f}")  # fmt: skip


if __name__ == "__main__":
    main()
