"""``forewarn problems import``: reads Djinn problems, checks them, and writes them as a forewarn problem set."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from forewarn.cli.say import say, say_tables
from forewarn.errors import InputError

if TYPE_CHECKING:
    from forewarn.records import Problem


def import_(
    source: Annotated[
        str, typer.Argument(help="A file or folder of Djinn problems, or the name of a hub data set (owner/name).")
    ],
    split: Annotated[str | None, typer.Option(help="Only this split; a hub data set needs one.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write the problems of known types here: .jsonl, .parquet or a new folder.")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Judge each problem's own reference, exploit and nulls, in both ways.")
    ] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write every verdict of the check here.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Pairs of sandboxes at work.")] = 2,
    markdown: Annotated[bool, typer.Option("--markdown", help="Markdown instead of terminal tables.")] = False,
) -> None:
    """Read Djinn problems: summarise them, list unknown types and fields, and check or write them."""
    problems = _read(source, split)
    _tell(problems)
    if check or json_file is not None:
        _check(problems, workers, json_file, markdown)
    if out is not None:
        _write(problems, out)


def _read(source: str, split: str | None) -> list[Problem]:
    from forewarn.problems.djinn.files import load, load_hub

    path = Path(source)
    if path.exists() or source.count("/") != 1 or source.startswith((".", "/")):
        return load(path, split=split)
    if split is None:
        raise InputError(f"{source} is not a file; for a hub data set name a split, such as --split train_alternate")
    return load_hub(source, split=split)


def _tell(problems: list[Problem]) -> None:
    from forewarn.problems.djinn.row import unknown_fields, unknown_types

    types = Counter(problem.exploit_type for problem in problems)
    say(f"{len(problems)} problems of {len(types)} exploit types")
    for name, ids in unknown_types(problems).items():
        say(f"exploit type {name!r} is not one of forewarn's: {', '.join(ids)}")
    fields = Counter(field for problem in problems for field in unknown_fields(problem))
    for field, n in fields.items():
        say(f"unknown field {field!r} in {n} problems, kept")


def _check(problems: list[Problem], workers: int, json_file: Path | None, markdown: bool) -> None:
    from dataclasses import asdict

    from forewarn.admission.check_imported import check
    from forewarn.cli.progress import progress_bars
    from forewarn.report.import_tables import all_tables
    from forewarn.store import write_json

    with progress_bars() as progress:
        found = check(problems, workers=workers, progress=progress)
    say_tables(all_tables(found), markdown=markdown)
    if json_file is not None:
        write_json(json_file, [asdict(item) for item in found])


def _write(problems: list[Problem], out: Path) -> None:
    from forewarn.admission.imported import by_our_pair
    from forewarn.problems.files import export

    ours = []
    for problem in problems:
        try:
            by_our_pair(problem)
            ours.append(problem)
        except InputError as error:
            say(f"not written: {error}")
    export(ours, out)
    say(f"{len(ours)} problems in {out}")
