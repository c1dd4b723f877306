"""The command line: one short file per verb, over library calls. ``main`` is the boundary for errors."""

from __future__ import annotations

from forewarn.cli.app import main

__all__ = ["main"]
