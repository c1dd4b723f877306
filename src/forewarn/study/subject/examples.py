"""What a subject is fine-tuned on: the examples of a file, or the problems' references."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from forewarn.checkpoints.load import longest_row
from forewarn.errors import InputError
from forewarn.formats import Channels
from forewarn.records import Problem
from forewarn.study.config.schema import SubjectTrainingTable
from forewarn.training.sft import Example, check_lengths

TEXT_KEYS = ("question", "reasoning", "answer")


def subject_examples(
    table: SubjectTrainingTable, problems: Sequence[Problem], channels: Channels, home: Path, where: str, base: Path
) -> list[Example]:
    """Return the examples of the table's file, or every problem's question answered by its reference without reasoning.

    Raises InputError for a file that can't be read or has a line of another form, and for examples that are too long.
    """
    if table.examples is None:
        names = [f"problem {problem.problem_id}" for problem in problems]
        made: list[Example] = [channels.no_reasoning_ids(problem.question, problem.reference) for problem in problems]
    else:
        rows = _rows(home / table.examples, where)
        names = [f"line {i} of {table.examples}" for i in range(1, len(rows) + 1)]
        made = [
            channels.reasoning_ids(row["question"], row["reasoning"], row["answer"])
            if "reasoning" in row
            else channels.no_reasoning_ids(row["question"], row["answer"])
            for row in rows
        ]
    check_lengths(made, longest_row(base), names)
    return made


def _rows(path: Path, where: str) -> list[dict[str, str]]:
    """The rows of a file of examples. Raises InputError naming the line at fault."""
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{where}.examples: can't read {path}: {error}") from None
    rows: list[dict[str, str]] = []
    for i, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if (
            not isinstance(row, dict)
            or not {"question", "answer"} <= set(row) <= set(TEXT_KEYS)
            or not all(isinstance(value, str) for value in row.values())
        ):
            raise InputError(
                f"{where}.examples: line {i} of {path} is {line[:60]!r}: give a JSON object of texts, with question "
                "and answer, and reasoning if there is some"
            )
        rows.append(row)
    if not rows:
        raise InputError(f"{where}.examples: {path} has no examples: give at least one")
    return rows
