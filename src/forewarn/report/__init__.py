"""Reports: frames in, files out. Markdown, PNG plots, one self-contained HTML page, tables for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
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


def __getattr__(name: str) -> Any:
    # a table of problems needs neither charts nor forecasts, which take a second to import
    if name in ("terminal_tables", "write_report"):
        from forewarn.report import write

        return getattr(write, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
