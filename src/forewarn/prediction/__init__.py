"""Trends, forecasts, alarms and their scores, from estimates at several checkpoints. It uses only NumPy and SciPy."""

from forewarn.prediction.alarms import (
    elond,
    exceeds_alert,
    first_crossing,
    growth_alert,
    log_e_exceeds,
    log_e_growth,
    spending,
)
from forewarn.prediction.covariance import JointEstimate, gls_trend, joint_covariance
from forewarn.prediction.emergence import forecast
from forewarn.prediction.scoring import Auc, auc, brier, lead_time
from forewarn.prediction.trend import fit_trend

__all__ = [
    "Auc",
    "JointEstimate",
    "auc",
    "brier",
    "elond",
    "exceeds_alert",
    "first_crossing",
    "fit_trend",
    "forecast",
    "gls_trend",
    "growth_alert",
    "joint_covariance",
    "lead_time",
    "log_e_exceeds",
    "log_e_growth",
    "spending",
]
