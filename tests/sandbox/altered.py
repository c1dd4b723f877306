"""A zygote in which something is changed before it starts, as it can't be from outside."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any


def start_altered(settings: dict[str, Any], module: str, change: str) -> subprocess.Popen[bytes]:
    """Start the zygote of ``settings`` after ``change``, a statement about ``module`` of ``sandbox/inside``."""
    script = (
        f"import sys; sys.path.append({settings['source_root']!r}); "
        f"from forewarn.sandbox.inside import {module}, zygote; {change}; zygote.main()"
    )
    return subprocess.Popen(
        [sys.executable, "-s", "-S", "-c", script, json.dumps(settings)],
        env={"PYTHONHASHSEED": "0"},
        cwd="/",
        pass_fds=(settings["fd"],),
        start_new_session=True,
    )
