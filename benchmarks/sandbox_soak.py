"""An hour of the sandbox under fire: raw samples and a plot of what was judged, broken, wrong, and held.

    python benchmarks/sandbox_soak.py --hours 1 --out docs/soak

Writes ``samples.csv`` (one row every few seconds), ``summary.json`` and ``soak.png`` to the folder. Ends with 1 after a
wrong verdict or a leak. See ``stress.py`` for what is thrown at it.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.sandbox_fuzz import fuzz, report
from benchmarks.stress import Sample, Tally


def write_samples(samples: Sequence[Sample], path: Path) -> None:
    names = [field.name for field in dataclasses.fields(Sample)]
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        writer.writerows([getattr(sample, name) for name in names] for sample in samples)


def summary(tally: Tally, samples: Sequence[Sample], leaked: Sequence[str], level: str, load: float) -> dict[str, Any]:
    last = samples[-1]
    return {
        "level": level,
        "hours": round(last.seconds / 3600, 3),
        "judged": tally.judged,
        "labels": dict(sorted(tally.labels.items())),
        "faults": dict(sorted(tally.faults.items())),
        "wrong": len(tally.wrong),
        "wrong_programs": tally.wrong,
        "invalid_and_asked_again": tally.invalid,
        "left_without_an_answer": len(tally.unanswered),
        "leaks": list(leaked),
        "largest_rss_mb": max(sample.rss_mb for sample in samples),
        "most_descriptors": max(sample.descriptors for sample in samples),
        "load_at_start": load,
        "cores": os.cpu_count(),
    }


def plot(samples: Sequence[Sample], path: Path) -> None:
    import matplotlib as mpl

    mpl.use("agg")
    import matplotlib.pyplot as plt

    minutes = [sample.seconds / 60 for sample in samples]
    panels: list[tuple[str, list[tuple[str, str]]]] = [
        ("submissions judged", [("judged", "judged")]),
        ("count", [("faults", "faults injected"), ("invalid", "invalid, asked again"), ("wrong", "wrong verdicts")]),
        ("resident memory, MiB", [("rss_mb", "judge"), ("zygotes_rss_mb", "largest zygote")]),
        ("count", [("descriptors", "open descriptors of the judge"), ("processes", "zygotes and children")]),
    ]
    figure, axes = plt.subplots(len(panels), 1, figsize=(8, 10), sharex=True, layout="constrained")
    for axis, (label, lines) in zip(axes, panels, strict=True):
        for name, words in lines:
            axis.plot(minutes, [getattr(sample, name) for sample in samples], label=words, linewidth=1)
        axis.set_ylabel(label)
        axis.set_ylim(bottom=0)
        axis.legend(loc="upper left", frameon=False)
    axes[-1].set_xlabel("minutes")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=float, default=1.0)
    parser.add_argument("--out", type=Path, default=Path("soak"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--level", choices=("strict", "hardened"), default="strict")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--fault-every", type=float, default=2.0, help="seconds between faults, on average")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    load = os.getloadavg()[0]
    tally, samples, leaked = fuzz(
        options.level, 3600 * options.hours, options.seed, options.workers, options.fault_every
    )
    write_samples(samples, options.out / "samples.csv")
    found = summary(tally, samples, leaked, options.level, load)
    (options.out / "summary.json").write_text(json.dumps(found, indent=2) + "\n")
    plot(samples, options.out / "soak.png")
    sys.exit(report(tally, leaked))


if __name__ == "__main__":
    main()
