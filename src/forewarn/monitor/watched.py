"""The study of a training that is followed: what its file asks for, and the study of the checkpoints kept so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from forewarn.checkpoints.polls import Polls
from forewarn.checkpoints.remote import RemotePolls, is_url
from forewarn.errors import InputError
from forewarn.monitor.pins import NOT_THE_MODEL, Pin, pins_in
from forewarn.monitor.rounds import Budget, Drawn, Plan, spans_drawn
from forewarn.monitor.state import in_order
from forewarn.study.config.file import read_study_file
from forewarn.study.config.load import (
    LoadedStudy,
    chosen_alarms,
    donor_source,
    placed,
    problems_of,
    study_of_tables,
)
from forewarn.study.config.schema import CheckpointTable, DonorTable, RefinementTable, StudyTable, TrainingTable
from forewarn.study.config.watching import AlarmsTable, WatchTable

if TYPE_CHECKING:
    from forewarn.study.donors.refined import RefinedDonor

MIRROR = "storage"
"""in the run folder: what is downloaded of a training that is in a storage"""
DONORS, REFINEMENTS = "donors", "refinements"
"""in the run folder: donors that were refined while watching, and the batches that they were fitted to"""


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

    def __init__(self, file: Path, root: Path, overrides: Overrides) -> None:
        """``root``: the run folder. Raises InputError where the file does not name one training, or alarms or a budget
        that can't be."""
        self.tables, self._text = read_study_file(file)
        self._file, self._home, self._root = file, file.resolve().parent, root
        self._entry = watched_entry(self.tables, file)
        self.training = self._entry.path if is_url(self._entry.path) else placed(self._entry.path, self._home)
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

    def polls(self) -> Polls | RemotePolls:
        """What looks at the training's folder. Raises MissingExtraError or InputError for a storage that can't be."""
        if is_url(self.training):
            return RemotePolls(
                self.training,
                self._root / MIRROR,
                without=NOT_THE_MODEL,
                known=lambda: {one.spot or one.name for one in pins_in(self._root)},
            )
        return Polls(Path(self.training))

    def study(self, pins: Sequence[Pin], drawn: Mapping[str, Drawn]) -> LoadedStudy:
        """The study of these checkpoints, each with what is drawn there; in full where nothing is said of it."""
        loaded = study_of_tables(self._tables_of(pins), self._text, self._file)
        spans = loaded.study.spans
        mine = {one.name: found for one in pins if (found := drawn.get(one.name)) is not None and found.all_rounds}
        own = {
            name: spans_drawn(spans, one)
            for name, one in mine.items()
            if one.donors or one.all_rounds != (self.plan.counts,)
        }
        refined = {new: old for one in mine.values() for old, new in one.donors.items()}
        added = tuple(donor_source(self._refined_table(old, new), self._home) for new, old in refined.items())
        return replace(loaded, study=replace(loaded.study, own_spans=own, added_donors=added))

    def refine(self, donor: str, name: str, at: Pin, writers: Mapping[str, str]) -> RefinedDonor:
        """Make the donor ``name`` of a donor of the file, fitted to exploits that a batch at a checkpoint brings.

        ``writers``: who writes in the place of the file's donors now. The batch is a run folder of its own, and enters
        no estimate. Raises InputError where the batch has no exploit.
        """
        from forewarn.study.donors.refine import refine_described
        from forewarn.study.donors.trial import try_donor

        tables = self._tables_of([at])
        now = {writers.get(one.name, one.name): one.name for one in tables.donors}
        known = [self._refined_table(old, new) for new, old in now.items() if new != old]
        made = self._refined_table(donor, name)
        before = next(one for one in tables.donors if one.name == donor)
        trained = before.training or before.refinement
        settings = (
            {}
            if trained is None
            else {key: getattr(trained, key) for key in TrainingTable.model_fields if key != "problems"}
        )
        table = RefinementTable.model_validate({**settings, "from": tuple(now)})
        made = made.model_copy(update={"refinement": table})
        changed = tables.model_copy(update={"donors": (*tables.donors, *known, made)})
        refined = refine_described(
            changed,
            self._text,
            self._file,
            donor=name,
            run_folder=self._root.resolve() / REFINEMENTS / name,
        )
        alone = made.model_copy(update={"refinement": None, "training": TrainingTable.model_validate({})})
        trial = try_donor(changed, alone, self._file)
        if trial.exploit_rate == 0:
            raise InputError(
                f"{name}, fitted to {sum(refined.found.values())} exploits, brings none in {trial.n} answers: "
                "more completions or epochs would be needed, by `forewarn refine-donor`"
            )
        return refined

    def _refined_table(self, donor: str, name: str) -> DonorTable:
        """The table of a donor that was refined from one of the file's."""
        before = next(one for one in self.tables.donors if one.name == donor)
        base = donor_source(before, self._home).folder
        return DonorTable(name=name, path=str(self._root.resolve() / DONORS / name), base=base)

    def _tables_of(self, pins: Sequence[Pin]) -> StudyTable:
        """The file's tables with these checkpoints."""
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
        return self.tables.model_copy(update={"checkpoints": entries, "engine": self._engine})


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
