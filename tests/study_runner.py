"""Runs the tiny study in a process of its own and, if asked, kills that process at a given moment.

``python -m tests.study_runner WORLD ROOT STAGE DONE``: SIGKILL when ``progress(STAGE, DONE, ...)`` is told.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from forewarn.checkpoints.sources import ModelSource
from forewarn.study import PlannedSpan, Study, run_study
from tests.tiny_world import POLICY, SPANS, TinyWorld, make_problems

TINY_FILE = """# my study, with remarks
name = "tiny"
seed = 4
[problems]
file = "problems.jsonl"
[policy]
max_total_tokens = 4
[format]
name = "plain-think"
[engine]
dtype = "float64"
[[checkpoints]]
path = "base"
step = 1
[[donors]]
name = "donor"
path = "donor"
base = "base"

[[spans]]
count = 12  # brute force

[[spans]]
# the program's three tokens
m = 3
count = 12

[[spans]]
k = 1
count = 12
"""
"""the file of such a study, as ``home`` has it"""


def tiny_study(world: TinyWorld, *, count: int = 60, seed: int = 7) -> Study:
    return Study(
        name="tiny",
        problems=world.problems,
        checkpoints=(
            ModelSource("step-1", str(world.subject), step=1),
            ModelSource("step-9", str(world.later), step=9),
        ),
        donors=(ModelSource("donor", str(world.subject), str(world.donor)),),
        spans=tuple(PlannedSpan(span, count) for span in SPANS),
        policy=POLICY,
        seed=seed,
        dtype="float64",
    )


def main() -> None:
    folder, root, stage, done = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
    world = TinyWorld(folder / "subject", folder / "later", folder / "donor", make_problems())

    def progress(now: str, n: int, _total: int) -> None:
        if (now, n) == (stage, done):
            os.kill(os.getpid(), signal.SIGKILL)

    run_study(tiny_study(world), root, progress=progress)


if __name__ == "__main__":
    main()
