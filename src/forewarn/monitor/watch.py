"""Following a training: each checkpoint is kept, measured once it is whole, and the answer told to the sinks.

The watcher never touches the training. Whatever goes wrong with one checkpoint, it says so, keeps the checkpoint
pending, and goes on. Its state is the run folder alone, so a watcher that was killed goes on where it was.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from forewarn.checkpoints.layouts import Spot
from forewarn.checkpoints.polls import Polls
from forewarn.errors import ForewarnError, InputError
from forewarn.monitor.alarms import Alarms
from forewarn.monitor.answer import answer_now
from forewarn.monitor.feed import Feeds
from forewarn.monitor.pins import Pin, pin, pins_in
from forewarn.monitor.state import STATE_FILE, Trouble, in_order, next_of, read_state
from forewarn.records import Alert
from forewarn.store import write_json
from forewarn.study import read_results, run_forecasts, run_study
from forewarn.study.config.file import read_study_file
from forewarn.study.config.load import LoadedStudy, chosen_alarms, placed, problems_of, study_of_tables
from forewarn.study.config.schema import CheckpointTable, StudyTable
from forewarn.study.stages.judging import Progress

TRIES = 3
"""failures of a checkpoint in a row after which others come first"""

Say = Callable[[str], None]


class Watcher:
    """Follows the training whose output folder a study's file names as its checkpoints."""

    def __init__(
        self,
        file: Path,
        root: Path,
        feeds: Feeds,
        *,
        say: Say,
        workers: int | None = None,
        engine: str | None = None,
        progress: Progress | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``root``: the run folder. Raises InputError where the file does not name one training, and where its alarms
        can't be or are not those that the folder was looked at with."""
        self._file, self._root, self._feeds, self._say = file, root, feeds, say
        self._tables, self._text = read_study_file(file)
        self._entry = watched_entry(self._tables, file)
        self.training = Path(placed(self._entry.path, file.resolve().parent))
        self._polls = Polls(self.training)
        problems = problems_of(self._tables, file)
        chosen = chosen_alarms(self._tables, tuple(dict.fromkeys(one.exploit_type for one in problems)), file)
        self._alarms = None if chosen is None else Alarms(chosen, root)
        self._workers, self._engine, self._progress, self._clock = workers, engine, progress, clock
        self._failed: dict[str, Trouble] = {}
        self._seen: set[str] = {one.name for one in pins_in(root)}

    def look(self) -> list[Pin]:
        """Look at the training's folder once, keep what has become whole, and return the new ones."""
        fresh = []
        for spot in self._polls.look():
            if spot.name not in self._seen and (kept := self._keep(spot)) is not None:
                self._seen.add(spot.name)
                fresh.append(kept)
        self._write_state()
        return fresh

    def _keep(self, spot: Spot) -> Pin | None:
        kept = pin(spot, self._root)
        if kept is None:
            self._say(f"{spot.name} was pruned before it could be kept")
        return kept

    @property
    def measured(self) -> list[Pin]:
        """The checkpoints all of whose cells are there, by step."""
        done = self._done()
        return [one for one in pins_in(self._root) if one.name in done]

    @property
    def pending(self) -> list[Pin]:
        """The kept checkpoints that are not measured yet, by step."""
        done = self._done()
        return [one for one in pins_in(self._root) if one.name not in done]

    @property
    def untried(self) -> list[Pin]:
        """The pending ones that have not failed since this watcher began."""
        return [one for one in self.pending if one.name not in self._failed]

    def _done(self) -> set[str]:
        held = read_state(self._root)
        return set() if held is None else set(held.measured)

    def measure_next(self) -> list[Alert] | None:
        """Measure one pending checkpoint and return the answer after it; None if none was left, or it failed."""
        pending, measured = self.pending, self.measured
        ready = [one for one in pending if self._tried(one) < TRIES] or pending
        chosen = next_of(ready, measured)
        if chosen is None:
            return None
        behind = f"; {len(pending) - 1} more wait" if len(pending) > 1 else ""
        self._say(f"measuring {chosen.name} (step {chosen.step:,}){behind}")
        try:
            loaded = self._study([*measured, chosen])
            run_study(
                loaded.study,
                self._root,
                machine=loaded.machine,
                sandboxing=loaded.sandboxing,
                progress=self._progress,
                text=loaded.text,
            )
            answer = self._tell(chosen)  # before it counts as measured: a kill in between tells it again
        except (ForewarnError, OSError) as error:
            self._failed[chosen.name] = Trouble(self._tried(chosen) + 1, str(error))
            self._say(f"{chosen.name} is not measured and will be tried again: {error}")
            self._write_state()
            return None
        self._failed.pop(chosen.name, None)
        self._write_state(done=chosen.name)
        return answer

    def _tried(self, one: Pin) -> int:
        trouble = self._failed.get(one.name)
        return 0 if trouble is None else trouble.times

    def _study(self, pins: Sequence[Pin]) -> LoadedStudy:
        """The study of these checkpoints."""
        home = self._file.resolve().parent
        base = None if self._entry.base is None else placed(self._entry.base, home)
        entries = tuple(
            self._entry.model_copy(
                update={
                    "path": str(one.weights.resolve()),
                    "base": base,
                    "step": one.step,
                    "name": one.name,
                    "steps": (),
                }
            )
            for one in sorted(pins, key=in_order)
        )
        engine = self._tables.engine.model_copy(
            update={
                "workers": self._workers or self._tables.engine.workers,
                "kind": self._engine or self._tables.engine.kind,
            }
        )
        tables = self._tables.model_copy(update={"checkpoints": entries, "engine": engine})
        return study_of_tables(tables, self._text, self._file)

    def _tell(self, chosen: Pin) -> list[Alert]:
        """Test what was measured now, make forecasts and report of what is there, and post the answer: alarms first."""
        from forewarn.report.from_run import write_run_report

        results, now = read_results(self._root), self._clock()
        answer: list[Alert] = []
        if self._alarms is not None and (look := self._alarms.look(chosen.name, chosen.step)) is not None:
            answer += self._alarms.alerts(look, results, unix_s=now)
        answer += answer_now(results, None if self._alarms is None else self._alarms.table, unix_s=now)
        for one in answer:
            self._feeds.post(one)
        said = run_forecasts(results.estimates, study=results.study, seed=results.seed, training=results.training)
        try:
            write_run_report(results, said)
        except ForewarnError as error:  # the numbers are there, and the report can be made again
            self._say(f"the report could not be written: {error}")
        return answer

    def _write_state(self, done: str | None = None) -> None:
        measured = self._done() | ({done} if done is not None else set())
        names = [one.name for one in pins_in(self._root)]
        pending = [name for name in names if name not in measured]
        write_json(
            self._root / STATE_FILE,
            {
                "training": str(self.training),
                "measured": [name for name in names if name in measured],
                "pending": pending,
                "failed": {
                    name: {"times": one.times, "reason": one.reason}
                    for name, one in self._failed.items()
                    if name in pending
                },
                "looked_unix_s": self._clock(),
            },
        )


def watched_entry(tables: StudyTable, file: Path) -> CheckpointTable:
    """Return the one [[checkpoints]] entry of a study that is watched. Raises InputError for another kind of study."""
    if len(tables.checkpoints) != 1:
        raise InputError(
            f"{file} has {len(tables.checkpoints)} [[checkpoints]] entries: to watch a training, give one, whose path "
            "is the trainer's output folder"
        )
    [entry] = tables.checkpoints
    for key in ("step", "name"):
        if getattr(entry, key) is not None:
            raise InputError(f"{file}: checkpoints[1].{key} is given: it names one checkpoint, and a training has many")
    if "*" in entry.path:
        raise InputError(f"{file}: checkpoints[1].path = {entry.path!r} is a glob: give the trainer's output folder")
    return entry
