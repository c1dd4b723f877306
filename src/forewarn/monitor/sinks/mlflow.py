"""MLflow: a run of our own in the experiment "forewarn" of a tracking server; alerts are tags of that run."""

from __future__ import annotations

import re

from forewarn.monitor.sinks.base import SinkFault, SinkKind, lines_of, scalars, title_of
from forewarn.records import Alert

EXPERIMENT = "forewarn"
_NOT_IN_KEYS = re.compile(r"[^\w./ -]")
_TAG_CHARACTERS = 5000


class MLflow:
    """Logs to the server (or the store) at ``place``; the client's own configuration where that is empty."""

    def __init__(self, place: str) -> None:
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException

        self._error = MlflowException
        try:
            self._client = MlflowClient(tracking_uri=place or None)
            found = self._client.get_experiment_by_name(EXPERIMENT)
            experiment = self._client.create_experiment(EXPERIMENT) if found is None else found.experiment_id
            self._id = self._client.create_run(experiment).info.run_id
        except (MlflowException, OSError) as error:
            raise SinkFault(f"a run can't be started: {' '.join(str(error).split())[:200]}") from None

    def post(self, alert: Alert) -> None:
        try:
            for name, value in scalars(alert).items():
                self._client.log_metric(self._id, _NOT_IN_KEYS.sub("_", name), value, step=alert.step)
            key = _NOT_IN_KEYS.sub("_", f"forewarn.{alert.run}.{alert.exploit_type}.{alert.step}")
            text = "\n".join([title_of(alert), *lines_of(alert)])
            self._client.set_tag(self._id, key, text[:_TAG_CHARACTERS])
        except (self._error, OSError) as error:
            raise SinkFault(f"it can't be logged: {' '.join(str(error).split())[:200]}") from None

    def close(self) -> None:
        try:
            self._client.set_terminated(self._id)
        except (self._error, OSError) as error:
            raise SinkFault(f"the run can't be ended: {' '.join(str(error).split())[:200]}") from None


MLFLOW = SinkKind(title="MLflow", open=MLflow, place="URI", default="", needs=(("mlflow", "mlflow"),))
