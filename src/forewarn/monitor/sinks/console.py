"""The console: alerts as text on stderr, where they are in nobody's way."""

from __future__ import annotations

import sys

from forewarn.monitor.sinks.base import SinkFault, SinkKind, lines_of, title_of
from forewarn.records import Alert


class Console:
    """Prints each alert; ``place`` is not used."""

    def __init__(self, place: str) -> None:
        self._place = place

    def post(self, alert: Alert) -> None:
        text = "\n".join([title_of(alert), *(f"  {line}" for line in lines_of(alert))])
        try:
            print(text, file=sys.stderr, flush=True)
        except (OSError, ValueError) as error:  # a closed terminal, a closed stream
            raise SinkFault(f"stderr can't be written: {error}") from None

    def close(self) -> None:
        """Nothing is kept open."""


CONSOLE = SinkKind(title="the console", open=Console, default="")
