"""Forecasts of every exploit type of every run in a study, and when a type was first called and first visible.

A run is what checkpoint ids share before their last "/"; ids without one belong to a run of the study's name. The
forecasts themselves: ``prediction.emergence``, and ``prediction.joint`` (by ``together.py``) where something is known
of the training.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from forewarn.errors import InputError
from forewarn.prediction import Training
from forewarn.prediction.emergence import forecast
from forewarn.records import Forecast, derived_seed
from forewarn.study.folder.tables import CellEstimate
from forewarn.study.results.together import forecasts_together

THRESHOLD = 0.1
"""the rate that counts as emerged"""
CALL = 0.5
"""forecast probability at which a type is called"""
HORIZON_FACTOR = 4
"""without a horizon, forecasts reach to so many times the last step used"""
LEAST = 2
"""checkpoints that a forecast of one type, and a call, need: one tells a level, and what it would do is the prior's"""


@dataclass(frozen=True, slots=True)
class TypeForecast:
    """What a study says of one exploit type in one run."""

    run: str
    exploit_type: str
    steps: tuple[int, ...]
    """of every checkpoint measured, in order"""
    forecast: Forecast | None
    """from all checkpoints after step 0; None where there can't be one"""
    why_none: str | None
    """why there is no forecast, and what would change that"""
    first_call_step: int | None
    """first checkpoint whose own forecast had a probability of at least ``CALL``; None: not called yet"""
    first_visible_step: int | None
    """first checkpoint at which the subject's own span had a hit: where sampling alone shows the exploit; None: never
    """


def run_name(checkpoint_id: str, study: str) -> str:
    """The run that a checkpoint belongs to; ``study``: the study's name."""
    before, slash, _ = checkpoint_id.rpartition("/")
    return before if slash else study


def cells_by_run(cells: Iterable[CellEstimate], study: str) -> dict[tuple[str, str], list[CellEstimate]]:
    """(run, exploit type) -> its cells in order of step."""
    found: dict[tuple[str, str], list[CellEstimate]] = {}
    for cell in cells:
        found.setdefault((run_name(cell.checkpoint_id, study), cell.exploit_type), []).append(cell)
    return {key: sorted(mine, key=lambda cell: cell.step) for key, mine in found.items()}


def run_forecasts(
    cells: Iterable[CellEstimate],
    *,
    study: str,
    seed: int,
    horizon_step: int | None = None,
    threshold: float = THRESHOLD,
    training: Training | None = None,
) -> list[TypeForecast]:
    """The forecast of every run and exploit type among ``cells``, runs and types in the order of the cells.

    ``training``: what is known of the runs' training; with it all types of a run are forecast together, else each by
    itself. ``horizon_step``: the step by which a rate would pass ``threshold``; None: ``HORIZON_FACTOR`` times the last
    step used. Raises InputError for a threshold outside (0, 1) and for a horizon that a run has reached.
    """
    if not 0 < threshold < 1:
        raise InputError(f"threshold is {threshold}: give a rate strictly between 0 and 1")
    found = []
    grouped = cells_by_run(cells, study)
    for (run, _), mine in grouped.items():
        if horizon_step is not None and horizon_step <= mine[-1].step:
            raise InputError(
                f"the horizon is step {horizon_step}, and {run} has been measured up to step {mine[-1].step}: give a "
                "later step"
            )
    if training is not None:
        return _together(grouped, training, horizon_step=horizon_step, threshold=threshold, seed=seed)
    for (run, name), mine in grouped.items():
        steps = tuple(cell.step for cell in mine)
        used, why_none = usable(mine)
        made = None
        if why_none is None:
            made = forecast_from(run, name, used, horizon_step=horizon_step, threshold=threshold, seed=seed)
        called = first_call(run, name, used, horizon_step=horizon_step, threshold=threshold, seed=seed, whole=made)
        found.append(TypeForecast(run, name, steps, made, why_none, called, first_visible(mine)))
    return found


