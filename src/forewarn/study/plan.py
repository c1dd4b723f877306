"""What a study is: problems, checkpoints, donors and spans, checked; and the keys under which its work is kept.

A key holds everything a piece of work depends on, so that a re-run does only what is missing. Not here: the work.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Literal

from forewarn import __version__
from forewarn.checkpoints.find import ModelSource
from forewarn.errors import InputError
from forewarn.estimation import donor_key
from forewarn.formats import ChannelFormat, CodeRule, named_format
from forewarn.records import SUBJECT, Policy, Problem, Span, content_key
from forewarn.spans import span_entry
from forewarn.study.span_checks import check_span, check_spans


@dataclass(frozen=True, slots=True)
class PlannedSpan:
    """A span and how often it is drawn."""

    span: Span
    count: int
    """completions of each problem at each checkpoint"""
    exploit_types: tuple[str, ...] = ()
    """the types it is used for; empty: all"""


@dataclass(frozen=True, slots=True)
class Cell:
    """One checkpoint and one exploit type: the unit of sampling and of estimates."""

    checkpoint: ModelSource
    exploit_type: str


@dataclass(frozen=True, slots=True)
class CellRecord:
    """What an estimate needs to know of a cell."""

    checkpoint_id: str
    step: int
    exploit_type: str
    key: str
    """of its completions"""
    spans: tuple[PlannedSpan, ...]
    """the subject's own first: column 0 of every array"""
    receipt: str | None = None
    """of the checkpoint's files: ``checkpoints.receipts.Receipt.key``"""
    submissions: str | None = None
    """key of what was read off its completions; None: they hold it themselves, as those of earlier versions do"""

    @classmethod
    def of(
        cls,
        planned: Sequence[PlannedSpan],
        *,
        checkpoint_id: str,
        step: int,
        exploit_type: str,
        key: str,
        receipt: str | None = None,
        submissions: str | None = None,
    ) -> CellRecord:
        """The record of a cell of a study with these spans."""
        return cls(checkpoint_id, step, exploit_type, key, spans_of(planned, exploit_type), receipt, submissions)


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

    def __post_init__(self) -> None:
        named_format(self.channel_format)
        for what, names in (
            ("problem", [p.problem_id for p in self.problems]),
            ("checkpoint", [c.model_id for c in self.checkpoints]),
            ("donor", [d.model_id for d in self.donors]),
        ):
            twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
            if twice:
                raise InputError(f"two {what}s are named {twice[0]!r}: give each its own name")
        if not self.problems or not self.checkpoints:
            raise InputError("a study needs at least one problem and one checkpoint")
        if not 0 < self.level < 1:
            raise InputError(f"level is {self.level}: give a value between 0 and 1")
        donors = {donor.model_id: donor for donor in self.donors}
        for planned in self.spans:
            check_span(planned.span, planned.count, donors, self.policy)
        for exploit_type in self.exploit_types:
            spans = [planned.span for planned in self.spans_of(exploit_type)]
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

    def spans_of(self, exploit_type: str) -> tuple[PlannedSpan, ...]:
        """The type's spans, the subject's own first (column 0 of every array)."""
        return spans_of(self.spans, exploit_type)

    def cells(self) -> Iterator[Cell]:
        for checkpoint in self.checkpoints:
            for exploit_type in self.exploit_types:
                yield Cell(checkpoint, exploit_type)


@dataclass(frozen=True, slots=True)
class Keys:
    """The content keys of a study's work, given the receipts of its models (by ``model_id``, donors' as "donor:id")."""

    study: Study
    receipts: Mapping[str, str]
    ends: tuple[int, ...] = ()
    """tokens that end a turn beside the format's own"""

    def cell(self, cell: Cell) -> str:
        """Key of a cell's completions: everything that sampling depends on, and nothing else."""
        study, spans = self.study, self.study.spans_of(cell.exploit_type)
        used = {donor_key(s.span): self.receipts[f"donor:{s.span.donor}"] for s in spans if s.span.donor != SUBJECT}
        return content_key(
            "completions",
            (cell.checkpoint.model_id, self.receipts[cell.checkpoint.model_id]),
            used,
            [(p.problem_id, p.question) for p in study.problems_of(cell.exploit_type)],
            [(span_entry(s.span), s.count) for s in spans],
            (study.policy.key, study.seed, *self._format()),
        )

    def scores(self, cell: Cell, hit_ids: tuple[str, ...]) -> str:
        """Key of the scores of a cell's exploits."""
        return scores_key(self.cell(cell), hit_ids)

    def _format(self) -> tuple[object, ...]:
        """How a conversation is written and ends, and in which float type it is continued."""
        named = (self.study.format_key, self.study.system, self.study.dtype)
        return (*named, self.ends) if self.ends else named

    def record(self, cell: Cell) -> CellRecord:
        """What an estimate needs to know of the cell."""
        source = cell.checkpoint
        return CellRecord(
            source.model_id,
            source.step,
            cell.exploit_type,
            self.cell(cell),
            self.study.spans_of(cell.exploit_type),
            self.receipts[source.model_id],
            submissions_key(self.cell(cell), self.study.code_rule.key),
        )

    def identity(self) -> dict[str, object]:
        """What makes a run folder this study's. Checkpoints are left out, so that a running training may add some."""
        study = self.study
        return {
            "name": study.name,
            "seed": study.seed,
            "policy": asdict(study.policy),
            "format": self._format(),
            "level": study.level,
            "spans": [(s.span.name, s.count, s.exploit_types) for s in study.spans],
            "problems": content_key([asdict(problem) for problem in study.problems]),
            "donors": {donor.model_id: self.receipts[f"donor:{donor.model_id}"] for donor in study.donors},
        }


def scores_key(cell_key: str, hit_ids: Sequence[str]) -> str:
    """Key of the scores of these exploits of a cell."""
    return content_key("scores", cell_key, sorted(hit_ids))


def submissions_key(cell_key: str, rule_key: str) -> str:
    """Key of the submissions that a rule reads off a cell's completions."""
    return content_key("submissions", cell_key, rule_key)


def problem_key(problem: Problem) -> str:
    """Key of everything a verdict on this problem depends on, the code aside."""
    return content_key("problem", asdict(problem), __version__)
