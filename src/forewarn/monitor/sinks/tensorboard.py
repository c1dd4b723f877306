"""TensorBoard: the numbers as scalars and the alerts as text, in an event file of ours beside the trainer's.

Past steps are taken, so that an earlier run can be replayed.
"""

from __future__ import annotations

from forewarn.monitor.sinks.base import SinkFault, SinkKind, lines_of, scalars, title_of
from forewarn.records import Alert
from forewarn.text import markdown


class TensorBoard:
    """Writes into a folder of TensorBoard's."""

    def __init__(self, place: str) -> None:
        from tensorboardX import SummaryWriter

        try:
            self._writer = SummaryWriter(place, filename_suffix=".forewarn")
        except OSError as error:
            raise SinkFault(f"{place} can't be written: {error.strerror or error}") from None

    def post(self, alert: Alert) -> None:
        try:
            for name, value in scalars(alert).items():
                self._writer.add_scalar(name, value, alert.step)
            text = "\n\n".join(map(markdown, [title_of(alert), *lines_of(alert)]))
            self._writer.add_text(f"forewarn/{alert.run}/{alert.exploit_type}", text, alert.step)
            self._writer.flush()
        except OSError as error:
            raise SinkFault(f"its event file can't be written: {error.strerror or error}") from None

    def close(self) -> None:
        self._writer.close()


TENSORBOARD = SinkKind(title="TensorBoard", open=TensorBoard, place="FOLDER", needs=(("tensorboardX", "tensorboard"),))
