"""The study that a donor's refinement batch is, or that its RL starts from, as the file's tables describe it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from forewarn.errors import InputError
from forewarn.estimation.allocation import planned_counts
from forewarn.records import UNBOUNDED, derived_seed
from forewarn.study.config.load import LoadedStudy, study_of_tables
from forewarn.study.config.schema import DonorTable, RefinementTable, SpanTable, StudyTable

OWN_PART = 0.1
"""brute force's part of a batch whose spans the file doesn't give"""


_OWN = (SpanTable(count=1, scale=1.0),)
"""brute force: what a study needs, also where nothing is drawn"""


def batch_study(tables: StudyTable, text: bytes, path: Path, donor: DonorTable, table: RefinementTable) -> LoadedStudy:
    """The study that a donor's refinement batch is: one checkpoint, the donors that it is drawn with, its own seed.

    Of a table with ``rl``, the donor is the one that training starts from, and no span of it is drawn.
    """
    kind = "refinement" if table.rl is None else "rl"
    names = table.from_ or tuple(dict.fromkeys(s.donor for s in table.spans if s.donor is not None))
    if table.rl is not None:
        _check_alone(table, f"{path}: donor {donor.name!r}: refinement")
        names = (table.rl.start,)
    where = f"{path}: donor {donor.name!r}: refinement"
    known = {entry.name: entry for entry in tables.donors if entry.name != donor.name}
    if unknown := [name for name in names if name not in known and name != "subject"]:
        said = f"from names {unknown[0]!r}: the batch is drawn with other donors of the file"
        if table.rl is not None:
            said = f"rl.start = {unknown[0]!r}: give 'subject', or another donor of the file"
        raise InputError(f"{where}.{said}, which has {', '.join(known) or 'none'}")
    if not names and not table.spans:
        raise InputError(f"{where}.from is missing: name the donors that the batch is drawn with, or give spans")
    if table.spans and "completions" in table.model_fields_set:
        raise InputError(f"{where}.completions = {table.completions} beside spans: each span has a count, leave it out")
    changed = tables.model_copy(
        update={
            "name": f"{tables.name}-{kind}-{donor.name}",
            "seed": derived_seed("refinement", tables.seed, donor.name),
            "donors": tuple(known[name] for name in names if name in known),
            "spans": table.spans or (_whole_channels(names, table.completions) if table.rl is None else _OWN),
            "problems": table.problems or tables.problems,
        }
    )
    try:
        loaded = study_of_tables(changed, text, path)
    except InputError as error:
        raise InputError(f"refinement of {donor.name!r}: {error}") from None
    there = loaded.study.checkpoints
    wanted = [c for c in there if table.checkpoint in (None, c.model_id)]
    if not wanted:
        known_names = ", ".join(c.model_id for c in there)
        raise InputError(
            f"{where}.checkpoint = {table.checkpoint!r} is not one of the study's, which are {known_names}"
        )
    return replace(loaded, study=replace(loaded.study, checkpoints=(wanted[0],)))


def _check_alone(table: RefinementTable, where: str) -> None:
    """Raise InputError for keys of a batch beside RL, which draws none."""
    if beside := [key for key in ("from_", "spans", "completions") if key in table.model_fields_set]:
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
