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
from forewarn.prediction.joint import forecast_run
from forewarn.prediction.law import Training, TypeTraining
from forewarn.prediction.scoring import Auc, auc, brier, lead_time
from forewarn.prediction.trend import fit_trend

__all__ = [
    "Auc",
    "JointEstimate",
    "Training",
    "TypeTraining",
    "auc",
    "brier",
    "elond",
    "exceeds_alert",
    "first_crossing",
    "fit_trend",
    "forecast",
    "forecast_run",
    "gls_trend",
    "growth_alert",
    "joint_covariance",
    "lead_time",
    "log_e_exceeds",
    "log_e_growth",
    "spending",
]
