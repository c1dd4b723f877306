"""Reports: frames in, files out. Markdown, PNG plots, one self-contained HTML page, tables for a terminal.

Every name of ``__all__`` is imported when it is first used: a table of problems needs neither frames nor charts.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from forewarn.report.frames import (
        CELL_COLUMNS,
        FORECAST_COLUMNS,
        JUDGED_HITS,
        cell_row,
        check_cells,
        check_forecasts,
        forecast_row,
    )
    from forewarn.report.summary import Accuracy, Certificates, accuracies, accuracy, certificates
    from forewarn.report.write import terminal_tables, write_report

__all__ = [
    "CELL_COLUMNS",
    "FORECAST_COLUMNS",
    "JUDGED_HITS",
    "Accuracy",
    "Certificates",
    "accuracies",
    "accuracy",
    "cell_row",
    "certificates",
    "check_cells",
    "check_forecasts",
    "forecast_row",
    "terminal_tables",
    "write_report",
]

_FRAMES = {*__all__[:3], "cell_row", "check_cells", "check_forecasts", "forecast_row"}
_WRITE = {"terminal_tables", "write_report"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = "frames" if name in _FRAMES else "write" if name in _WRITE else "summary"
    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value
