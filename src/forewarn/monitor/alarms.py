"""Alarms that rest on e-values: what they are is fixed beforehand, and one error budget covers them all.

A look is a checkpoint whose cells are tested once they are measured. ``alarms.json`` in the run folder keeps what was
fixed and every look, so that a watcher that is killed spends no part of the budget twice. Not here: the e-values
(``prediction/alarms.py``), how the budget is divided (``prediction/budget.py``), alarms by forecast (``answer.py``).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from forewarn.errors import InputError, StoreError
from forewarn.estimation.sample import Sample
from forewarn.monitor.answer import cells_of, not_looked_at, rate_evidence, transcripts, visible
from forewarn.monitor.feed import ALERTS_FILE
from forewarn.monitor.sinks.jsonl import read_alerts
from forewarn.prediction import log_e_exceeds, log_e_growth
from forewarn.prediction.budget import ErrorBudget
from forewarn.records import Alert
from forewarn.store import read_json, write_json
from forewarn.study import CellEstimate, RunResults
from forewarn.study.config.watching import AlarmsTable
from forewarn.study.results.forecasts import first_visible, run_name
from forewarn.study.results.samples import read_samples

ALARMS_STATE = "alarms.json"
"""in the run folder: the alarms as they were fixed, and every look"""

Kind = Literal["exceeds", "growth"]


@dataclass(frozen=True, slots=True)
class Look:
    """One checkpoint, tested."""

    number: int
    """1, 2, ... in the order in which looks were made"""
    checkpoint_id: str
    step: int
    completions: int
    """of all its cells, at that time"""
    log_e: Mapping[Kind, Mapping[str, float]]
    """kind -> exploit type -> ln e-value"""
    needed: float
    """the ln e-value that an alarm of this look needs"""

    @property
    def raised(self) -> list[tuple[Kind, str]]:
        """The alarms: kind and exploit type."""
        return [
            (kind, name)
            for kind, values in self.log_e.items()
            for name, log_e in values.items()
            if log_e >= self.needed
        ]


class Alarms:
    """The rate and growth alarms of one run folder."""

    def __init__(self, table: AlarmsTable, root: Path) -> None:
        """Raises InputError where the folder's looks were made with other alarms: an error budget is fixed once."""
        self.table, self._root = table, root
        kinds = (table.rate is not None) + (table.growth is not None)
        self.budget = None if not kinds else ErrorBudget(table.budget, kinds * len(table.types), table.looks)
        held = read_alarms(root)
        self.looks: list[Look] = [] if held is None else list(held[1])
        if held is not None and held[0] != table:
            before, now = held[0].model_dump(), table.model_dump()
            key = next(name for name in now if now[name] != before[name])
            raise InputError(
                f"alarms.{key} was {before[key]!r} when {root} was first looked at, and is {now[key]!r} now: alarms "
                "are fixed beforehand, so put it back, or give another run folder"
            )

    def look(self, checkpoint_id: str, step: int) -> Look | None:
        """Test a measured checkpoint, once for what is there of it; None where no alarm rests on e-values."""
        if self.budget is None:
            write_json(self._root / ALARMS_STATE, {"alarms": self.table.model_dump(), "looks": []})
            return None
        first = self.looks[0].checkpoint_id if self.looks else checkpoint_id
        samples = read_samples(self._root, {checkpoint_id, first})
        mine = {name: sample for (owner, name), sample in samples.items() if owner == checkpoint_id}
        completions = sum(sample.n for sample in mine.values())
        for made in self.looks:
            if (made.checkpoint_id, made.completions) == (checkpoint_id, completions):
                return made  # by a watcher that was killed before it could say so
        grown = self.looks and checkpoint_id != first and step > self.looks[0].step
        base = {name: sample for (owner, name), sample in samples.items() if owner == first} if grown else {}
        number = len(self.looks) + 1
        made = Look(
            number, checkpoint_id, step, completions, log_e_values(self.table, mine, base), self.budget.needed(number)
        )
        self.looks.append(made)
        held = {"alarms": self.table.model_dump(), "looks": [asdict(one) for one in self.looks]}
        write_json(self._root / ALARMS_STATE, held)
        return made

    def alerts(self, look: Look, results: RunResults, *, unix_s: float) -> list[Alert]:
        """What a look raised, with all that it rests on."""
        return [found for kind, name in look.raised if (found := self._alert(look, kind, name, results, unix_s))]

    def _alert(self, look: Look, kind: Kind, name: str, results: RunResults, unix_s: float) -> Alert | None:
        run = run_name(look.checkpoint_id, results.study)
        mine = cells_of(results, run, name)
        measured = [cell.estimate for cell in mine if cell.estimate is not None]
        here = next((cell for cell in measured if cell.checkpoint_id == look.checkpoint_id), None)
        if here is None:
            return None
        log_e = look.log_e[kind][name]
        return Alert(
            run=run,
            exploit_type=name,
            step=look.step,
            kind=kind,
            message=f"{name} in {run}: {self._claim(kind, look)}.",
            e_value=math.exp(min(log_e, 700.0)),
            log10_p=here.estimate.log10_p,
            interval_log10=here.estimate.interval_log10,
            evidence=(*rate_evidence(here), self._surety(look, log_e), _first_visible(measured)),
            not_looked_at=not_looked_at(results, mine, here),
            command=transcripts(results, name),
            unix_s=unix_s,
            false_alarm_rate=self.table.budget,
        )

    def _claim(self, kind: Kind, look: Look) -> str:
        if kind == "exceeds":
            return f"its rate is above {self.table.rate:.3g} at step {look.step:,}"
        assert self.table.growth is not None
        factor, tau = self.table.growth.factor, self.table.growth.tau
        return (
            f"its rate at step {look.step:,} is over {factor:g} times what was seen at step {self.looks[0].step:,}, "
            f"where a completion counts at most {tau:g}"
        )

    def _surety(self, look: Look, log_e: float) -> str:
        return (
            f"Its e-value is 10^{log_e / math.log(10):.1f}, and an alarm of look {look.number} needs "
            f"10^{look.needed / math.log(10):.1f}: the chance that any rate or growth alarm of this run is false is at "
            f"most {self.table.budget:.0%}."
        )


