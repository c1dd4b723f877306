"""JSONL: one alert a line, appended whole. A run's own ``alerts.jsonl`` is the truth that other sinks replay."""

from __future__ import annotations

import json
import math
import os
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from forewarn.errors import InputError, StoreError
from forewarn.monitor.sinks.base import SinkFault, SinkKind
from forewarn.records import Alert

_FIELDS = {field.name for field in fields(Alert)}


class Jsonl:
    """Appends to a file, which is opened again for each alert, since it may have been rotated or removed."""

    def __init__(self, place: str) -> None:
        self._path = Path(place)

    def post(self, alert: Alert) -> None:
        line = (json.dumps(as_data(alert), allow_nan=False) + "\n").encode()
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with open(self._path, "a+b") as file:
                size = file.seek(0, os.SEEK_END)
                if size:  # a line that a crash cut short is closed, so that it spoils no other
                    file.seek(-1, os.SEEK_END)
                    line = line if file.read(1) == b"\n" else b"\n" + line
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise SinkFault(f"{self._path} can't be written: {error.strerror or error}") from None

    def close(self) -> None:
        """Every line is on disk already."""


def as_data(alert: Alert) -> dict[str, Any]:
    """An alert as a JSON object: an end of an interval at -inf, a rate of zero, is null."""
    data = asdict(alert)
    if alert.interval_log10 is not None:
        data["interval_log10"] = [end if math.isfinite(end) else None for end in alert.interval_log10]
    return data


def read_alerts(path: Path) -> list[Alert]:
    """The alerts in a file, in order; a line that was cut short, and what another version wrote, is left out.

    Raises StoreError where the file can't be read; one that isn't there holds none.
    """
    try:
        lines = path.read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StoreError(f"can't read {path}: {error.strerror or error}") from None
    return [alert for line in lines if (alert := _alert(line)) is not None]


def _alert(line: str) -> Alert | None:
    try:
        data = json.loads(line)
        interval = data.get("interval_log10")
        if interval is not None:
            low, high = interval
            data["interval_log10"] = (-math.inf if low is None else float(low), float(high))
        known: dict[str, Any] = {name: value for name, value in data.items() if name in _FIELDS}
        known |= {name: tuple(known[name]) for name in ("evidence", "not_looked_at") if name in known}
        return Alert(**known)
    except (ValueError, TypeError, AttributeError):
        return None


def _check(place: str) -> None:
    if Path(place).is_dir():
        raise InputError(f"jsonl={place} is a folder: give a file")


JSONL = SinkKind(title="JSONL", open=Jsonl, place="FILE", check=_check)
