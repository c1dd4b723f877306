"""Trends, forecasts, alarms and their scores, from estimates at several checkpoints. NumPy and SciPy only."""

from forewarn.prediction.emergence import forecast
from forewarn.prediction.scoring import Auc, auc, brier, lead_time
from forewarn.prediction.trend import fit_trend

__all__ = ["Auc", "auc", "brier", "fit_trend", "forecast", "lead_time"]
