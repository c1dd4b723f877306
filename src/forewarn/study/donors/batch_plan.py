"""The study that a donor's refinement batch is, or that its RL starts from, as the file's tables describe it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from forewarn.checkpoints.sources import ModelSource
from forewarn.errors import InputError
from forewarn.estimation.allocation import planned_counts
from forewarn.records import SUBJECT, UNBOUNDED, derived_seed
from forewarn.study.config.load import LoadedStudy, study_of_tables
from forewarn.study.config.schema import DonorTable, RefinementTable, SpanTable, StudyTable

OWN_PART = 0.1
"""brute force's part of a batch whose spans the file doesn't give"""


_OWN = (SpanTable(count=1, scale=1.0),)
"""brute force: what a study needs, also where nothing is drawn"""


def batch_study(
    tables: StudyTable,
    text: bytes,
    path: Path,
    donor: DonorTable,
    table: RefinementTable,
    *,
    number: int = 1,
    newest: Path | None = None,
) -> LoadedStudy:
    """The study that a donor's refinement batch is: one checkpoint, the donors that it is drawn with, its own seed.

    From the second round on, ``number``, the donor of the round before, in ``newest``, draws it under the donor's own
    name. Of a table with ``rl``, the donor is the one that training starts from, and no span of it is drawn.
    """
    kind = "refinement" if table.rl is None else "rl"
    spans = tuple(s for s in table.spans if newest is not None or s.donor != donor.name)
    names = table.from_ or tuple(dict.fromkeys(s.donor for s in spans if s.donor is not None))
    names = tuple(name for name in names if name != donor.name or not table.spans)
    if table.rl is not None:
        _check_alone(table, f"{path}: donor {donor.name!r}: refinement")
        names = (table.rl.start,)
    where = f"{path}: donor {donor.name!r}: refinement"
    _check_rounds(table, donor.name, where)
    known = {entry.name: entry for entry in tables.donors if entry.name != donor.name}
    if unknown := [name for name in names if name not in known and name != "subject"]:
        said = f"from names {unknown[0]!r}: the batch is drawn with other donors of the file"
        if table.rl is not None:
            said = f"rl.start = {unknown[0]!r}: give 'subject', or another donor of the file"
        raise InputError(f"{where}.{said}, which has {', '.join(known) or 'none'}")
    if not names and not spans:
        raise InputError(f"{where}.from is missing: name the donors that the batch is drawn with, or give spans")
    if newest is not None:
        known[donor.name] = DonorTable(name=donor.name, path=str(newest.resolve()), base=donor.base)
        names = (*names, donor.name) if table.spans else (donor.name,)
    if table.spans and "completions" in table.model_fields_set:
        raise InputError(f"{where}.completions = {table.completions} beside spans: each span has a count, leave it out")
    changed = tables.model_copy(
        update={
            "name": f"{tables.name}-{kind}-{donor.name}",
            "seed": derived_seed("refinement", tables.seed, donor.name, *((number,) if number > 1 else ())),
            "donors": tuple(known[name] for name in names if name in known),
            "spans": spans or (_whole_channels(names, table.completions) if table.rl is None else _OWN),
            "problems": table.problems or tables.problems,
        }
    )
    try:
        loaded = study_of_tables(changed, text, path)
    except InputError as error:
        raise InputError(f"refinement of {donor.name!r}: {error}") from None
    chosen = _checkpoint(loaded.study.checkpoints, table, where)
    return replace(loaded, study=replace(loaded.study, checkpoints=(chosen,)))


def starting_adapter(
    tables: StudyTable, text: bytes, path: Path, donor: DonorTable, table: RefinementTable, base: Path
) -> Path | None:
    """The adapter that the donor is trained further from; None: a fresh one."""
    where = f"{path}: donor {donor.name!r}: refinement"
    if table.start is None:
        return None
    if beside := [key for key in ("rank", "alpha", "target_modules") if key in table.model_fields_set]:
        raise InputError(f"{where}.{beside[0]} beside start, whose LoRA is trained further: leave one of them out")
    if table.rl is not None:
        raise InputError(f"{where}.start beside refinement.rl, which has a start of its own: leave it out")
    named = tuple(entry for entry in tables.donors if entry.name == table.start != donor.name)
    if not named and table.start != SUBJECT:
        raise InputError(f"{where}.start = {table.start!r}: give 'subject', or another donor of the file")
    changed = tables.model_copy(update={"donors": named, "spans": _OWN, "problems": table.problems or tables.problems})
    study = study_of_tables(changed, text, path).study
    checkpoint = _checkpoint(study.checkpoints, table, where)
    found = start_adapter(study.donors, checkpoint, base, where)
    if found is None:
        raise InputError(
            f"{where}.start = {table.start!r}, the checkpoint {checkpoint.model_id}, is a whole model and has no "
            "adapter to train further: leave start out, and give it as the donor's base"
        )
    return found


def start_adapter(donors: Sequence[ModelSource], checkpoint: ModelSource, base: Path, where: str) -> Path | None:
    """The adapter that training starts from, a donor's or else the checkpoint's; None: a fresh one."""
    source = donors[0] if donors else checkpoint
    named = repr(source.model_id) if donors else f"{SUBJECT!r}, the checkpoint {source.model_id},"
    if Path(source.folder).resolve() != base.resolve():
        raise InputError(f"{where}.start = {named} is on {source.folder} and not on the donor's base {base}")
    if donors and source.adapter is None:
        raise InputError(f"{where}.start = {named} is a whole model: give a donor that is an adapter on {base}")
    return None if source.adapter is None else Path(source.adapter)


def _checkpoint(there: Sequence[ModelSource], table: RefinementTable, where: str) -> ModelSource:
    wanted = [c for c in there if table.checkpoint in (None, c.model_id)]
    if not wanted:
        known_names = ", ".join(c.model_id for c in there)
        raise InputError(
            f"{where}.checkpoint = {table.checkpoint!r} is not one of the study's, which are {known_names}"
        )
    return wanted[0]


def _check_rounds(table: RefinementTable, name: str, where: str) -> None:
    """Raise InputError where the newest donor's part in later rounds is not said, or has no round to be drawn in."""
    own = any(span.donor == name for span in table.spans)
    if table.rounds > 1 and table.spans and not own:
        raise InputError(
            f"{where}.rounds = {table.rounds} beside spans, none of which has donor = {name!r}: add what the donor of "
            "the round before draws from the second round on"
        )
    if table.rounds == 1 and own:
        raise InputError(f"{where}.spans name {name!r} itself, which draws from the second round on: give rounds")


def _check_alone(table: RefinementTable, where: str) -> None:
    """Raise InputError for keys of a batch beside RL, which draws none."""
    if beside := [key for key in ("from_", "spans", "completions", "rounds") if key in table.model_fields_set]:
        raise InputError(
            f"{where}.{beside[0].rstrip('_')} beside refinement.rl, which draws no batch: leave one of them out"
        )


def _whole_channels(donors: tuple[str, ...], completions: int) -> tuple[SpanTable, ...]:
    """Brute force; and each donor on the whole answer, and on reasoning and answer."""
    lengths = [(k, name) for name in donors for k in (0, UNBOUNDED)]
    rest = (1 - OWN_PART) / len(lengths)
    own, *others = planned_counts(np.array([OWN_PART, *(rest for _ in lengths)]), completions).tolist()
    written = [
        SpanTable(count=n, k=k, m=UNBOUNDED, donor=name, scale=1.0)
        for n, (k, name) in zip(others, lengths, strict=True)
    ]
    return (SpanTable(count=own, scale=1.0), *written)
