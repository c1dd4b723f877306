"""Exploit probabilities from span-interpolated completions: arrays in, records out. NumPy and SciPy only.

Letters of the shape suffixes used in this folder: N completions, S spans (column 0 is the subject's own), T problems,
H hits (verified exploits), U units (donor traces, or completions where each has its own), C checkpoints, G bets,
L prefix lengths.
"""

from forewarn.estimation.bounds import certified_lower, certified_upper, clopper_pearson, jeffreys
from forewarn.estimation.control import control_variate_estimate
from forewarn.estimation.growth import growth_curve
from forewarn.estimation.mixture import mixture_estimate
from forewarn.estimation.pooling import Batch, combine, join, suggest_shares
from forewarn.estimation.sample import Design, Sample, read_sample
from forewarn.estimation.spans import donor_key, n_deciding, span_log_ratios
from forewarn.estimation.tails import pareto_khat

__all__ = [
    "Batch",
    "Design",
    "Sample",
    "certified_lower",
    "certified_upper",
    "clopper_pearson",
    "combine",
    "control_variate_estimate",
    "donor_key",
    "growth_curve",
    "jeffreys",
    "join",
    "mixture_estimate",
    "n_deciding",
    "pareto_khat",
    "read_sample",
    "span_log_ratios",
    "suggest_shares",
]
