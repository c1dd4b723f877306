"""A zygote in which something is changed before it starts, as it can't be from outside."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import forewarn

SOURCE_ROOT = str(Path(forewarn.__file__).parents[1])


def start_altered(control: int, module: str, change: str, *, apart: bool = True) -> subprocess.Popen[bytes]:
    """Start a zygote on the socket ``control`` after ``change``, a statement about ``module`` of ``sandbox/inside``.

    ``apart``: in a session of its own, which is a scheduling group.
    """
    script = (
        f"import sys; sys.path.append({SOURCE_ROOT!r}); "
        f"from forewarn.sandbox.inside import {module}, zygote; {change}; zygote.main()"
    )
    return subprocess.Popen(
        [sys.executable, "-s", "-S", "-c", script, str(control)],
        env={"PYTHONHASHSEED": "0"},
        cwd="/",
        pass_fds=(control,),
        start_new_session=apart,
    )