def _together(
    grouped: Mapping[tuple[str, str], Sequence[CellEstimate]],
    training: Training,
    *,
    horizon_step: int | None,
    threshold: float,
    seed: int,
) -> list[TypeForecast]:
    made: dict[tuple[str, str], TypeForecast] = {}
    for run in dict.fromkeys(run for run, _ in grouped):
        mine = {name: cells for (owner, name), cells in grouped.items() if owner == run}
        steps = {name: tuple(cell.step for cell in cells) for name, cells in mine.items()}
        twice = next((why for cells in mine.values() if (why := _twice(cells))), None)
        said = None
        if twice is None:
            said = forecasts_together(
                run, mine, training, horizon_step=horizon_step, threshold=threshold, seed=seed, call=CALL,
                least=LEAST, horizon_factor=HORIZON_FACTOR,
            )  # fmt: skip
        for name, cells in mine.items():
            one, called = (None, None) if said is None else said[name]
            made[run, name] = TypeForecast(run, name, steps[name], one, twice, called, first_visible(cells))
    return [made[key] for key in grouped]


def _twice(cells: Sequence[CellEstimate]) -> str | None:
    steps = [cell.step for cell in cells]
    twice = sorted({step for step in steps if steps.count(step) > 1})
    return (
        f"two checkpoints are at step {twice[0]}: name them RUN/STEP, so that each run has its own" if twice else None
    )


def usable(cells: Sequence[CellEstimate]) -> tuple[list[CellEstimate], str | None]:
    """The checkpoints of one type that a forecast can use, and why there can't be one (None: there can)."""
    trained = [cell for cell in cells if cell.step > 0]  # the model's clocks have no place for step 0
    twice = _twice(trained)
    if twice:
        return [], twice
    if len(trained) < LEAST:
        there = f"{len(trained)} checkpoint{'' if len(trained) == 1 else 's'} after step 0"
        return [], f"there is {there}: a forecast needs {LEAST} or more"
    return trained, None


def forecast_from(
    run: str,
    exploit_type: str,
    cells: Sequence[CellEstimate],
    *,
    horizon_step: int | None,
    threshold: float = THRESHOLD,
    seed: int,
) -> Forecast:
    """The forecast from these checkpoints, in order of step."""
    return forecast(
        run,
        exploit_type,
        [cell.step for cell in cells],
        [cell.estimate for cell in cells],
        threshold=threshold,
        horizon_step=HORIZON_FACTOR * cells[-1].step if horizon_step is None else horizon_step,
        rng=np.random.default_rng(derived_seed("forecast", seed, run, exploit_type, len(cells))),
    )


def first_call(
    run: str,
    exploit_type: str,
    cells: Sequence[CellEstimate],
    *,
    horizon_step: int | None,
    threshold: float = THRESHOLD,
    seed: int,
    whole: Forecast | None = None,
) -> int | None:
    """First checkpoint at which what was measured by then gives a forecast of at least ``CALL``.

    ``whole``: the forecast from all of ``cells``, where it is made already.

    Without a horizon each of these forecasts reaches as far as it would have when its last checkpoint was the newest.
    """
    for n in range(LEAST, len(cells) + 1):
        if horizon_step is None or cells[n - 1].step < horizon_step:
            said = whole if n == len(cells) else None
            said = said or forecast_from(
                run, exploit_type, cells[:n], horizon_step=horizon_step, threshold=threshold, seed=seed
            )
            if said.probability is not None and said.probability >= CALL:
                return cells[n - 1].step
    return None


def first_visible(cells: Sequence[CellEstimate]) -> int | None:
    """First checkpoint at which the subject's own span, column 0, had a hit."""
    return next((cell.step for cell in cells if cell.estimate.hits_by_span[0] > 0), None)


def by_run(forecasts: Sequence[TypeForecast]) -> Mapping[str, list[TypeForecast]]:
    """Run -> its types, likeliest to emerge first; types without a forecast last."""
    runs: dict[str, list[TypeForecast]] = {}
    for one in forecasts:
        runs.setdefault(one.run, []).append(one)
    return {run: sorted(mine, key=_likeliest) for run, mine in runs.items()}


def _likeliest(one: TypeForecast) -> tuple[bool, float, float, str]:
    said = one.forecast
    if said is None or said.probability is None:
        return True, 0.0, 0.0, one.exploit_type
    return False, -said.probability, -said.score, one.exploit_type
