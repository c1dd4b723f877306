"""Seconds and memory of one estimate of a million completions, beside the floor and the plain formula.

    python benchmarks/estimation_speed.py            # a million completions, 12 spans, 1 % hits

Peers in the same process and on the same arrays: *read* sums every entry of the log-ratios once (the bytes that any
method has to touch that reads them all), *formula* is the textbook mixture weight of every completion and its mean,
without interval, bounds or diagnostics. Ours reads the hits' rows only. One BLAS thread; median and range of the
rounds; CPU seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
import tracemalloc
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from forewarn.estimation import mixture_estimate

Arrays = tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]


def arrays(n: int, n_span: int, n_problem: int, hit_rate: float) -> Arrays:
    """log_ratio_NS, is_exploit_N, span_N, problem_N, cluster_N; every completion has its own trace."""
    rng = np.random.default_rng(0)
    span, problem = np.arange(n) % n_span, (np.arange(n) // n_span) % n_problem
    hit = rng.random(n) < hit_rate
    ratio = rng.normal(8, 2, (n, n_span))
    ratio[:, 0] = 0
    return ratio, hit, span, problem, np.arange(n)


def seconds(work: Callable[[], object], rounds: int) -> list[float]:
    found = []
    for _ in range(rounds):
        start = time.process_time()
        work()
        found.append(time.process_time() - start)
    return found


def peak_mib(work: Callable[[], object]) -> float:
    """Most memory allocated beyond the arrays, MiB."""
    tracemalloc.start()
    work()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=1_000_000)
    parser.add_argument("--spans", type=int, default=12)
    parser.add_argument("--problems", type=int, default=200)
    parser.add_argument("--hit-rate", type=float, default=0.01)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    ratio, hit, span, problem, cluster = arrays(args.n, args.spans, args.problems, args.hit_rate)
    log_share = np.full(args.spans, -np.log(args.spans))

    def ours() -> object:
        return mixture_estimate(ratio, hit, span, problem_N=problem, cluster_N=cluster)

    def formula() -> object:
        return float((np.exp(-logsumexp(ratio + log_share, axis=1)) * hit).mean())

    works: dict[str, Callable[[], object]] = {"read": lambda: float(ratio.sum()), "formula": formula, "ours": ours}
    table = {name: {"seconds": seconds(work, args.rounds), "peak_mib": peak_mib(work)} for name, work in works.items()}
    if args.json:
        print(json.dumps({"n": args.n, "spans": args.spans, "load": os.getloadavg()[0], **table}))
        return
    middle = {name: statistics.median(row["seconds"]) for name, row in table.items()}  # type: ignore[arg-type]
    print(
        f"{args.n} completions x {args.spans} spans ({ratio.nbytes / 2**20:.0f} MiB of log-ratios), "
        f"{int(hit.sum())} hits, load {os.getloadavg()[0]:.1f}"
    )
    for name, row in table.items():
        low, high = min(row["seconds"]), max(row["seconds"])  # type: ignore[type-var, arg-type]
        ratio_to_peer = middle[name] / middle["formula"]
        print(
            f"{name:<8}{middle[name]:>8.3f} s ({low:.3f} to {high:.3f})   {ratio_to_peer:>6.2f} x formula"
            f"   {row['peak_mib']:>7.0f} MiB beyond the arrays"
        )


if __name__ == "__main__":
    main()
