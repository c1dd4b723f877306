"""Finds out by trying which isolation level works on this machine."""

from __future__ import annotations

import platform
import sys
from dataclasses import dataclass
from typing import Literal

from forewarn.errors import EngineFault
from forewarn.sandbox import codec
from forewarn.sandbox.execution import Level
from forewarn.sandbox.host import Sandbox

LEVELS: tuple[Level, ...] = ("strict", "hardened", "weak")
"""strongest first; ``inside/defences.py`` lists each level's defences. weak protects neither files nor the network: it
is for trusted code, and only if the caller allows it"""
_HARMLESS: dict[str, codec.Tree] = {
    "code": "def f():\n    return 1",
    "entry_point": "f",
    "cases": [["t"]],
    "child": "",
}


@dataclass(frozen=True, slots=True)
class Trial:
    """The result of one level on a harmless submission."""

    why_not: str | None
    """None if it works"""
    missing: tuple[str, ...] = ()
    """defences of the level that this kernel lacks, but without which the level still works"""


def try_level(level: Level, max_memory_mb: int) -> Trial:
    """Try a level with one harmless execution."""
    if sys.platform != "linux":
        return Trial(f"needs Linux; this is {platform.system()}: use a container or a virtual machine")
    sandbox = Sandbox(level, max_memory_mb)
    try:
        execution = sandbox.execute(_HARMLESS, None, 30.0)
        if b'"v":1' not in execution.frames:
            return Trial("a harmless execution gave no result")
        return Trial(None, sandbox.missing)
    except EngineFault as fault:
        return Trial(str(fault))
    finally:
        sandbox.close()


def works(level: Level, max_memory_mb: int) -> str | None:
    """Return None if a level works here, else the reason why not."""
    return try_level(level, max_memory_mb).why_not


def choose_level(level: Literal["strict", "hardened"] | None, allow_weak: bool, max_memory_mb: int) -> Level:
    """Return the requested level, or the strongest that works. Raises ``EngineFault`` if none can be used."""
    reasons = []
    for candidate in (level,) if level is not None else LEVELS[:-1]:
        trouble = works(candidate, max_memory_mb)
        if trouble is None:
            return candidate
        reasons.append(f"{candidate}: {trouble}")
    if allow_weak:
        trouble = works("weak", max_memory_mb)
        if trouble is None:
            return "weak"
        reasons.append(f"weak: {trouble}")
    remedy = (
        "use Linux 5.13 or later with Landlock, seccomp and user namespaces, or, for trusted code alone, "
        "--allow-weak-sandbox (allow_weak=True)"
    )
    raise EngineFault(f"no isolation level works ({'; '.join(reasons)}): {remedy}")
