"""The [training] table of a study's file: what is known of the run, made into what forecasts take."""

from __future__ import annotations

from collections.abc import Sequence

from forewarn.errors import InputError
from forewarn.prediction import Training, TypeTraining
from forewarn.study.config.mix import MixTable, TrainedTypeTable


def training_of(table: MixTable, measured: Sequence[str]) -> Training:
    """Return the training that a table describes; without ``mix`` every measured type is in it.

    Raises InputError for a type that the study does not measure, one in two families, and a mix without rollouts.
    """
    named = {
        "mix": table.mix,
        "types": tuple(table.types),
        **{f"families.{family}": members for family, members in table.families.items()},
    }
    for key, names in named.items():
        unknown = [name for name in names if name not in measured]
        if unknown:
            raise InputError(
                f"{key} names {unknown[0]!r}, which the study does not measure; it measures {', '.join(measured)}"
            )
    family_of: dict[str, str] = {}
    for family, members in table.families.items():
        for name in members:
            if name in family_of:
                raise InputError(f"families has {name!r} in {family_of[name]!r} and in {family!r}: give it one")
            family_of[name] = family
    in_mix = set(table.mix or measured) | set(table.types)
    types = {}
    for name in measured:
        own = table.types.get(name) or TrainedTypeTable.model_validate({})
        rollouts = own.rollouts if own.rollouts is not None else table.rollouts if name in in_mix else 0.0
        types[name] = TypeTraining(
            rollouts=rollouts,
            paid=table.paid if own.paid is None else own.paid,
            first_step=own.first_step,
            last_step=own.last_step,
            family=family_of.get(name),
        )
    return Training(types)
