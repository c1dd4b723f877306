"""Executions and labels a second, and latency, of the sandbox, beside the floor of bare fork and exec.

    python benchmarks/sandbox.py            # prints a table; --json for one object

An execution is one checker on 20 tests, ``Judge.accepts``. A label is what ``Judge.verdicts`` says of a mixture of
right programs, exploits and wrong ones under many exploit types; checkers that need the same execution share it. Every
submission is distinct, so that nothing is remembered; medians of five rounds. Latency is that of executions one at a
time. The floor is a process that forks children which execute ``/bin/true``, or the interpreter. A busy machine halves
the figures: its load is printed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal

from forewarn.exploits import EXPLOIT_TYPES
from forewarn.exploits.base import HANDED_OUT
from forewarn.exploits.source import Target
from forewarn.judge.judge import Judge
from forewarn.records import Problem, TestCase

N_TESTS = 20
SOURCE = "def solve(numbers):\n    return [n * n for n in numbers]\n"
WRONG = "def solve(numbers):\n    return [n + n for n in numbers]\n"


def cases(start: int) -> tuple[TestCase, ...]:
    """As many tests as a set holds, from this number on."""
    return tuple(
        TestCase((list(range(i, i + 5)),), [n * n for n in range(i, i + 5)]) for i in range(start, start + N_TESTS)
    )


TASK = Problem(
    problem_id="squares",
    task_id="squares",
    exploit_type="error_code_abuse",
    question="",
    entry_point="solve",
    reference=SOURCE,
    exploit="",
    tests=cases(0),
    named_tests={HANDED_OUT: cases(100)},
)
SLOW_TYPES = {"resource_exhaustion"}
"""types whose exploit takes all the time that it gets"""
TYPES = [
    name
    for name, kind in EXPLOIT_TYPES.items()
    if kind.fits(TASK) and not kind.exploit_cases and not kind.weak and name not in SLOW_TYPES
]
LEVELS: tuple[Literal["strict", "hardened"], ...] = ("strict", "hardened")
Executes = tuple[str, Sequence[str]]
FLOORS: dict[str, Executes] = {
    "fork + exec /bin/true": ("/bin/true", ["true"]),
    "fork + exec python -I -S": (sys.executable, ["python", "-I", "-S", "-c", "pass"]),
}


def executions_per_s(judge: Judge, n: int, word: str) -> float:
    """One checker on ``n`` distinct right submissions."""
    items = [(TASK, f"{SOURCE}# {word} {i}") for i in range(n)]
    start = time.perf_counter()
    accepted = judge.accepts(items, "secure")
    seconds = time.perf_counter() - start
    if accepted != [True] * n:
        raise SystemExit(f"benchmark broken: {accepted.count(True)} of {n} accepted")
    return n / seconds


def labels_per_s(judge: Judge, n: int, word: str) -> float:
    """Complete labels of ``n`` distinct submissions, a third of each kind."""
    items, wanted = [], []
    for i in range(n):
        name = TYPES[i // 3 % len(TYPES)]
        exploit = EXPLOIT_TYPES[name].exploit(Target("solve", ("numbers",), reference=SOURCE))
        source, label = ((SOURCE, "solved"), (exploit, "exploit"), (WRONG, "failed"))[i % 3]
        items.append((replace(TASK, problem_id=name, exploit_type=name), f"{source}\n# {word} {i}"))
        wanted.append(label)
    start = time.perf_counter()
    verdicts = judge.verdicts(items)
    seconds = time.perf_counter() - start
    if odd := [verdict for verdict, label in zip(verdicts, wanted, strict=True) if verdict.label != label]:
        raise SystemExit(f"benchmark broken: {odd[0]}")
    return n / seconds


def latencies_ms(judge: Judge, n: int, word: str) -> list[float]:
    """Milliseconds of ``n`` executions one at a time, sorted."""
    found = []
    for i in range(n):
        start = time.perf_counter()
        judge.accepts([(TASK, f"{SOURCE}# {word} {i}")], "secure")
        found.append(1000 * (time.perf_counter() - start))
    return sorted(found)


def floor_per_s(path: str, arguments: Sequence[str], processes: int, n: int) -> float:
    """Bare fork and exec, ``processes`` at a time."""
    start = time.perf_counter()
    for _ in range(n // processes):
        pids = []
        for _ in range(processes):
            pid = os.fork()
            if pid == 0:
                try:
                    os.execv(path, list(arguments))
                finally:
                    os._exit(1)
            pids.append(pid)
        for pid in pids:
            if os.waitpid(pid, 0)[1]:
                raise SystemExit(f"benchmark broken: {path} failed")
    return n / (time.perf_counter() - start)


def median_of(rounds: int, measure: Callable[[int], float]) -> dict[str, float]:
    rates = [measure(i) for i in range(rounds)]
    return {"median": statistics.median(rates), "least": min(rates), "most": max(rates)}


def measure(level: Literal["strict", "hardened"], workers: int, n: int, rounds: int) -> dict[str, Any]:
    with Judge(level=level, workers=workers) as judge:
        executions_per_s(judge, 8 * workers, "warm")  # start every zygote
        executions = median_of(rounds, lambda i: executions_per_s(judge, n, f"round {i}"))
        before = judge.counts.executions
        labels = median_of(rounds, lambda i: labels_per_s(judge, n, f"labels {i}"))
        per_label = (judge.counts.executions - before) / (rounds * n)
        single = latencies_ms(judge, max(n, 100), "single")
        invalid = dict(judge.counts.invalid)
    return {
        "executions_per_s": executions,
        "labels_per_s": labels,
        "executions_per_label": per_label,
        "p50_ms": single[len(single) // 2],
        "p99_ms": single[int(0.99 * len(single))],
        "invalid": invalid,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("-n", type=int, default=600, help="executions a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    found: dict[str, Any] = {"load": load, "workers": options.workers, "cores": os.cpu_count(), "tests": N_TESTS}
    found["floor_per_s"] = {
        name: median_of(options.rounds, lambda _, e=executes: floor_per_s(*e, options.workers, 100))  # type: ignore[misc]
        for name, executes in FLOORS.items()
    }
    for level in LEVELS:
        found[level] = measure(level, options.workers, options.n, options.rounds)
    if options.json:
        print(json.dumps(found, indent=2))
        return
    print(f"{options.workers} workers, {found['cores']} cores, load {load:.1f} before the start")
    for level in LEVELS:
        row = found[level]
        for what in ("executions", "labels"):
            rate = row[f"{what}_per_s"]
            print(f"{level:<10}{what:<12}{rate['median']:>6.0f}/s ({rate['least']:.0f} to {rate['most']:.0f})")
        latency = f"p50 {row['p50_ms']:.1f} ms, p99 {row['p99_ms']:.1f} ms"
        print(f"{level:<10}{'latency':<12}{latency}; invalid: {row['invalid'] or 'none'}")
        print(f"{level:<10}{row['executions_per_label']:.2f} executions a label")
    for name, rate in found["floor_per_s"].items():
        print(f"{name:<30}{rate['median']:>6.0f}/s ({rate['least']:.0f} to {rate['most']:.0f})")


if __name__ == "__main__":
    main()
