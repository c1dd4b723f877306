"""``forewarn sandbox check``: what this machine offers for running submissions, tried out and not guessed."""

from __future__ import annotations

import json
import time
from typing import Annotated, Literal

import typer

from forewarn.errors import ForewarnError

N_TIMED = 20

GUARDS = {
    "strict": "namespaces, Landlock, seccomp and resource limits",
    "hardened": "Landlock, seccomp and resource limits; no namespaces",
    "weak": "resource limits and a process group; for code you trust",
}
"""sandbox level -> what stands between a submission and the machine"""


def check(
    need: Annotated[
        Literal["strict", "hardened", "weak"],
        typer.Option(help="Exit with 2 unless this level or a stronger one works."),
    ] = "weak",
    memory_mb: Annotated[int, typer.Option(min=64, help="Memory limit of one execution, MiB.")] = 512,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Try each sandbox level with a harmless program; say which work here, how fast, and why the others don't."""
    from forewarn.judge.levels import LEVELS, works

    why_not = {level: works(level, memory_mb) for level in LEVELS}
    usable = [level for level in LEVELS if why_not[level] is None]
    ms = {level: _median_ms(level, memory_mb) for level in usable}
    best = usable[0] if usable else None
    if as_json:
        levels = {
            level: {"works": why_not[level] is None, "why_not": why_not[level], "ms": ms.get(level)} for level in LEVELS
        }
        print(json.dumps({"best": best, "levels": levels}, indent=2))
    else:
        for level in LEVELS:
            state = f"works, {ms[level]:.1f} ms" if level in ms else f"does not work here: {why_not[level]}"
            print(f"{level:<9} {state} ({GUARDS[level]})")
        print(
            f"Verdicts on this machine will be reached at level {best}." if best else "No level works on this machine."
        )
    if best is None or LEVELS.index(best) > LEVELS.index(need):
        raise ForewarnError(
            f"sandbox level {need} is needed but {best or 'none'} is the strongest that works here; "
            f"see the reasons above, or ask for less with --need"
        )


def _median_ms(level: Literal["strict", "hardened", "weak"], memory_mb: int) -> float:
    """Median wall clock of an execution, milliseconds, asked and answered."""
    from statistics import median

    from forewarn.judge.sandbox import Sandbox

    sandbox = Sandbox(level, memory_mb)
    times_ms = []
    try:
        for _ in range(N_TIMED):
            start = time.perf_counter()
            sandbox.execute(
                {"code": "def f():\n    return 1", "entry_point": "f", "cases": [], "child": ""}, None, 30.0
            )
            times_ms.append(1000 * (time.perf_counter() - start))
    finally:
        sandbox.close()
    return median(times_ms)
