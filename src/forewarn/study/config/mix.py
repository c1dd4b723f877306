"""The table [training] of a study's file: what is known of the run that made the checkpoints."""

from __future__ import annotations

from pydantic import Field, PositiveInt

from forewarn.study.config.kinds import Table


class TrainedTypeTable(Table):
    """[training.types.NAME]: what the training does with one exploit type, where it differs from [training]."""

    rollouts: float | None = Field(None, ge=0, allow_inf_nan=False)
    paid: float | None = Field(None, ge=0, le=1)
    first_step: int = Field(0, ge=0)
    last_step: PositiveInt | None = None


class MixTable(Table):
    """[training]: what is known of the run that made the checkpoints; forecasts use it, measurements don't."""

    rollouts: float = Field(ge=0, allow_inf_nan=False)
    paid: float = Field(1.0, ge=0, le=1)
    mix: tuple[str, ...] = ()
    families: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    types: dict[str, TrainedTypeTable] = Field(default_factory=dict)
