"""What the keys of a study's file may hold, and what every table of it is."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from forewarn.records import UNBOUNDED

MIN_TEMPERATURE = 1e-3
"""logits divided by less overflow, and every weight but the largest is 0"""


def _length(value: Any) -> Any:
    return UNBOUNDED if value in ("inf", float("inf")) else value


def warm(value: float) -> float:
    """Refuse a temperature at which sampling is greedy."""
    if value < MIN_TEMPERATURE:
        raise ValueError(f"that is greedy decoding, which has no density: give {MIN_TEMPERATURE:g} or more")
    return value


def folder_name(value: str) -> str:
    """Refuse a name of dots alone, which is the folder itself or the one above."""
    if not value.strip("."):
        raise ValueError("it names the run folder too: give a plain name")
    return value


Length = Annotated[int, BeforeValidator(_length), Field(ge=0)]
"""tokens, or "inf" for the whole channel"""
Finite = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Table(BaseModel):
    """A table of the file: unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
