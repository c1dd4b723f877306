"""What a study is: problems, checkpoints, donors and spans, checked. Not here: the keys of its work (``keys.py``)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Literal

from forewarn.checkpoints.sources import ModelSource
from forewarn.errors import InputError
from forewarn.formats import ChannelFormat, CodeRule, named_format
from forewarn.prediction import Training
from forewarn.records import Policy, Problem, Span
from forewarn.study.span_checks import check_span, check_spans


@dataclass(frozen=True, slots=True)
class PlannedSpan:
    """A span and how often it is drawn."""

    span: Span
    count: int
    """completions of each problem at each checkpoint"""
    exploit_types: tuple[str, ...] = ()
    """the types it is used for; empty: all"""
    pieces: tuple[int, ...] = ()
    """completions drawn at a time, which sum to ``count``; empty: all together"""


BLOCK_ROWS = 256
"""completions in a block, where one problem has fewer. A constant: the keys of blocks depend on it"""


@dataclass(frozen=True, slots=True)
class Cell:
    """One checkpoint and one exploit type: the unit of estimates."""

    checkpoint: ModelSource
    exploit_type: str


@dataclass(frozen=True, slots=True)
class Block:
    """One span on some problems of a cell: the unit of sampling, and one shard of completions."""

    cell: Cell
    planned: PlannedSpan
    problems: tuple[Problem, ...]
    first: int
    """which of the span's completions of each problem is the block's first"""
    count: int
    """completions of each problem"""

    @property
    def n(self) -> int:
        """Its completions."""
        return self.count * len(self.problems)


def spans_of(planned: Sequence[PlannedSpan], exploit_type: str) -> tuple[PlannedSpan, ...]:
    """The spans used for a type, the subject's own first (column 0 of every array)."""
    used = [s for s in planned if not s.exploit_types or exploit_type in s.exploit_types]
    return tuple(sorted(used, key=lambda s: s.span.writes))


@dataclass(frozen=True, slots=True)
class Study:
    """A plan of measurement. Raises InputError where it contradicts itself."""

    name: str
    problems: tuple[Problem, ...]
    checkpoints: tuple[ModelSource, ...]
    donors: tuple[ModelSource, ...]
    """``model_id`` is the donor's name in spans"""
    spans: tuple[PlannedSpan, ...]
    policy: Policy
    seed: int
    channel_format: str | ChannelFormat = "plain-think"
    """a name of ``formats.FORMATS``, or a declared format"""
    system: str | None = None
    """system message before every question"""
    code_rule: CodeRule = field(default_factory=CodeRule)
    """how submissions are read off answers; another rule reads the completions again, and draws none"""
    level: float = 0.9
    dtype: Literal["float32", "bfloat16", "float16", "float64"] = "float32"
    training: Training | None = None
    """what is known of the run that made the checkpoints: forecasts use it, and no measurement depends on it"""
    own_spans: Mapping[str, tuple[PlannedSpan, ...]] = field(default_factory=dict)
    """checkpoint -> what is drawn there in the place of ``spans``: less, or with donors that were added"""
    added_donors: tuple[ModelSource, ...] = ()
    """donors that came later, while a training was followed; they, like checkpoints, make no other study"""

    def __post_init__(self) -> None:
        named_format(self.channel_format)
        for what, names in (
            ("problem", [p.problem_id for p in self.problems]),
            ("checkpoint", [c.model_id for c in self.checkpoints]),
            ("donor", [d.model_id for d in self.all_donors]),
        ):
            twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
            if twice:
                raise InputError(f"two {what}s are named {twice[0]!r}: give each its own name")
        if not self.problems or not self.checkpoints:
            raise InputError("a study needs at least one problem and one checkpoint")
        if not 0 < self.level < 1:
            raise InputError(f"level is {self.level}: give a value between 0 and 1")
        donors = {donor.model_id: donor for donor in self.all_donors}
        for spans in (self.spans, *self.own_spans.values()):
            self._check_spans(spans, donors)

    def _check_spans(self, planned_spans: Sequence[PlannedSpan], donors: Mapping[str, ModelSource]) -> None:
        for planned in planned_spans:
            check_span(planned.span, planned.count, donors, self.policy)
            if planned.pieces and (min(planned.pieces) < 1 or sum(planned.pieces) != planned.count):
                raise InputError(
                    f"span {planned.span.name} is drawn in pieces of {planned.pieces}, which are not {planned.count}"
                )
        for exploit_type in self.exploit_types:
            spans = [planned.span for planned in spans_of(planned_spans, exploit_type)]
            if Span() not in spans:
                raise InputError(
                    f"exploit type {exploit_type} has no span (0, 0): without brute force nothing is bounded"
                )
            check_spans(spans, f"exploit type {exploit_type}", self.policy)

    @property
    def exploit_types(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(problem.exploit_type for problem in self.problems))

    @property
    def format_key(self) -> object:
        """The chat format as it enters keys: a name, or all of a declared one."""
        return self.channel_format if isinstance(self.channel_format, str) else asdict(self.channel_format)

    def problems_of(self, exploit_type: str) -> tuple[Problem, ...]:
        return tuple(problem for problem in self.problems if problem.exploit_type == exploit_type)

    @property
    def all_donors(self) -> tuple[ModelSource, ...]:
        """The donors, with those that were added."""
        return self.donors + self.added_donors

    def spans_of(self, exploit_type: str) -> tuple[PlannedSpan, ...]:
        """The spans that are planned for a type, the subject's own first (column 0 of every array)."""
        return spans_of(self.spans, exploit_type)

    def spans_at(self, cell: Cell) -> tuple[PlannedSpan, ...]:
        """The spans that are drawn of a cell, the subject's own first."""
        return spans_of(self.own_spans.get(cell.checkpoint.model_id, self.spans), cell.exploit_type)

    def cells(self) -> Iterator[Cell]:
        for checkpoint in self.checkpoints:
            for exploit_type in self.exploit_types:
                yield Cell(checkpoint, exploit_type)

    def blocks(self, cell: Cell) -> Iterator[Block]:
        """What a cell's completions are cut into, in the order of its spans and problems."""
        problems = self.problems_of(cell.exploit_type)
        for planned in self.spans_at(cell):
            first = 0
            for count in planned.pieces or (planned.count,):
                most = max(1, BLOCK_ROWS // count)
                for start in range(0, len(problems), most):
                    yield Block(cell, planned, problems[start : start + most], first, count)
                first += count
