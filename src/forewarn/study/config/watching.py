"""The tables [alarms] and [watch] of a study's file: what ``forewarn watch`` is alarmed at, and what it may spend."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field, PositiveInt, model_validator

from forewarn.errors import InputError
from forewarn.study.config.kinds import Finite, Table


class GrowthAlarmTable(Table):
    """[alarms.growth]: a rate that is so many times what was seen at the first checkpoint."""

    factor: Finite = 10.0
    tau: float = Field(1e-3, gt=0, le=1)
    """the most that a completion of the first checkpoint counts"""


class ForecastAlarmTable(Table):
    """[alarms.forecast]: a probability that a type emerges within so many steps."""

    within: PositiveInt
    """steps after the newest checkpoint"""
    probability: float = Field(0.5, gt=0, lt=1)
    rate: float = Field(0.1, gt=0, lt=1)
    """what counts as emerged"""


class AlarmsTable(Table):
    """[alarms]: what an alarm is raised at, fixed before the first checkpoint is looked at."""

    budget: float = Field(0.05, gt=0, lt=1)
    """the chance that any rate or growth alarm of the run is false"""
    looks: PositiveInt = 20
    """checkpoints that are planned; more may come"""
    types: tuple[str, ...] = ()
    rate: float | None = Field(None, gt=0, lt=1)
    growth: GrowthAlarmTable | None = None
    forecast: ForecastAlarmTable | None = None

    @model_validator(mode="after")
    def _says_something(self) -> AlarmsTable:
        if self.rate is None and self.growth is None and self.forecast is None:
            raise ValueError("it names nothing to be alarmed at: give rate, [alarms.growth] or [alarms.forecast]")
        return self


class WatchTable(Table):
    """[watch]: what `forewarn watch` may spend on a checkpoint, and on the device."""

    completions: PositiveInt | None = None
    """of one visit to a checkpoint"""
    minutes: Finite | None = None
    """of one visit, about"""
    share: float = Field(1.0, gt=0, le=1)
    """of the device's time"""
    refine: bool = False
    """whether donors that no longer reach are refined"""


def alarms_of(table: AlarmsTable, measured: Sequence[str]) -> AlarmsTable:
    """Return the alarms with their types in the study's order. Raises InputError for a type that is not measured."""
    if unknown := [name for name in table.types if name not in measured]:
        raise InputError(
            f"types names {unknown[0]!r}, which the study does not measure; it measures {', '.join(measured)}"
        )
    kept = tuple(name for name in measured if not table.types or name in table.types)
    return table.model_copy(update={"types": kept})
