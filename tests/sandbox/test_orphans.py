"""A child whose zygote died before the child asked to die with it."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize("died_before", [True, False])
def test_a_child_of_a_dead_zygote_leaves_at_once(died_before: bool) -> None:
    script = f"""
import os, select, sys, time
from forewarn.sandbox.inside import confine

heard, told = os.pipe()
if os.fork() == 0:  # the zygote
    own = os.pidfd_open(os.getpid())
    if os.fork() == 0:  # its child
        if {died_before}:
            select.select([own], [], [])  # until the zygote is gone
        confine.die_with_parent(own)
        os.write(told, b"alive")
        os._exit(0)
    if not {died_before}:
        os.close(told)
        os.read(heard, 5)
    os._exit(0)
os.close(told)
os.wait()
print(os.read(heard, 5).decode() if {died_before} else "zygote heard its child")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == ("" if died_before else "zygote heard its child")
