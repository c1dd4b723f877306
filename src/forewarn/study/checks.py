"""What stands behind a study's models, and what is refused before it writes or samples anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from forewarn.checkpoints.receipts import Receipt, Signature
from forewarn.checkpoints.sources import ModelSource, receipt, source_signature
from forewarn.engines.kind import EngineKind
from forewarn.errors import InputError
from forewarn.formats import Channels
from forewarn.records import SUBJECT
from forewarn.study.plan import Cell, Study


@dataclass(frozen=True, slots=True)
class Models:
    """What is behind a study's models when it starts."""

    receipts: Mapping[str, Receipt]
    """by ``model_id``, donors' as "donor:id" """
    signatures: Mapping[str, tuple[ModelSource, Signature]]

    @classmethod
    def of(cls, study: Study) -> Models:
        sources = {c.model_id: c for c in study.checkpoints} | {f"donor:{d.model_id}": d for d in study.all_donors}
        # the marks first: what is written to while it is hashed shows later
        signatures = {name: (source, source_signature(source)) for name, source in sources.items()}
        return cls({name: receipt(source) for name, source in sources.items()}, signatures)

    def behind(self, study: Study, cell: Cell) -> tuple[tuple[ModelSource, Signature], ...]:
        """The marks of the models that a cell's work uses."""
        donors = {p.span.donor for p in study.spans_at(cell)} - {SUBJECT}
        return tuple(
            self.signatures[name] for name in (cell.checkpoint.model_id, *(f"donor:{d}" for d in sorted(donors)))
        )


def check_engine(study: Study, kind: EngineKind) -> None:
    """Raise InputError where an engine can't sample and score the study's policy, or a donor's own."""
    kind.check_sampling(study.policy)
    kind.check_scoring(study.policy)
    for span in (planned.span for planned in study.spans):
        if span.temperature is not None:
            own = replace(study.policy, temperature=span.temperature)
            try:
                kind.check_sampling(own)
                kind.check_scoring(own)
            except InputError as error:
                raise InputError(f"span {span.name} gives its donor a temperature of its own: {error}") from None


def check_context(study: Study, channels: Channels, kind: EngineKind) -> None:
    """Raise InputError where a prompt with the longest completion doesn't fit into a model's longest row."""
    folders = dict.fromkeys(source.folder for source in (*study.checkpoints, *study.all_donors))
    known = [(found.tokens, folder, found.why) for folder in folders if (found := kind.rows.longest(folder)).tokens]
    if not known:
        return
    size, folder, why = min(known, key=lambda item: item[0] or 0)
    assert size is not None
    lengths = {problem.problem_id: len(channels.prompt_ids(problem.question)) for problem in study.problems}
    longest = max(lengths, key=lambda name: lengths[name])
    limit = study.policy.max_total_tokens
    spare = kind.rows.spare
    room = size - spare - lengths[longest]
    if limit <= room:
        return
    remedy = f"lower max_total_tokens to {room} or less, or leave" if room > 0 else "leave"
    end = f"{folder} has {size} tokens {why}, so that what is sampled could not be scored"
    if not why:
        end = f"the context of {folder} is {size} tokens{f', of which {kind.title} needs {spare}' if spare else ''}"
    raise InputError(
        f"problem {longest} asks {lengths[longest]} tokens and a completion may take {limit}, but {end}: {remedy} the "
        f"longest problems out{f', {kind.rows.remedy}' if why and kind.rows.remedy else ''}"
    )
