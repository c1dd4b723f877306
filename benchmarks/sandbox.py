"""Executions a second, and latency, of each sandbox level beside the floor of a bare fork and exec of the interpreter.

    python benchmarks/sandbox.py            # prints a table; --json for one object

Distinct correct submissions to a task of ten tests, through ``Judge.verdicts``; median of five rounds. Latency is that
of single executions, one at a time. The machine's load is printed: a busy machine halves the figures.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from typing import Literal

from forewarn.judge.judge import Judge
from forewarn.records import Problem, TestCase

SOURCE = "def solve(numbers):\n    return [n * n for n in numbers]\n"
TASK = Problem(
    problem_id="squares",
    task_id="squares",
    exploit_type="error_code_abuse",
    question="",
    entry_point="solve",
    reference=SOURCE,
    exploit="",
    tests=tuple(TestCase((list(range(i, i + 5)),), [n * n for n in range(i, i + 5)]) for i in range(10)),
)


def throughput(judge: Judge, round_index: int, n: int) -> float:
    """Executions a second over ``n`` distinct submissions."""
    items = [(TASK, f"{SOURCE}# {round_index} {i}") for i in range(n)]
    start = time.perf_counter()
    labels = {verdict.label for verdict in judge.verdicts(items)}
    seconds = time.perf_counter() - start
    if labels != {"solved"}:
        raise SystemExit(f"benchmark broken: labels {labels}")
    return n / seconds


def latencies(judge: Judge, n: int) -> list[float]:
    """Milliseconds of ``n`` single executions, sorted."""
    found = []
    for i in range(n):
        start = time.perf_counter()
        judge.verdicts([(TASK, f"{SOURCE}# single {i}")])
        found.append(1000 * (time.perf_counter() - start))
    return sorted(found)


def floor(n: int) -> float:
    """Executions a second of ``python -I -S`` doing nothing, one after the other."""
    start = time.perf_counter()
    for _ in range(n):
        subprocess.run([sys.executable, "-I", "-S", "-c", "pass"], check=True)
    return n / (time.perf_counter() - start)


def measure(level: Literal["strict", "hardened"], workers: int, n: int, rounds: int) -> dict[str, float]:
    with Judge(level=level, workers=workers) as judge:
        throughput(judge, -1, 4 * workers)  # start every zygote
        rates = [throughput(judge, i, n) for i in range(rounds)]
        single = latencies(judge, n)
    return {
        "per_s": statistics.median(rates),
        "per_s_min": min(rates),
        "per_s_max": max(rates),
        "p50_ms": single[len(single) // 2],
        "p99_ms": single[min(len(single) - 1, int(0.99 * len(single)))],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("-n", type=int, default=200, help="executions a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    table = {level: measure(level, options.workers, options.n, options.rounds) for level in ("strict", "hardened")}
    bare = statistics.median(floor(max(10, options.n // 10)) for _ in range(options.rounds))
    if options.json:
        print(json.dumps({"load": load, "workers": options.workers, "exec_floor_per_s": bare, **table}))
        return
    print(f"{options.workers} workers, {os.cpu_count()} cores, load {load:.1f} before the start")
    for level, row in table.items():
        spread = f"{row['per_s_min']:.0f} to {row['per_s_max']:.0f}"
        print(f"{level:<10}{row['per_s']:>6.0f}/s ({spread})   p50 {row['p50_ms']:.1f} ms   p99 {row['p99_ms']:.1f} ms")
    print(f"{'bare exec':<10}{bare:>6.0f}/s (one at a time, python -I -S -c pass)")


if __name__ == "__main__":
    main()