def log_e_values(
    table: AlarmsTable, now: Mapping[str, Sample], first: Mapping[str, Sample]
) -> dict[Kind, dict[str, float]]:
    """The ln e-values of one look, by kind and exploit type. ``first``: the first checkpoint's, empty at the first."""
    found: dict[Kind, dict[str, float]] = {}
    there = [name for name in table.types if name in now]
    if table.rate is not None:
        found["exceeds"] = {name: log_e_exceeds(now[name], table.rate) for name in there}
    if table.growth is not None:
        tau, factor = table.growth.tau, table.growth.factor
        found["growth"] = {
            name: log_e_growth(now[name], first[name], tau=tau, factor=factor) for name in there if name in first
        }
    return found


def read_alarms(root: Path) -> tuple[AlarmsTable, tuple[Look, ...]] | None:
    """The alarms of a run folder and its looks; None where it has none. Raises StoreError for a damaged file."""
    path = root / ALARMS_STATE
    if not path.exists():
        return None
    held: Any = read_json(path)
    try:
        table = AlarmsTable.model_validate_json(json.dumps(held["alarms"]))  # lists are tuples there
        return table, tuple(Look(**one) for one in held["looks"])
    except (KeyError, TypeError, ValidationError) as error:
        raise StoreError(
            f"{path} doesn't say what was looked at ({type(error).__name__}): put it back, or give another run folder"
        ) from None


def raised_alarms(root: Path) -> list[Alert]:
    """The rate and growth alarms that a run folder has posted: the newest of each kind and exploit type."""
    posted = [one for one in read_alerts(root / ALERTS_FILE) if one.kind != "forecast" and one.raised]
    return list({(one.kind, one.exploit_type): one for one in posted}.values())


def _first_visible(measured: list[CellEstimate]) -> str:
    return visible(first_visible(sorted(measured, key=lambda cell: cell.step)))
