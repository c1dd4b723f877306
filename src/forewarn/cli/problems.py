"""``forewarn problems``: lists, shows, assembles, exports and audits problem sets."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from forewarn.cli.say import say, say_json, say_lines, say_tables
from forewarn.errors import InputError

if TYPE_CHECKING:
    from forewarn.admission.audit import Audit
    from forewarn.records import Problem

Set = Annotated[
    Path | None, typer.Argument(help="A problem set: .jsonl, .parquet or a folder. Default: forewarn's own, seed 0.")
]


def list_(
    path: Set = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per problem and line.")] = False,
) -> None:
    """List a problem set by exploit type: the flaw in a sentence, and the number of problems."""
    from forewarn.report.problem_tables import problems_table

    problems = _problems(path)
    if as_json:
        for problem in problems:
            say_json({name: getattr(problem, name) for name in ("problem_id", "task_id", "exploit_type")}, indent=None)
        return
    say_tables([problems_table(problems)])


def show(
    problem_id: Annotated[str, typer.Argument(help="The problem, as `list --json` names it: task/type.")],
    path: Annotated[
        Path | None, typer.Option("--set", help="The problem set. Default: forewarn's own, seed 0.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole problem as one JSON object.")] = False,
) -> None:
    """Show one problem: the question, the reference solution, the exploit, and its test sets."""
    from forewarn.problems.hints import examples
    from forewarn.problems.rows import to_row

    problem = _find(_problems(path), problem_id)
    if as_json:
        say_json(to_row(problem))
        return
    sets = {"full": problem.tests, **problem.named_tests}
    parts = {
        "question": problem.question,
        "reference": problem.reference,
        "exploit": problem.exploit,
        "tests": "\n".join(f"{name}: {len(tests)}" for name, tests in sets.items()),
        "first tests": examples(problem.entry_point, problem.tests[:5]),
        "honest mistakes": "\n".join(problem.wrong[:1]) + f"\n({len(problem.wrong)} in all)",
    }
    say_lines("\n".join(f"== {name}\n{text.rstrip()}\n" for name, text in parts.items()))


def assemble(
    out: Annotated[Path, typer.Option(help="Where to write: a name that ends in .jsonl or .parquet, or a new folder.")],
    seed: Annotated[int, typer.Option(help="Seed of tests and hints.")] = 0,
    exploit_type: Annotated[list[str] | None, typer.Option("--type", help="Only these types; may be repeated.")] = None,
) -> None:
    """Assemble forewarn's own problem set, every base task under every exploit type that fits, and write it."""
    from forewarn.exploits import EXPLOIT_TYPES
    from forewarn.problems.assemble import assemble as make
    from forewarn.problems.files import export as write

    unknown = [name for name in exploit_type or [] if name not in EXPLOIT_TYPES]
    if unknown:
        raise InputError(f"exploit type {unknown[0]!r} is unknown: use some of {', '.join(EXPLOIT_TYPES)}")
    chosen = {name: kind for name, kind in EXPLOIT_TYPES.items() if not exploit_type or name in exploit_type}
    problems = make(seed=seed, types=chosen)
    write(problems, out)
    say(f"{len(problems)} problems of {len(chosen)} types in {out}")


def export(
    path: Annotated[Path, typer.Argument(help="The problem set to read.")],
    out: Annotated[Path, typer.Argument(help="Where to write: .jsonl, .parquet, or a new folder for `datasets`.")],
) -> None:
    """Write a problem set in another format. Nothing but the format changes."""
    from forewarn.problems.files import export as write

    problems = _problems(path)
    write(problems, out)
    say(f"{len(problems)} problems in {out}")


def audit(
    path: Set = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write every row and the summary here.")] = None,
    admit: Annotated[Path | None, typer.Option(help="Write the admitted problems here, as `export` does.")] = None,
    sample: Annotated[int | None, typer.Option(min=1, help="Audit this many problems, cycling through types.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the sample.")] = 0,
    cache: Annotated[Path, typer.Option(help="Where finished problems are saved, by content.")] = Path("runs/audit"),
    workers: Annotated[int, typer.Option(min=1, help="Pairs of sandboxes at work.")] = 6,
    abuse: Annotated[
        bool, typer.Option("--abuse/--no-abuse", help="Also try hostile code on one problem of each type.")
    ] = True,
    markdown: Annotated[bool, typer.Option("--markdown", help="Markdown instead of terminal tables.")] = False,
) -> None:
    """Audit a problem set against the truth table in the sandbox; name the problems that fail, and why."""
    from forewarn.admission import audit as room
    from forewarn.cli.progress import progress_bars
    from forewarn.report.audit_tables import honest_table, matrix_table, off_diagonal, summary_table

    _check_targets(json_file, admit)
    problems = _problems(path)
    chosen = problems if sample is None else room.sample(problems, sample, seed=seed)
    with progress_bars() as progress:
        found = room.audit(chosen, against=problems, cache=cache, workers=workers, with_abuse=abuse, progress=progress)
    say_tables((summary_table(found), honest_table(found), matrix_table(found)), markdown=markdown)
    for row in off_diagonal(found):
        say(f"{row.problem_id}: accepts the exploit of {row.submission}: {row.reason}")
    for problem_id, reasons in found.refused.items():
        say(f"not admitted: {problem_id}: {'; '.join(reasons)}")
    say(
        f"{len(found.admitted)} of {len(chosen)} problems admitted; {len(found.rows)} verdicts, "
        f"{found.n_judged} of them reached now, {found.n_judged / found.seconds:.0f} a second in {found.seconds:.0f} s"
    )
    _keep(found, chosen, json_file, admit)
    if admit is None and found.refused:
        raise InputError(
            f"{len(found.refused)} of {len(chosen)} problems are not admitted, for the reasons above. Fix them, or "
            f"save the others with --admit"
        )


def _check_targets(json_file: Path | None, admit: Path | None) -> None:
    """Raise ``StoreError`` or ``InputError`` for a path that can't be written, before the audit starts."""
    from forewarn.problems.files import check_target
    from forewarn.store import check_writable

    if json_file is not None:
        check_writable(json_file)
    if admit is not None:
        check_target(admit)


def _keep(found: Audit, chosen: list[Problem], json_file: Path | None, admit: Path | None) -> None:
    """Write what was asked for; if one of the two fails, the other is still written."""
    from forewarn.problems.files import export as write
    from forewarn.store import write_json

    admitted = set(found.admitted)
    try:
        if admit is not None:
            write([problem for problem in chosen if problem.problem_id in admitted], admit)
    finally:
        if json_file is not None:
            write_json(json_file, asdict(found))


def _problems(path: Path | None) -> list[Problem]:
    if path is None:
        from forewarn.problems.assemble import assemble as make

        return make()
    from forewarn.problems.files import load

    return load(path)


def _find(problems: list[Problem], problem_id: str) -> Problem:
    for problem in problems:
        if problem.problem_id == problem_id:
            return problem
    raise InputError(f"problem {problem_id!r} is not in the set; `forewarn problems list --json` names all of them")
