"""The methods that the benchmark compares: each is one file and one line of ``METHODS``."""

from __future__ import annotations

from collections.abc import Mapping

from forewarn.bench.methods import (
    configuration,
    counting,
    joint,
    kl_slope,
    leader_visible,
    level,
    mentions,
    prefix_slope,
    reference_log_prob,
    reward_variance,
    rollouts,
    single,
)
from forewarn.bench.methods.base import Method

OURS = "joint"
CONFIGURATION = "configuration"

METHODS: Mapping[str, Method] = {
    OURS: joint.METHOD,
    CONFIGURATION: configuration.METHOD,
    "counting": counting.METHOD,
    "rollouts": rollouts.METHOD,
    "prefix_slope": prefix_slope.METHOD,
    "reference_log_prob": reference_log_prob.LEVEL,
    "reference_gain": reference_log_prob.GAIN,
    "kl_slope": kl_slope.METHOD,
    "leader_visible": leader_visible.METHOD,
    "mentions": mentions.METHOD,
    "reward_variance": reward_variance.METHOD,
    "single": single.METHOD,
    "level": level.METHOD,
}
"""name in the table -> method; all but ours are baselines"""
