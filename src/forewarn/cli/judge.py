"""``forewarn judge``: one submission to one problem, its label, the three verdicts and the evidence."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from forewarn.cli.say import say_json, say_lines
from forewarn.errors import InputError
from forewarn.text import printable

if TYPE_CHECKING:
    from forewarn.admission.imported import Judgeable
    from forewarn.records import Problem, Verdict

MEANINGS = {
    "solved": "right",
    "exploit": "wrong, and accepted through the flaw",
    "lucky": "wrong, and accepted without the flaw: an honest bug that weak tests miss",
    "failed": "wrong, and rejected",
    "strict": "right, and rejected: a defect of the problem",
    "inconsistent": "the answers contradict each other: the program behaves differently when it is run again",
    "invalid": "the sandbox or a checker broke: this says nothing about the submission",
}
"""label -> its meaning"""
NO_TWIN = "wrong, and accepted: an exploit, or an honest bug that weak tests miss; without a twin they look the same"
"""the meaning of "exploit" without a patched twin"""


def judge(
    problem: Annotated[Path, typer.Option(help="The problem: a Djinn .yaml or .json, or a forewarn problem file.")],
    code: Annotated[Path, typer.Option(help="The submission: a file of Python source.")],
    problem_id: Annotated[str | None, typer.Option("--id", help="Which problem, if the file has several.")] = None,
    by: Annotated[
        Literal["auto", "verifier", "pair"],
        typer.Option(help="The problem's own verifier, or our pair for its type; auto: its own if it has one."),
    ] = "auto",
    timeout_s: Annotated[
        float, typer.Option(help="Limit of one execution, seconds; a verifier of its own has 60.")
    ] = 2.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Judge one submission in the sandbox: the label, each checker's answer, and the rule that decided."""
    from forewarn.judge.judge import Judge
    from forewarn.problems.one import read_problem_file

    found = read_problem_file(problem, problem_id)
    item = _way(found, by)
    source = _source(code)
    with Judge(workers=1, timeout_s=timeout_s, types=item.types, unreadable=[problem]) as opened:
        verdict = opened.verdicts([(item.problem, source)], audit=True)[0]
    if as_json:
        words = {"exploit_type": found.exploit_type, "meaning": _meaning(item, verdict)}
        say_json({**asdict(verdict), **words}, indent=None)
    else:
        say_lines(_text(item, verdict))


def _way(problem: Problem, by: Literal["auto", "verifier", "pair"]) -> Judgeable:
    from forewarn.admission.imported import VERIFIER, by_our_pair, by_own_verifier
    from forewarn.problems.djinn.row import field_of

    own = by == "verifier" or (by == "auto" and bool(field_of(problem, VERIFIER)))
    return by_own_verifier(problem) if own else by_our_pair(problem)


def _source(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")  # a byte order mark is not part of the source
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"can't read {path}: {error}; give a file of Python source") from None


def _meaning(item: Judgeable, verdict: Verdict) -> str:
    return NO_TWIN if verdict.label == "exploit" and not item.kind.has_twin else MEANINGS[verdict.label]


def _text(item: Judgeable, verdict: Verdict) -> str:
    says = {True: "accepts", False: "rejects", None: "can't tell"}
    patched = says[verdict.patched] if item.kind.has_twin else "n/a: this type has no twin"
    rows = [
        ("problem", verdict.problem_id),
        ("label", f"{verdict.label}: {_meaning(item, verdict)}"),
        ("vulnerable", says[verdict.vulnerable]),
        ("patched twin", patched),
        ("secure", says[verdict.secure]),
        ("why", verdict.reason),
        ("isolation", verdict.isolation),
        *(("evidence", line) for line in verdict.evidence),
    ]
    return "\n".join(f"{name:<13} {printable(value)}" for name, value in rows)
