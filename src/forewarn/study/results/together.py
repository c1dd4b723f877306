"""Forecasts of all exploit types of one run together, from each of its checkpoints on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from forewarn.prediction import Training, forecast_run
from forewarn.records import Forecast, derived_seed
from forewarn.study.folder.tables import CellEstimate

N_PARTICLES, N_CALL_PARTICLES = 4000, 1000
"""guesses of the forecast that is shown, and of those that only tell when a type was first called"""
LEAST_HORIZON = 100
"""steps; the horizon of a run that has been measured before training alone"""


def reach_of(last: int, horizon_factor: int) -> int:
    """The step that a forecast from checkpoints up to step ``last`` reaches to."""
    return max(horizon_factor * last, LEAST_HORIZON)


def forecasts_together(
    run: str,
    cells: Mapping[str, Sequence[CellEstimate]],
    training: Training,
    *,
    horizon_step: int | None,
    threshold: float,
    seed: int,
    call: float,
    least: int,
    horizon_factor: int,
) -> dict[str, tuple[Forecast, int | None]]:
    """Return each type's forecast from all checkpoints, and the first checkpoint whose own forecast reached ``call``.

    ``least``: checkpoints that a call needs. ``cells``: type -> its cells in order of step; a type may lack some
    checkpoints. ``horizon_step`` None: ``horizon_factor`` times the last step, for each of these forecasts its own.
    """
    steps = sorted({cell.step for mine in cells.values() for cell in mine})
    at = {name: {cell.step: cell.estimate for cell in mine} for name, mine in cells.items()}

    def upto(n: int, n_particles: int) -> dict[str, Forecast]:
        last = steps[n - 1]
        reach = horizon_step if horizon_step is not None else reach_of(last, horizon_factor)
        return forecast_run(
            run,
            steps[:n],
            {name: [mine.get(step) for step in steps[:n]] for name, mine in at.items()},
            horizon_step=reach,
            threshold=threshold,
            training=training,
            rng=np.random.default_rng(derived_seed("together", seed, run, n)),
            n_particles=n_particles,
        )

    final = upto(len(steps), N_PARTICLES)
    called: dict[str, int] = {}
    for n in range(least, len(steps) + 1):
        if len(called) == len(cells):
            break
        said = final if n == len(steps) else upto(n, N_CALL_PARTICLES)
        for name, one in said.items():
            if name not in called and one.probability is not None and one.probability >= call:
                called[name] = steps[n - 1]
    return {name: (one, called.get(name)) for name, one in final.items()}
