"""Fuzzes the sandbox: random hostile submissions between known ones, while zygotes and workers are killed at random.

    python benchmarks/sandbox_fuzz.py --minutes 10        # ends with 1 after a wrong verdict or a leak

See ``stress.py`` for what is thrown at it and what counts as wrong.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.stress import TIMEOUT_S, Sample, Stress, Tally, leaks, own_temporary_folder, sample

from forewarn.judge.judge import Judge

BATCH = 64
SAMPLE_EVERY_S = 2.0


def fuzz(
    level: str | None, seconds: float, seed: int, workers: int, fault_every_s: float
) -> tuple[Tally, list[Sample], list[str]]:
    """Judge for so long. Returns counts, samples, and what leaked."""
    samples: list[Sample] = []
    start = time.monotonic()
    with own_temporary_folder() as folder:
        before = sample(Tally(), start, folder)
        with Judge(level=level, workers=workers, timeout_s=TIMEOUT_S, remember=1000) as judge:  # type: ignore[arg-type]
            with Stress(judge, seed, fault_every_s) as stress:
                while time.monotonic() - start < seconds:
                    stress.batch(BATCH)
                    if not samples or time.monotonic() - start - samples[-1].seconds >= SAMPLE_EVERY_S:
                        samples.append(sample(stress.tally, start, folder))
            print(f"{judge.level}: {judge.counts}")
        after = sample(stress.tally, start, folder)
        return stress.tally, samples, leaks(before, samples, after)


def report(tally: Tally, leaked: list[str]) -> int:
    """Print what was found; the exit status."""
    faults = ", ".join(f"{n} {name}" for name, n in sorted(tally.faults.items()))
    print(f"{tally.judged} submissions judged ({dict(sorted(tally.labels.items()))})")
    print(f"faults injected: {sum(tally.faults.values())} ({faults})")
    print(f"invalid and asked again: {tally.invalid}; known ones left without an answer: {tally.unanswered}")
    print(f"wrong verdicts: {len(tally.wrong)}")
    for line in tally.wrong[:20]:
        print(f"  {line}")
    print(f"leaks: {'; '.join(leaked) or 'none'}")
    return 1 if tally.wrong or leaked else 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--level", choices=("strict", "hardened"), default=None)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--fault-every", type=float, default=0.5, help="seconds between faults, on average")
    options = parser.parse_args()
    tally, samples, leaked = fuzz(
        options.level, 60 * options.minutes, options.seed, options.workers, options.fault_every
    )
    if samples:
        print(dataclasses.asdict(samples[-1]))
    sys.exit(report(tally, leaked))


if __name__ == "__main__":
    main()
