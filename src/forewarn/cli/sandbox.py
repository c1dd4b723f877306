"""``forewarn sandbox check``: tries what this machine offers for running submissions."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from forewarn.cli.say import say, say_json
from forewarn.errors import ForewarnError

if TYPE_CHECKING:
    from forewarn.sandbox.execution import Level
    from forewarn.sandbox.levels import Trial

N_TIMED = 20
GUARDS = {
    "strict": "namespaces, a root of its own, Landlock, seccomp and resource limits",
    "hardened": "Landlock, seccomp and resource limits; a root of its own if user namespaces work",
    "weak": "resource limits and a process group; for code that you trust, if you allow it",
}
"""sandbox level -> what separates a submission from the machine"""


def check(
    need: Annotated[
        Literal["strict", "hardened", "weak"],
        typer.Option(help="Exit with 2 unless this level or a stronger one works."),
    ] = "weak",
    memory_mb: Annotated[int, typer.Option(min=64, max=1 << 20, help="Memory limit of one execution, MiB.")] = 512,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Try each sandbox level with a harmless program; say which work here, how fast, and why the others don't."""
    from forewarn.sandbox.levels import LEVELS, try_level
    from forewarn.sandbox.machine import offers

    trials = {level: try_level(level, memory_mb) for level in LEVELS}
    usable = [level for level in LEVELS if trials[level].why_not is None]
    ms = {level: _median_ms(level, memory_mb) for level in usable}
    best = usable[0] if usable else None
    if as_json:
        levels = {
            level: {
                "works": trial.why_not is None,
                "why_not": trial.why_not,
                "missing": list(trial.missing),
                "ms": ms.get(level),
            }
            for level, trial in trials.items()
        }
        say_json({"best": best, "levels": levels, "machine": offers()})
    else:
        _print_levels(trials, ms)
        for means, state in offers().items():
            say(f"{means:<16} {state}")
        say(_conclusion(best))
    if best is None or LEVELS.index(best) > LEVELS.index(need):
        raise ForewarnError(
            f"sandbox level {need} is needed, but the strongest that works here is {best or 'none'}; "
            f"see the reasons above, or lower --need"
        )


def _print_levels(trials: dict[Level, Trial], ms: dict[Level, float]) -> None:
    for level, trial in trials.items():
        state = f"works, {ms[level]:.1f} ms" if level in ms else f"does not work here: {trial.why_not}"
        without = f"; without {' and '.join(trial.missing)}, which this kernel lacks" if trial.missing else ""
        say(f"{level:<16} {state}{without} ({GUARDS[level]})")


def _conclusion(best: Level | None) -> str:
    if best is None:
        return "No level works on this machine."
    if best == "weak":
        return "Only level weak works on this machine: nothing is judged unless --allow-weak-sandbox is given."
    return f"Verdicts on this machine will be reached at level {best}."


def _median_ms(level: Level, memory_mb: int) -> float:
    """Return the median wall-clock time of an execution, from request to answer, milliseconds."""
    from statistics import median

    from forewarn.sandbox.host import Sandbox

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
