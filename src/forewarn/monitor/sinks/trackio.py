"""Trackio: a run of our own in a project of its local database; its own webhooks go out where they are set up there."""

from __future__ import annotations

import sqlite3

from forewarn.monitor.sinks.base import SinkFault, SinkKind, lines_of, scalars, title_of
from forewarn.records import Alert


class Trackio:
    """Logs to the project of that name."""

    def __init__(self, place: str) -> None:
        import trackio
        from trackio.alerts import AlertLevel

        self._levels = {True: AlertLevel.WARN, False: AlertLevel.INFO}
        try:
            self._run = trackio.init(project=place, embed=False, auto_log_gpu=False, auto_log_cpu=False)
        except (OSError, ValueError, RuntimeError, sqlite3.Error) as error:
            raise SinkFault(f"a run can't be started: {' '.join(str(error).split())[:200]}") from None

    def post(self, alert: Alert) -> None:
        try:
            self._run.log(scalars(alert), step=alert.step)
            text = "\n".join(lines_of(alert))
            self._run.alert(title_of(alert), text, level=self._levels[alert.raised], step=alert.step)
        except (OSError, ValueError, RuntimeError, sqlite3.Error) as error:
            raise SinkFault(f"it can't be logged: {' '.join(str(error).split())[:200]}") from None

    def close(self) -> None:
        self._run.finish()


TRACKIO = SinkKind(title="Trackio", open=Trackio, place="PROJECT", default="forewarn", needs=(("trackio", "trackio"),))
