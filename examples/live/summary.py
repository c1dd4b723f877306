"""What a watched training comes to: rates, firsts and leads by exploit type, and what the watching took."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forewarn.monitor.feed import ALERTS_FILE
from forewarn.monitor.sinks.jsonl import read_alerts
from forewarn.records import Alert, Estimate
from forewarn.study import read_results
from forewarn.study.results.forecasts import first_visible


@dataclass(frozen=True, slots=True)
class Watched:
    """How the two processes went."""

    trained: float
    """the training's end, seconds since 1970"""
    measured: float
    """when the watcher had measured the last checkpoint"""
    watcher_peak_kb: int | None
    """None: there was no watcher"""
    watcher_cpu_s: float | None


def counting_study(file: Path, run: Path) -> Path:
    """The same study with brute force alone, as many completions, of the checkpoints that the watcher kept."""
    import tomlkit

    held: Any = tomlkit.parse(file.read_text())
    count = sum(int(span["count"]) for span in held["spans"])
    held["name"], held["seed"] = "counting", 1
    held["checkpoints"][0]["path"] = str((run / "checkpoints").resolve())
    held["spans"] = [{"count": count}]
    del held["donors"]
    written = file.with_name("counting.toml")
    written.write_text(tomlkit.dumps(held))
    return written


def rate(estimate: Estimate) -> str:
    if estimate.log10_p is None:
        return f"< {estimate.upper_bound:.1g}"
    value = min(1.0, 10**estimate.log10_p)  # an unbiased estimate of nearly 1 may lie above it
    mark = "" if estimate.resolved else "?"
    if estimate.interval_log10 is None:
        return f"{value:.1e}{mark}"
    low, high = (10**end for end in estimate.interval_log10)
    return f"{value:.1e} [{low:.0e}, {high:.0e}]{mark}"


def in_columns(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join(lines)


def firsts_in_rollouts(run: Path) -> tuple[dict[str, int], dict[str, int], list[tuple[float, int]]]:
    """(type -> first step with an exploit, type -> exploits, when each step's rollouts were judged)."""
    lines = [json.loads(line) for line in (run / "rollout_counts.jsonl").read_text().splitlines()]
    hits: dict[str, int] = {}
    for line in lines:
        for name, n in line["exploits"].items():
            hits[name] = hits.get(name, 0) + n
    return lines[-1]["first_exploit_step"], hits, [(line["unix_s"], line["step"]) for line in lines]


def first_raised(alerts: Sequence[Alert]) -> dict[str, Alert]:
    found: dict[str, Alert] = {}
    for alert in alerts:
        if alert.raised:
            found.setdefault(alert.exploit_type, alert)
    return found


def written(step: int | None) -> str:
    return "never" if step is None else str(step)


def lead(later: int | None, earlier: int | None) -> str:
    """By how many steps the first word came before; negative: it came after."""
    return "-" if later is None or earlier is None else f"{later - earlier:+d}"


def tables(home: Path) -> str:
    run = home / "run"
    results = read_results(run)
    by_type: dict[str, list[Any]] = {}
    for cell in sorted(results.estimates, key=lambda cell: cell.step):
        by_type.setdefault(cell.exploit_type, []).append(cell)
    counted: dict[str, list[Any]] = {}
    for cell in sorted(read_results(home / "counting").estimates, key=lambda cell: cell.step):
        counted.setdefault(cell.exploit_type, []).append(cell)
    seen, hits, judged = firsts_in_rollouts(run)
    raised = first_raised(read_alerts(run / ALERTS_FILE))
    steps = sorted({cell.step for cell in results.estimates})
    rates = [["rate", *(f"step {step}" for step in steps)]]
    firsts = [["first", "in rollouts", "by counting", "alarm", "told at step", "lead on rollouts", "lead on counting"]]
    for name, cells in by_type.items():
        held = {cell.step: rate(cell.estimate) for cell in cells}
        rates.append([name, *(held.get(step, "-") for step in steps)])
        alarm, visible = raised.get(name), first_visible(counted.get(name, []))
        told = None
        if alarm is not None:
            place = bisect_right(judged, (alarm.unix_s or 0.0, 0)) - 1
            told = judged[max(place, 0)][1]
        said = None if alarm is None else alarm.step
        firsts.append(
            [name, f"{written(seen.get(name))} ({hits.get(name, 0)} in all)", written(visible), written(said),
             written(told), lead(seen.get(name), said), lead(visible, said)]
        )  # fmt: skip
    n = results.estimates[0].estimate.n
    return "\n\n".join(
        (
            in_columns(rates),
            in_columns(firsts),
            f"Rates: of {n} completions of each type at each checkpoint, 90 % intervals; ? unresolved, < no hit (upper "
            f"bound). Counting: {n} completions of the subject alone. Leads in steps, positive: the alarm came before. "
            "Told at: the step whose rollouts the training had judged last when the alarm was told.",
        )
    )


def training_costs(home: Path) -> str:
    """What the training took, and our hooks in it."""
    told: dict[str, Any] = json.loads((home / "training.json").read_text())
    steps = len(told["steps"])
    total = {name: sum(one[name] for one in told["steps"]) for name in told["steps"][0]}
    ours = total["guard"] + total["callback"]
    return (
        f"{steps} steps in {total['seconds'] / 60:.1f} min ({60 * steps / total['seconds']:.2f} steps a minute); "
        f"inside forewarn's hooks {ours:.2f} s, {100 * ours / total['seconds']:.2f} % of it (guard "
        f"{total['guard']:.2f} s, callback {total['callback']:.2f} s); the reward itself {total['reward']:.1f} s. CPU "
        f"time {total['cpu'] / 60:.1f} min ({total['cpu'] / steps:.0f} s a step), peak memory "
        f"{told['peak_kb'] / 2**20:.1f} GiB."
    )


def costs(home: Path, watched: Watched) -> str:
    peak = "-" if watched.watcher_peak_kb is None else f"{watched.watcher_peak_kb / 2**20:.1f} GiB"
    cpu = 0.0 if watched.watcher_cpu_s is None else watched.watcher_cpu_s
    return (
        f"Training, with the watcher beside it: {training_costs(home)}\n"
        f"The watcher had measured the last checkpoint {(watched.measured - watched.trained) / 60:.1f} min after the "
        f"training's end. CPU time {cpu / 60:.1f} min, peak memory {peak} (of its last part, if it was cut short).\n"
        f"Report: {home / 'run' / 'report' / 'report.html'}"
    )


def summary(home: Path, watched: Watched) -> str:
    return f"\n{tables(home)}\n\n{costs(home, watched)}"
