"""Ours: forewarn's forecast of all types of a run together (``prediction.joint``), from all checkpoints so far.

It knows what the run's settings say: rollouts of each type in a step, what is paid, from when on, and the families.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from forewarn.bench.bases import TypeRole
from forewarn.bench.methods.base import Method, Said, Seen, interpolated
from forewarn.bench.protocol import Protocol
from forewarn.bench.runs import BenchRun
from forewarn.prediction import Training, TypeTraining, forecast_run

TIE_BREAK = 1e-3
"""weight of the mean logit at the horizon beside the probability's, among types that no path of passes"""
PATHS = 8000


def training_of(run: BenchRun, protocol: Protocol, roles: Mapping[str, TypeRole]) -> Training:
    """What a run's settings say of its training, as a study file's [training] would."""
    rl, change = protocol.rl, protocol.variants[run.variant]
    in_mix = len(roles) - len(run.never)
    return Training(
        {
            name: TypeTraining(
                rollouts=0.0 if name in run.never else rl.rollouts / in_mix,
                paid=0.0 if run.status(name, change) == "unpaid" else 1.0 - run.honest_share,
                first_step=change.late_from if name in run.late else 0,
                family=role.family,
            )
            for name, role in roles.items()
        }
    )


def _said(seen: Seen, rng: np.random.Generator) -> Mapping[str, Said]:
    made = forecast_run(
        seen.run.name,
        seen.steps,
        {name: mine.estimates for name, mine in seen.types.items()},
        horizon_step=seen.last,
        threshold=seen.protocol.score.event_rate,
        training=training_of(seen.run, seen.protocol, seen.roles),
        rng=rng,
    )
    found = {}
    for name, one in made.items():
        assert one.path is not None
        assert one.probability is not None
        smoothed = (one.probability * PATHS + 0.5) / (PATHS + 1)
        score = math.log(smoothed / (1 - smoothed)) + TIE_BREAK * one.score
        found[name] = Said(score, one.probability, passed=interpolated(one.path.steps, one.path.passed, seen.last))
    return found


METHOD = Method("forewarn's forecast of all types together", _said)
