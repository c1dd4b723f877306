"""tinker-cookbook: a line of ``checkpoints.jsonl`` for each checkpoint, whose weights are on the service."""

from __future__ import annotations

import json
import re
from pathlib import Path

from forewarn.checkpoints.layouts.base import Layout, Spot

LIST = "checkpoints.jsonl"


def _listed(run: Path, layout: Layout) -> list[Spot]:
    """A line counts once it ends: a trainer may be in the middle of one."""
    try:
        text = (run / LIST).read_text()
    except OSError:
        return []
    found = []
    for line in text.splitlines(keepends=True):
        try:
            entry = json.loads(line) if line.endswith("\n") else None
        except ValueError:
            continue
        if not isinstance(entry, dict):
            continue
        step, remote = _step(entry), entry.get("sampler_path")
        if step is not None and isinstance(remote, str):
            found.append(Spot(layout, run, step, str(entry.get("name", step)), remote))
    return found


def _step(entry: dict[str, object]) -> int | None:
    """Batches of training behind a checkpoint, each of which is one optimizer step."""
    batch, name = entry.get("batch"), entry.get("name")
    if isinstance(batch, int) and not isinstance(batch, bool):
        return batch
    return int(name) if isinstance(name, str) and name.isdecimal() else None


TINKER = Layout(
    title="tinker-cookbook",
    pattern=re.compile(r"(?!)(?P<step>)"),  # no folder is one
    shown=f"a line of {LIST}",
    weights_in=(),
    listed=_listed,
)
