"""Following a training: each checkpoint is kept, measured once it is whole, and the answer told to the sinks.

The watcher never touches the training. Whatever goes wrong with one checkpoint, it says so, keeps the checkpoint
pending, and goes on. Its state is the run folder alone, so a watcher that was killed goes on where it was.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from forewarn.checkpoints.layouts import Spot
from forewarn.checkpoints.remote import StorageFault
from forewarn.errors import ForewarnError
from forewarn.monitor.alarms import Alarms
from forewarn.monitor.answer import answer_now
from forewarn.monitor.feed import Feeds
from forewarn.monitor.pins import Pin, pin, pins_in
from forewarn.monitor.refining import Succession
from forewarn.monitor.rounds import Drawn, ended, next_round
from forewarn.monitor.state import State, Trouble, next_of, read_state, write_state
from forewarn.monitor.watched import Overrides, WatchedStudy
from forewarn.records import Alert
from forewarn.study import read_results, run_forecasts, run_study
from forewarn.study.results.reach import donor_reaches, lost_now
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
        overrides: Overrides | None = None,
        progress: Progress | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``root``: the run folder. Raises InputError where the file does not name one training, and where its alarms
        can't be or are not those that the folder was looked at with."""
        self._watched = WatchedStudy(file, root, overrides or Overrides())
        self._root, self._feeds, self._say = root, feeds, say
        self.training = self._watched.training
        self._polls = self._watched.polls()
        self._alarms = None if self._watched.alarms is None else Alarms(self._watched.alarms, root)
        self._progress, self._clock = progress, clock
        self._failed: dict[str, Trouble] = {}
        self._storage_broke = False
        self._visited: set[str] = set()
        self._said_lost: set[str | None] = set()
        self._rests_until = 0.0
        self._seen: set[str] = {one.name for one in pins_in(root)}
        """names of kept checkpoints that were told"""
        self.succession = Succession(
            self._watched, root, state=self._state, decide=self._write_state, say=say, clock=clock
        )

    def look(self) -> list[Pin]:
        """Look at the training's folder once, keep what has become whole, and return the new ones."""
        fresh = []
        try:
            spots = self._polls.look()
        except StorageFault as error:
            if not self._storage_broke:
                self._say(f"{error}; it is looked at again and again")
            self._storage_broke, spots = True, []
        else:
            self._storage_broke = False
        for spot in spots:
            kept = self._keep(spot)
            if kept is not None and kept.name not in self._seen:
                self._seen.add(kept.name)
                fresh.append(kept)
        self._write_state()
        self._rest_after(self.succession.tend())
        return fresh

    def _keep(self, spot: Spot) -> Pin | None:
        kept = pin(spot, self._root, seen=self._polls.seen(spot))
        if kept is None:
            self._say(f"{spot.name} was pruned or written to before it could be kept")
        return kept

    @property
    def measured(self) -> list[Pin]:
        """The checkpoints that have estimates, also from a part of their completions, by step."""
        drawn = self._state().drawn
        return [one for one in pins_in(self._root) if one.name in drawn and drawn[one.name].rounds]

    @property
    def pending(self) -> list[Pin]:
        """The kept checkpoints that lack completions still, by step."""
        done = self._state().measured
        return [one for one in pins_in(self._root) if one.name not in done]

    @property
    def untried(self) -> list[Pin]:
        """The pending ones that this watcher has not visited yet."""
        return [one for one in self.pending if one.name not in self._visited]

    @property
    def rests(self) -> bool:
        """Whether the watcher leaves the device alone now, so as not to use more than its share of the time."""
        return self._clock() < self._rests_until

    def _state(self) -> State:
        held = read_state(self._root) or State()
        unknown = set(held.measured) - held.drawn.keys()  # of an earlier version, which drew all at once
        return State(
            held.training,
            held.measured,
            held.pending,
            held.failed,
            held.looked_unix_s,
            {**held.drawn, **{name: Drawn((self._watched.plan.counts,)) for name in unknown}},
            held.refined,
            held.refining,
        )

    def _next(self) -> Pin | None:
        """The checkpoint to visit: those without an estimate first, then those with the smallest part."""
        pending, measured = self.pending, [one for one in self.measured if one.intact]
        names = {one.name for one in self.measured}
        fresh = [one for one in pending if one.name not in names]
        ready = [one for one in fresh if self._tried(one) < TRIES]
        in_part = [one for one in pending if one.name in names and self._tried(one) < TRIES]
        if ready or not in_part:
            return next_of(ready or pending, measured)
        drawn, total = self._state().drawn, self._watched.plan.total
        return min(in_part, key=lambda one: (total(drawn[one.name].rounds[-1]), -one.step))

    def measure_next(self) -> list[Alert] | None:
        """Measure one pending checkpoint and return the answer after it; None if none was left, or it failed."""
        chosen = self._next()
        if chosen is None:
            return None
        self._visited.add(chosen.name)
        start = self._clock()
        answer = self._measure(chosen)
        self._rest_after(self._clock() - start)
        if answer is not None:
            self.succession.begin_next()
        return answer

    def _rest_after(self, seconds: float) -> None:
        """Leave the device alone after it was used, for as long as the share of the time asks for."""
        share = self._watched.settings.share
        self._rests_until = max(self._rests_until, self._clock()) + max(0.0, seconds) * (1 - share) / share

    def _measure(self, chosen: Pin) -> list[Alert] | None:
        state, plan = self._state(), self._watched.plan
        before = state.drawn.get(chosen.name, Drawn(donors=state.refined))
        now = next_round(plan, before, self._watched.budget, state.drawn)
        self._write_state(drawn={chosen.name: now})  # fixed before anything of it is drawn
        self._say_what_is_measured(chosen, now)
        start = self._clock()
        try:
            others = [one for one in self.measured if one.name != chosen.name and one.intact]
            done = {one.name: replace(state.drawn[one.name], begun=None) for one in others}
            loaded = self._watched.study([*others, chosen], done | {chosen.name: now})
            run_study(
                loaded.study,
                self._root,
                machine=loaded.machine,
                sandboxing=loaded.sandboxing,
                progress=self._progress,
                text=loaded.text,
            )
            seconds = self._clock() - start
            answer = self._tell(chosen)  # before it counts as measured: a kill in between tells it again
        except (ForewarnError, OSError) as error:
            self._failed[chosen.name] = Trouble(self._tried(chosen) + 1, str(error))
            self._say(f"{chosen.name} is not measured and will be tried again: {error}")
            self._write_state()
            return None
        self._failed.pop(chosen.name, None)
        self._write_state(drawn={chosen.name: ended(plan, now, None if before.begun else seconds)})
        return answer

    def _say_what_is_measured(self, chosen: Pin, now: Drawn) -> None:
        plan, waiting = self._watched.plan, len(self.pending) - 1
        behind = f"; {waiting} more wait" if waiting else ""
        part = ""
        if now.begun != plan.counts:
            part = f" with {plan.total(now.begun):,} of {plan.total():,} completions, the others don't fit yet"
        elif now.rounds:
            part = f" with the rest of its {plan.total():,} completions"
        elif self._watched.budget.minutes is not None and self._watched.budget.fits(self._state().drawn) is None:
            part = " in full: the time that this takes tells how many completions fit at the others"
        self._say(f"measuring {chosen.name} (step {chosen.step:,}){part}{behind}")

    def _tried(self, one: Pin) -> int:
        trouble = self._failed.get(one.name)
        return 0 if trouble is None else trouble.times

    def _tell(self, chosen: Pin) -> list[Alert]:
        """Test what was measured now, make forecasts and report of what is there, and post the answer: alarms first."""
        from forewarn.report.from_run import write_run_report

        results, now = read_results(self._root), self._clock()
        for lost in lost_now(donor_reaches(results)):
            if lost.lost not in self._said_lost:
                self._say(f"{lost.lost}; `forewarn refine-donor`, or refine = true in [watch], makes one that does")
                self._said_lost.add(lost.lost)
        answer: list[Alert] = []
        if self._alarms is not None and (look := self._alarms.look(chosen.name, chosen.step)) is not None:
            answer += self._alarms.alerts(look, results, unix_s=now)
        answer += answer_now(results, self._watched.alarms, unix_s=now)
        for one in answer:
            self._feeds.post(one)
        said = run_forecasts(results.estimates, study=results.study, seed=results.seed, training=results.training)
        try:
            write_run_report(results, said)
        except ForewarnError as error:  # the numbers are there, and the report can be made again
            self._say(f"the report could not be written: {error}")
        return answer

    def _write_state(self, drawn: dict[str, Drawn] | None = None, **changed: Any) -> None:
        """Keep the state as it is now. ``changed``: fields that were decided on."""
        whole, names = self._watched.plan.counts, [one.name for one in pins_in(self._root)]
        before = self._state()
        held = {**before.drawn, **(drawn or {})}
        measured = [name for name in names if name in held and held[name].rounds and held[name].rounds[-1] == whole]
        pending = tuple(name for name in names if name not in measured)
        failed = {name: one for name, one in self._failed.items() if name in pending}
        kept = {name: one for name, one in held.items() if name in names}
        now = replace(
            before,
            training=self.training,
            measured=tuple(measured),
            pending=pending,
            failed=failed,
            looked_unix_s=self._clock(),
            drawn=kept,
        )
        write_state(self._root, replace(now, **changed))
