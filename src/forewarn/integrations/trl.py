"""A callback for the trainers of Transformers and TRL: it saves checkpoints to be measured, and reads the alarms.

    from forewarn.integrations.trl import ForewarnCallback
    trainer = GRPOTrainer(..., callbacks=[ForewarnCallback("runs/my-study")])

No model work happens in the training process: `forewarn watch` measures beside it, or, with ``inline``, while the
training waits. Only the main process writes. The callback acts on the training only where it is asked to
(``on_alarm``).
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from transformers import TrainerCallback
from transformers.trainer_callback import ExportableState

from forewarn.checkpoints.places import spot_of
from forewarn.errors import ForewarnError, InputError
from forewarn.integrations.inline import check_inline, measure
from forewarn.monitor.feed import ALERTS_FILE
from forewarn.monitor.pins import pin
from forewarn.monitor.sinks.jsonl import read_alerts
from forewarn.training.schedule import log_spaced_steps

EVENTS_FILE = "events.jsonl"
OnAlarm = Literal["nothing", "save", "stop", "save and stop"]


class ForewarnCallback(TrainerCallback, ExportableState):  # type: ignore[misc]
    """Saves at log-spaced steps, keeps what is saved, writes an event line for each, and reads the watcher's alarms."""

    def __init__(
        self,
        run_folder: str | Path,
        *,
        saves: int = 12,
        steps: Sequence[int] | None = None,
        on_alarm: OnAlarm = "nothing",
        check_every: int = 5,
        inline: bool = False,
        study: str | Path | None = None,
        time_limit_s: float = 600.0,
    ) -> None:
        """``run_folder``: that of `forewarn watch`. ``saves``: number of log-spaced checkpoints over the training's
        steps; ``steps`` names them instead. ``on_alarm``: what to do once an alert is raised; "stop" is agreed between
        all processes. ``check_every``: steps between looks at the alarms. ``inline``: measure each of these checkpoints
        by the file ``study`` while the training waits, for at most ``time_limit_s`` seconds each. Raises InputError
        for a number below 1, an unknown action, or ``inline`` without a study.
        """
        if saves < 1 or check_every < 1 or any(step < 1 for step in steps or ()):
            raise InputError(
                f"saves = {saves}, check_every = {check_every}, steps = {None if steps is None else list(steps)}: "
                "give numbers of 1 or more"
            )
        if on_alarm not in get_args(OnAlarm):
            raise InputError(f"on_alarm is {on_alarm!r}: give one of {', '.join(map(repr, get_args(OnAlarm)))}")
        if inline and study is None:
            raise InputError("inline measures by a study: give its file as study")
        if not 0 < time_limit_s < float("inf"):
            raise InputError(f"time_limit_s is {time_limit_s}: give a number of seconds above 0")
        self.run_folder = Path(run_folder)
        self.inline, self.time_limit_s = inline, time_limit_s
        self.study = None if study is None else Path(study)
        self.saves, self.steps, self.on_alarm, self.check_every = saves, steps, on_alarm, check_every
        self.alarmed_step: int | None = None
        """the step at which an alarm was first read; None: none so far"""
        self.seconds = 0.0
        """wall clock spent in this callback, without the measurements"""
        self.measuring_seconds = 0.0
        """how long the training waited for measurements (``inline``)"""
        self._save_at: frozenset[int] = frozenset()
        self._said: set[str] = set()

    def state(self) -> dict[str, Any]:
        """Return what a resumed training needs to know (transformers' ``ExportableState``)."""
        steps = None if self.steps is None else list(self.steps)
        arguments = {
            "run_folder": str(self.run_folder),
            "saves": self.saves,
            "steps": steps,
            "on_alarm": self.on_alarm,
            "check_every": self.check_every,
            "inline": self.inline,
            "study": None if self.study is None else str(self.study),
            "time_limit_s": self.time_limit_s,
        }
        return {"args": arguments, "attributes": {"alarmed_step": self.alarmed_step}}

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self.inline and self.study is not None:  # before the first step: what can't be measured is refused
            several = int(args.world_size) > 1
            timeout = float(args.ddp_timeout) if several else None
            check_inline(self.study, Path(args.output_dir), time_limit_s=self.time_limit_s, ddp_timeout_s=timeout)
        with self._timed():
            last = int(state.max_steps)
            chosen = self.steps if self.steps is not None else log_spaced_steps(1, last, min(self.saves, last))
            self._save_at = frozenset(int(step) for step in chosen)
            self._event(state, "begin", output_dir=str(args.output_dir), steps=last, saves=sorted(self._save_at))

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        with self._timed():
            if state.global_step in self._save_at:
                control.should_save = True
            if state.global_step % self.check_every == 0 and self.alarmed_step is None and self._alarm(args, state):
                self.alarmed_step = int(state.global_step)
                self._event(state, "alarm read", action=self.on_alarm)
                if "save" in self.on_alarm:
                    control.should_save = True
                if "stop" in self.on_alarm:
                    control.should_training_stop = True

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if not state.is_world_process_zero:
            return
        with self._timed():
            folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            kept = False
            spot = spot_of(folder) if folder.is_dir() else None
            try:
                kept = spot is not None and pin(spot, self.run_folder) is not None
            except (ForewarnError, OSError) as error:  # never the training's trouble
                self._say(f"{folder.name} could not be kept: {error}")
            self._event(state, "saved", checkpoint=folder.name, kept=kept)
        if self.inline and kept and state.global_step in self._save_at:
            self._measure(args, state, folder.name)

    def _measure(self, args: Any, state: Any, name: str) -> None:
        """Measure a checkpoint while the training waits. Whatever becomes of it, the training goes on."""
        assert self.study is not None
        if args.device.type == "cuda":
            import torch

            torch.cuda.empty_cache()  # what the training has reserved and doesn't use is the measurement's
        try:
            done = measure(self.study, self.run_folder, int(state.global_step), time_limit_s=self.time_limit_s)
        except OSError as error:
            self._say(f"{name} could not be measured: {error}")
            return
        self.measuring_seconds += done.seconds
        self._event(state, "measured", checkpoint=name, seconds=round(done.seconds, 1), status=done.status)
        if done.status is None:
            self._say(
                f"{name} was not measured within {self.time_limit_s:g} s; what is there is kept, and the next "
                "measurement, or `forewarn watch` later, goes on with it"
            )
        elif done.status:
            self._say(f"{name} is not measured (status {done.status}: {done.said})")

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._event(
            state, "end", seconds_in_callback=round(self.seconds, 4), seconds_measuring=round(self.measuring_seconds, 1)
        )

    def _alarm(self, args: Any, state: Any) -> bool:
        """Return whether an alert is raised, the same in every process."""
        raised = False
        if state.is_world_process_zero:
            try:
                raised = any(alert.raised for alert in read_alerts(self.run_folder / ALERTS_FILE))
            except (ForewarnError, OSError) as error:
                self._say(f"the alarms can't be read: {error}")
        return _agreed(raised, args.device)

    def _event(self, state: Any, event: str, **more: Any) -> None:
        """Append a line to the run folder's events, from the main process alone. Never raises."""
        if not state.is_world_process_zero:
            return
        line = {"event": event, "step": int(state.global_step), "unix_s": time.time(), **more}
        try:
            self.run_folder.mkdir(parents=True, exist_ok=True)
            with open(self.run_folder / EVENTS_FILE, "ab") as file:
                file.write((json.dumps(line) + "\n").encode())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            self._say(f"{self.run_folder / EVENTS_FILE} can't be written: {error.strerror or error}")

    def _say(self, sentence: str) -> None:
        """Say something once; the training goes on."""
        if sentence not in self._said:
            self._said.add(sentence)
            print(f"forewarn: {sentence}; the training goes on")

    @contextlib.contextmanager
    def _timed(self) -> Any:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds += time.perf_counter() - start


def _agreed(raised: bool, device: Any) -> bool:
    """Return the main process's answer in all of them: a training that stops in one process alone hangs the others."""
    import torch
    import torch.distributed as dist

    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        return raised
    flag = torch.tensor([int(raised)], device=device)
    dist.broadcast(flag, src=0)
    return bool(flag.item())
