"""The command line: one short file per verb, each a thin layer over library calls.

``main`` turns errors into one sentence and an exit status.
"""

from __future__ import annotations

from forewarn.cli.app import main

__all__ = ["main"]
