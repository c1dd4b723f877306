"""Weights & Biases: a run of our own in the project, beside the trainer's, which is never touched.

``WANDB_MODE=offline`` keeps it on this machine, to be synchronised later.
"""

from __future__ import annotations

import os

from forewarn.monitor.sinks.base import SinkFault, SinkKind, lines_of, scalars, title_of
from forewarn.records import Alert

_STEP = "forewarn/step"


class WeightsAndBiases:
    """Logs to a project; ``place`` is its name, with or without the entity's: ``ENTITY/PROJECT``."""

    def __init__(self, place: str) -> None:
        import wandb

        self._error = wandb.Error
        entity, _, project = place.rpartition("/")
        try:
            if os.environ.get("WANDB_MODE", "online") in ("online", "shared") and not wandb.login(prompt=False):
                raise SinkFault("nobody is logged in: run `wandb login`, or set WANDB_MODE=offline")
            # "create_new": where this process trains too, its own run goes on
            self._run = wandb.init(
                project=project,
                entity=entity or None,
                job_type="forewarn",
                reinit="create_new",
                settings=wandb.Settings(silent=True, console="off", x_disable_stats=True, x_disable_meta=True),
            )
            self._run.define_metric(_STEP)
            # the step of training is a metric of its own: it may go back, which W&B's own step may not
            self._run.define_metric("forewarn/*", step_metric=_STEP)
        except (wandb.Error, OSError, TimeoutError) as error:
            raise SinkFault(f"a run can't be started: {' '.join(str(error).split())[:200]}") from None

    def post(self, alert: Alert) -> None:
        try:
            self._run.log({**scalars(alert), _STEP: alert.step})
            level = "WARN" if alert.raised else "INFO"
            self._run.alert(title_of(alert), "\n".join(lines_of(alert)), level=level, wait_duration=0)
        except (self._error, OSError) as error:
            raise SinkFault(f"it can't be logged: {' '.join(str(error).split())[:200]}") from None

    def close(self) -> None:
        self._run.finish()


WANDB = SinkKind(
    title="Weights & Biases", open=WeightsAndBiases, place="PROJECT", default="forewarn", needs=(("wandb", "wandb"),)
)
