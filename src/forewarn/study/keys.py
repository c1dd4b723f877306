"""The content keys under which a study's work is kept.

A key holds everything that a piece of work depends on, so that a re-run does only what is missing. Not here: the work.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from forewarn import __version__
from forewarn.estimation import donor_key
from forewarn.exploits.source import is_json, literal, parts
from forewarn.records import SUBJECT, Problem, TestCase, content_key
from forewarn.records.spans import span_entry
from forewarn.study.plan import Block, Cell, PlannedSpan, Study, spans_of


@dataclass(frozen=True, slots=True)
class CellRecord:
    """What an estimate needs to know of a cell."""

    checkpoint_id: str
    step: int
    exploit_type: str
    key: str
    """of all that its completions depend on; those of earlier versions are one shard under it"""
    spans: tuple[PlannedSpan, ...]
    """the subject's own first: column 0 of every array"""
    receipt: str | None = None
    """of the checkpoint's files: ``checkpoints.receipts.Receipt.key``"""
    submissions: str | None = None
    """key of what was read off completions that are one shard; None: they hold it themselves"""
    blocks: tuple[str, ...] = ()
    """keys of its blocks of completions"""
    rule: str | None = None
    """key of the rule by which submissions are read off blocks"""
    n_planned: int = 0
    """completions of each problem that the study plans; those of ``spans`` may be fewer so far"""

    @property
    def part(self) -> float:
        """How much of what is planned is drawn, in (0, 1]."""
        drawn = sum(planned.count for planned in self.spans)
        return drawn / self.n_planned if self.n_planned else 1.0

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
        blocks: Sequence[str] = (),
        rule: str | None = None,
        own: Sequence[PlannedSpan] | None = None,
    ) -> CellRecord:
        """The record of a cell of a study with these spans; ``own``: those drawn at its checkpoint in their place."""
        spans = spans_of(planned if own is None else own, exploit_type)
        n_planned = sum(one.count for one in spans_of(planned, exploit_type))
        return cls(checkpoint_id, step, exploit_type, key, spans, receipt, submissions, tuple(blocks), rule, n_planned)


@dataclass(frozen=True, slots=True)
class Keys:
    """The content keys of a study's work, given the receipts of its models (by ``model_id``, donors' as "donor:id")."""

    study: Study
    receipts: Mapping[str, str]
    ends: tuple[int, ...] = ()
    """tokens that end a turn beside the format's own"""

    def block(self, block: Block) -> str:
        """Key of a block's completions: everything that drawing them depends on, and nothing else."""
        study, span, checkpoint = self.study, block.planned.span, block.cell.checkpoint
        return content_key(
            "completions of a block",
            (checkpoint.model_id, self.receipts[checkpoint.model_id], block.cell.exploit_type),
            None if span.donor == SUBJECT else self.receipts[f"donor:{span.donor}"],
            [(p.problem_id, p.question) for p in block.problems],
            # a block that begins with the first completion has the key of a whole one
            (span_entry(span), block.count, *([block.first] if block.first else [])),
            (study.policy.key, study.seed, *self._format()),
        )

    def cell(self, cell: Cell) -> str:
        """Key of all of a cell's completions; earlier versions kept them under it, as one shard."""
        study, spans = self.study, self.study.spans_at(cell)
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
            self.study.spans_at(cell),
            self.receipts[source.model_id],
            submissions_key(self.cell(cell), self.study.code_rule.key),
            tuple(self.block(block) for block in self.study.blocks(cell)),
            self.study.code_rule.key,
            sum(planned.count for planned in self.study.spans_of(cell.exploit_type)),
        )

    def identity(self) -> dict[str, object]:
        """What makes a run folder this study's. Checkpoints are left out, so that a running training may add some, and
        with them what is drawn at each and the donors that were added."""
        study = self.study
        return {
            "name": study.name,
            "seed": study.seed,
            "policy": asdict(study.policy),
            "format": self._format(),
            "level": study.level,
            "spans": [(s.span.name, s.count, s.exploit_types) for s in study.spans],
            "problems": content_key(list(map(problem_content, study.problems))),
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
    tests = [problem.tests, *(problem.named_tests[name] for name in sorted(problem.named_tests))]
    # A submission sees the order of a dict's keys, which JSON with sorted keys does not tell.
    ordered = [literal(test.args) for some in tests for test in some if any(map(_has_order, parts(test.args)))]
    return content_key("problem", problem_content(problem), __version__, *([ordered] if ordered else []))


def _has_order(part: object) -> bool:
    return isinstance(part, dict) and len(part) > 1


def problem_content(problem: Problem) -> dict[str, object]:
    """Return a problem as JSON that differs wherever the problem does, the same in every process.

    JSON alone takes a tuple for a list and 1 for "1" as a key, fails for other keys, and writes a set in any order.
    """
    sets = {name: list(map(_test_content, tests)) for name, tests in problem.named_tests.items()}
    tests = list(map(_test_content, problem.tests))
    extra = dict(problem.extra)
    return asdict(replace(problem, tests=(), named_tests={}, extra={})) | {
        "tests": tests, "named_tests": sets, "extra": extra if is_json(extra) else literal(extra)
    }  # fmt: skip


def _test_content(test: TestCase) -> object:
    exact = is_json([*test.args, test.expected])
    return {"args": list(test.args), "expected": test.expected} if exact else literal((test.args, test.expected))
