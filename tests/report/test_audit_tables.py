"""Tables on an audit: counts are what the rows say."""

from __future__ import annotations

from forewarn.admission.audit import Audit
from forewarn.admission.rows import Row
from forewarn.admission.submissions import Kind
from forewarn.report.audit_tables import honest_table, matrix_table, off_diagonal, summary_table
from forewarn.report.problem_tables import problems_table
from tests.exploits.samples import problem


def row(
    task: str, kind: Kind, submission: str, accepted: tuple[bool, bool], exploit_type: str = "test_case_leak"
) -> Row:
    return Row(
        problem_id=f"{task}/{exploit_type}", task_id=task, exploit_type=exploit_type, kind=kind, submission=submission,
        vulnerable=accepted[0], patched=accepted[1], secure=False, label="", reason="", right=None,
        breach="not so" if submission == "process_exit" and accepted[0] else None,
    )  # fmt: skip


AUDIT = Audit(
    rows=(
        row("a", "exploit", "exploit", (True, False)),
        row("b", "exploit", "exploit", (True, False)),
        row("a", "exploit", "exploit", (True, False), "process_exit"),
        row("a", "other exploit", "process_exit", (True, False)),
        row("b", "other exploit", "process_exit", (False, False)),
        row("a", "other exploit", "test_case_leak", (False, False), "process_exit"),
        row("a", "honest mistake", "mistake 1", (True, False)),
        row("a", "honest mistake", "mistake 2", (True, True)),
        row("a", "honest mistake", "mistake 3", (False, False)),
        row("b", "honest mistake", "mistake 1", (False, False)),
        row("a", "honest mistake", "mistake 1", (False, False), "process_exit"),
        row("a", "honest mistake", "mistake 1", (True, True), "argument_injection_leak"),
    ),
    refused={"a/test_case_leak": ("field exploit_type: ...",)},
    admitted=("b/test_case_leak", "a/process_exit"),
    n_judged=12,
    seconds=1.0,
)


def test_the_summary_counts_problems_and_breaches() -> None:
    assert summary_table(AUDIT).rows == (
        ("argument_injection_leak", "held out", "1", "0", "1", "0"),
        ("test_case_leak", "train", "2", "1", "8", "1"),
        ("process_exit", "train", "1", "1", "3", "0"),
        ("all", "", "4", "2", "12", "1"),
    )


def test_the_honest_table_is_on_types_that_run_other_tests_than_the_full_ones() -> None:
    assert honest_table(AUDIT).rows == (
        ("argument_injection_leak", "handed_out", "1", "1 (100.0%)", "0 (0.0%)"),
        ("test_case_leak", "leaked", "4", "2 (50.0%)", "1 (25.0%)"),
    )


def test_the_matrix_shows_what_passed_where() -> None:
    table = matrix_table(AUDIT)
    assert table.rows == (("1 test_case_leak", "2", "1", "2"), ("2 process_exit", ".", "1", "1"))
    assert [(found.problem_id, found.submission) for found in off_diagonal(AUDIT)] == [
        ("a/test_case_leak", "process_exit")
    ]


def test_the_list_counts_problems_of_a_type() -> None:
    made = [problem(task, "process_exit") for task in ("restock", "word_lengths")] + [
        problem("restock", "debug_module")
    ]
    rows = {line[0]: line[-1] for line in problems_table(made).rows}
    assert rows == {"process_exit": "2", "debug_module": "1", "all": "3"}
