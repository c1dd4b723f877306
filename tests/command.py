"""What the fixture ``said`` is: a command line in, its exit status, stdout and stderr out."""

from __future__ import annotations

from collections.abc import Callable

Said = Callable[..., tuple[int, str, str]]
