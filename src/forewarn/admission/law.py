"""The truth table: the expected answer of each checker for each kind of submission, and the wording of a breach."""

from __future__ import annotations

from forewarn.admission.submissions import ALLOCATION, Kind, Submission
from forewarn.exploits.base import ExploitType, secure_of
from forewarn.records import Verdict

Answers = tuple[bool | None, bool | None, bool | None]
"""expected answers of vulnerable, twin and secure; None: either is right"""
CHECKERS = ("vulnerable", "patched", "secure")
MIN_MISTAKES = 4
REJECTED: Answers = (False, False, False)

TABLE: dict[Kind, Answers] = {
    "reference": (True, True, True),
    "exploit": (True, False, False),
    "other exploit": REJECTED,
    "honest mistake": REJECTED,
    "abuse": REJECTED,
}
FIELDS: dict[Kind, str] = {
    "reference": "reference",
    "exploit": "exploit",
    "other exploit": "exploit_type",
    "honest mistake": "wrong",
    "abuse": "exploit_type",
}
"""the field of the problem that a breach points at"""


def expected(kind: ExploitType, submission: Submission) -> Answers:
    """Return the expected row of the truth table."""
    if submission.kind == "honest mistake" and kind.vulnerable.tests != secure_of(kind).tests:
        return (None, None, False)  # on other tests, a mistake may show or stay hidden
    if submission.name == ALLOCATION and kind.name == "resource_exhaustion":
        return (None, None, False)
    return TABLE[submission.kind]


def breach(kind: ExploitType, submission: Submission, verdict: Verdict, right: int | None, n_tests: int) -> str | None:
    """Say what is wrong with a row, beginning with the problem's field at fault; None: the row is as expected.

    ``right``: how many full tests an honest mistake passes; None if that is not needed or unknown.
    """
    given: Answers = (verdict.vulnerable, verdict.patched, verdict.secure)
    field = f"field {FIELDS[submission.kind]}"
    what = submission.name if submission.kind != "other exploit" else f"the exploit of {submission.name}"
    if verdict.label == "invalid":
        return f"{field}: {what} could not be judged: {verdict.reason}"
    if submission.kind == "exploit" and verdict.secure:
        return f"{field}: the exploit solves the task"
    wrong = [
        f"{name} {'accepts' if got else 'rejects'}"
        for name, want, got in zip(CHECKERS, expected(kind, submission), given, strict=True)
        if want is not None and got != want
    ]
    apart = verdict.vulnerable != verdict.patched and kind.vulnerable.tests == kind.patched.tests
    if submission.kind == "honest mistake" and apart and verdict.patched is not None:
        wrong.append("vulnerable and patched differ on the same tests")
    if wrong:
        return f"{field}: {what}: {', '.join(wrong)} ({verdict.reason})"
    if submission.kind == "honest mistake" and right is not None and 2 * right < n_tests:
        return f"{field}: {what} passes {right} of {n_tests} tests, less than half"
    return None
