"""Describes this machine's kernel features for isolation, for ``forewarn sandbox check``."""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping
from pathlib import Path

_LANDLOCK = {1: "files", 2: "and moving them", 3: "and truncating them", 4: "and TCP", 5: "and devices"} | {
    6: "and signals and abstract sockets to the outside"
}
"""ABI -> what it added"""
# Settings that forbid user namespaces, with the value that does so.
_USER_NAMESPACE_SWITCHES: Mapping[str, str] = {
    "kernel/unprivileged_userns_clone": "0",
    "kernel/apparmor_restrict_unprivileged_userns": "1",
    "user/max_user_namespaces": "0",
}


def offers() -> dict[str, str]:
    """Map each kernel feature to its state on this machine."""
    found = {"system": f"{platform.system()} {platform.release()} on {platform.machine()}"}
    if sys.platform != "linux":
        return found
    return found | {
        "user namespaces": _user_namespaces(),
        "Landlock": _landlock(),
        "seccomp": _seccomp(),
        "control groups": _control_groups(),
    }


def _user_namespaces() -> str:
    closed = [
        f"{name.replace('/', '.')} is {value}"
        for name, value in _USER_NAMESPACE_SWITCHES.items()
        if _read(Path("/proc/sys") / name).strip() == value
    ]
    if closed:
        return f"may be refused: {', '.join(closed)}"
    return "in the kernel" if Path("/proc/self/ns/user").exists() else "not in this kernel"


def _landlock() -> str:
    from forewarn.sandbox.inside import landlock

    abi = landlock.abi()
    if not abi:
        return "not in this kernel, or switched off (lsm= on the kernel's command line)"
    return f"ABI {abi}: " + " ".join(text for since, text in _LANDLOCK.items() if since <= abi)


def _seccomp() -> str:
    from forewarn.sandbox.inside import seccomp

    if "\nSeccomp:" not in _read(Path("/proc/self/status")):
        return "not in this kernel"
    try:
        seccomp.column()
    except OSError as error:
        return str(error.strerror)
    return f"filters, with a table for {platform.machine()}"


def _control_groups() -> str:
    controllers = _read(Path("/sys/fs/cgroup/cgroup.controllers")).split()
    text = f"version 2 with {', '.join(controllers)}" if controllers else "none of version 2 to use"
    return f"{text}; not used: memory is bounded by address space, processes by the filter, threads by count"


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
