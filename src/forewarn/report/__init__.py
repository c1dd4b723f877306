"""Reports: frames in, files out. Markdown, PNG plots, one self-contained HTML page, tables for a terminal."""

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
