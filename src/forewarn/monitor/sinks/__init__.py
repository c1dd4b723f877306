"""The sinks, in one dict: where alerts can be posted to. Packages of theirs are imported when one is opened."""

from __future__ import annotations

from collections.abc import Mapping

from forewarn.errors import InputError
from forewarn.monitor.sinks.base import Sink, SinkFault, SinkKind
from forewarn.monitor.sinks.console import CONSOLE
from forewarn.monitor.sinks.jsonl import JSONL
from forewarn.monitor.sinks.mlflow import MLFLOW
from forewarn.monitor.sinks.tensorboard import TENSORBOARD
from forewarn.monitor.sinks.trackio import TRACKIO
from forewarn.monitor.sinks.wandb import WANDB
from forewarn.monitor.sinks.webhook import WEBHOOK

SINKS: dict[str, SinkKind] = {
    "console": CONSOLE,
    "jsonl": JSONL,
    "webhook": WEBHOOK,
    "tensorboard": TENSORBOARD,
    "wandb": WANDB,
    "trackio": TRACKIO,
    "mlflow": MLFLOW,
}

__all__ = ["SINKS", "Sink", "SinkFault", "SinkKind", "named_sink", "sinks_named"]


def sinks_named(sinks: Mapping[str, SinkKind] = SINKS) -> str:
    """What a user may write for a sink: "console, jsonl=FILE, wandb[=PROJECT] ..." """
    return ", ".join(
        name if not kind.place else f"{name}={kind.place}" if kind.default is None else f"{name}[={kind.place}]"
        for name, kind in sinks.items()
    )


def named_sink(text: str, sinks: Mapping[str, SinkKind] = SINKS) -> tuple[SinkKind, str]:
    """The kind and place of ``NAME`` or ``NAME=PLACE``.

    Raises InputError for an unknown sink and for a place that can't be meant, MissingExtraError where its package is
    not installed.
    """
    name, equals, place = text.partition("=")
    kind = sinks.get(name)
    if kind is None:
        raise InputError(f"there is no sink {name!r}: give {sinks_named(sinks)}")
    if equals and not kind.place:
        raise InputError(f"the sink {name} takes no place: leave out ={place}")
    if not place:
        if kind.default is None:
            raise InputError(f"the sink {name} needs its place: give {name}={kind.place}")
        place = kind.default
    kind.check(place)
    kind.check_installed()
    return kind, place
