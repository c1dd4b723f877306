"""The study of a training that is followed: what its file asks for, and the study of the checkpoints kept so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from forewarn.errors import InputError
from forewarn.monitor.pins import Pin
from forewarn.monitor.rounds import Budget, Drawn, Plan, spans_drawn
from forewarn.monitor.state import in_order
from forewarn.study.config.file import read_study_file
from forewarn.study.config.load import LoadedStudy, chosen_alarms, placed, problems_of, study_of_tables
from forewarn.study.config.schema import CheckpointTable, StudyTable
from forewarn.study.config.watching import AlarmsTable, WatchTable


@dataclass(frozen=True, slots=True)
class Overrides:
    """What a command line gives in the place of the study's file; None: what the file says."""

    workers: int | None = None
    engine: str | None = None
    completions: int | None = None
    minutes: float | None = None
    share: float | None = None


class WatchedStudy:
    """A study's file whose checkpoints are those of one training."""

    def __init__(self, file: Path, overrides: Overrides) -> None:
        """Raises InputError where the file does not name one training, or alarms or a budget that can't be."""
        self.tables, self._text = read_study_file(file)
        self._file, self._home = file, file.resolve().parent
        self._entry = watched_entry(self.tables, file)
        self.training = Path(placed(self._entry.path, self._home))
        problems = problems_of(self.tables, file)
        measured = tuple(dict.fromkeys(one.exploit_type for one in problems))
        self.alarms: AlarmsTable | None = chosen_alarms(self.tables, measured, file)
        types = [one.exploit_type for one in problems]
        spans = self.tables.spans
        sizes = tuple(sum(not span.types or name in span.types for name in types) for span in spans)
        self.plan = Plan(tuple(span.count for span in spans), sizes)
        asked = {key: value for key in ("completions", "minutes", "share") if (value := getattr(overrides, key))}
        self.settings: WatchTable = (self.tables.watch or WatchTable.model_validate({})).model_copy(update=asked)
        self.budget = Budget(self.settings.completions, self.settings.minutes)
        self.budget.check(self.plan)
        engine = {"workers": overrides.workers, "kind": overrides.engine}
        self._engine = self.tables.engine.model_copy(update={key: value for key, value in engine.items() if value})

    def study(self, pins: Sequence[Pin], drawn: Mapping[str, Drawn]) -> LoadedStudy:
        """The study of these checkpoints, each with what is drawn there; in full where nothing is said of it."""
        base = None if self._entry.base is None else placed(self._entry.base, self._home)
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
        tables = self.tables.model_copy(update={"checkpoints": entries, "engine": self._engine})
        loaded = study_of_tables(tables, self._text, self._file)
        spans = loaded.study.spans
        own = {
            one.name: spans_drawn(spans, found.all_rounds)
            for one in pins
            if (found := drawn.get(one.name)) is not None and found.all_rounds not in ((), (self.plan.counts,))
        }
        return replace(loaded, study=replace(loaded.study, own_spans=own))


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
