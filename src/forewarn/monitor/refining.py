"""A donor that no longer reaches, refined in a process of its own while checkpoints are measured with the old one.

What is being refined stands in the watcher's state, and what was drawn for it in the run folder: a process that was
killed, or whose watcher was, goes on where it was.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from forewarn.errors import ForewarnError, IncompleteError, StoreError
from forewarn.monitor.pins import Pin, pins_in
from forewarn.monitor.state import Refining, State
from forewarn.monitor.watched import WatchedStudy
from forewarn.study import read_results
from forewarn.study.results.reach import donor_reaches, lost_now
from forewarn.workers import Workers

if TYPE_CHECKING:
    from forewarn.study.donors.refined import RefinedDonor

NICE = 10
"""how far the process stands back behind the training and the measuring"""


@dataclass(frozen=True, slots=True)
class _Task:
    what: Refining
    at: Pin


class _Room:
    """What the process does."""

    def __init__(self, watched: WatchedStudy) -> None:
        self._watched = watched
        with suppress(OSError):  # where priorities are not ours to change
            os.nice(NICE)

    def do(self, task: _Task) -> RefinedDonor:
        what = task.what
        try:
            return self._watched.refine(what.donor, what.name, task.at, what.writers)
        except OSError as error:
            raise StoreError(str(error)) from None

    def close(self) -> None:
        """Nothing is left open between tasks."""


class Succession:
    """Donors that no longer reach, and those that are refined to write in their place, one at a time."""

    def __init__(
        self,
        watched: WatchedStudy,
        root: Path,
        *,
        state: Callable[[], State],
        decide: Callable[..., None],
        say: Callable[[str], None],
        clock: Callable[[], float],
    ) -> None:
        """``state`` reads the watcher's state; ``decide`` keeps fields of it that are given by name."""
        self._watched, self._root, self._state, self._decide = watched, root, state, decide
        self._say, self._clock = say, clock
        self._workers: Workers[_Task] | None = None
        self._began = 0.0
        self._tried: set[str] = set()

    @property
    def goes_on(self) -> bool:
        """Whether a donor is being refined."""
        return self._watched.settings.refine and self._state().refining is not None

    def begin_next(self) -> None:
        """Begin to refine a donor that no longer reaches, at the last checkpoint where it was drawn, unless one is
        being refined."""
        state = self._state()
        if not self._watched.settings.refine or state.refining is not None:
            return
        files = {new: old for old, new in state.refined.items()}
        try:
            all_lost = lost_now(donor_reaches(read_results(self._root)))
        except ForewarnError as error:  # the next measuring says it, too
            self._say(f"what donors reach can't be read: {error}")
            return
        for lost in all_lost:
            donor = files.get(lost.donor, lost.donor)
            name = f"{donor}-{lost.step}"
            # one that was replaced already is lost for good; one that could not be refined is not tried again there
            if state.refined.get(donor, donor) == lost.donor and name not in self._tried:
                self._decide(refining=Refining(donor, name, lost.checkpoint_id, state.refined))
                self.tend()
                return

    def tend(self, wait_s: float = 0.0) -> float:
        """Start the process where it is not there, and take in the donor that it has made, if it has: it writes at
        checkpoints of which nothing is drawn yet. Returns the seconds that a refinement took that is over now, or 0."""
        what = self._state().refining
        if what is None or not self._watched.settings.refine:
            return 0.0
        try:
            if self._workers is None:
                self._start(what)
            made = self._made(wait_s)
        except (ForewarnError, OSError) as error:
            self._say(f"{what.donor} is not refined: {error}")
            self._decide(refining=None)
        else:
            if made is None:
                return 0.0
            self._decide(refined={**what.writers, what.donor: what.name}, refining=None)
            found = sum(made.found.values())
            self._say(f"{what.name} is fitted to {found} exploits, and writes at the checkpoints that come")
        took = self._clock() - self._began
        self.close()
        self.begin_next()
        return took

    def _start(self, what: Refining) -> None:
        """What an earlier process drew is not drawn again."""
        self._began = self._clock()
        self._tried.add(what.name)
        at = next((one for one in pins_in(self._root) if one.name == what.checkpoint), None)
        if at is None:
            raise StoreError(f"{what.checkpoint} is no longer in the run folder")
        self._say(f"refining {what.donor} at {at.name} into {what.name}, in a process beside the measuring")
        self._workers = Workers(partial(_Room, self._watched), 1, apart=True)
        self._workers.add([_Task(what, at)])

    def _made(self, wait_s: float) -> RefinedDonor | None:
        """The donor, or None while it is not made. A process that died is replaced, three times at most."""
        assert self._workers is not None
        done = self._workers.step(wait_s)
        if self._workers.failed:
            raise IncompleteError(self._workers.failed[0].reason)
        made: RefinedDonor | None = None if done is None else done.answer
        return made

    def wait(self) -> None:
        """Wait until no donor is being refined."""
        while self.goes_on:
            self.tend(wait_s=1.0)

    def close(self) -> None:
        """End the process, if there is one. Its work can go on later, by this or another watcher of the run folder."""
        if self._workers is not None:
            self._workers.close()
            self._workers = None
