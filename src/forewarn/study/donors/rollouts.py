"""Exploits among a run's training rollouts, read from a file to fit a donor to. No rollout ever enters an estimate.

Rollouts without a label are judged. They are draws from policies that are no longer there, so that they have no
weights: each distinct program counts once, however often the run wrote it.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from forewarn.errors import InputError, StoreError
from forewarn.formats import Channels
from forewarn.formats.conversation import turns_in
from forewarn.records import Problem
from forewarn.store import read_table
from forewarn.training.refine import WeightedExploit

EXPLOIT = "exploit"
COMPLETION_IDS, PROMPT_IDS = ("token_ids", "completion_ids"), "prompt_ids"
NEEDED = "problem_id, label, and token_ids (or completion_ids, or completion as text)"


Labels = Callable[[Sequence[Problem], Sequence[Sequence[int]]], Sequence[str]]
"""(problems, completions as token ids) -> the label of each completion"""


@dataclass(frozen=True, slots=True)
class _Found:
    problem: Problem
    label: str | None
    prompt_ids: tuple[int, ...]
    token_ids: tuple[int, ...]


def rollout_exploits(
    path: Path, problems: Sequence[Problem], channels: Channels, *, labels: Labels | None = None
) -> list[WeightedExploit]:
    """The rollouts in a JSONL or Parquet file whose label is "exploit", with equal weights by distinct program.

    Each row has ``problem_id``, ``label`` and the completion: ``token_ids`` or ``completion_ids``, or its text as
    ``completion``. The prompt is ``prompt_ids``, the text ``prompt``, or else the problem's question. Rows without a
    label are labelled by ``labels``, and refused without it. Raises InputError where a row is not so, names an unknown
    problem, or where there is no exploit.
    """
    rows, n = _read(path, problems, channels, may_lack_label=labels is not None)
    unlabelled = [row for row in rows if row.label is None]
    if labels is not None and unlabelled:
        given = iter(labels([row.problem for row in unlabelled], [row.token_ids for row in unlabelled]))
        rows = [row if row.label is not None else replace(row, label=next(given)) for row in rows]
    found: list[tuple[str, tuple[str, object], WeightedExploit]] = []
    for row in rows:
        if row.label != EXPLOIT:
            continue
        kind, ids = row.problem.exploit_type, row.token_ids
        code = channels.code(ids, channels.split(ids).n_reasoning, row.problem.entry_point)
        found.append((kind, (row.problem.problem_id, code or ids), WeightedExploit(kind, row.prompt_ids, ids, 0.0)))
    if not found:
        said = "labelled" if not unlabelled else "labelled or judged"
        raise InputError(f"{path} has {n} rollouts and none is {said} {EXPLOIT!r}: give a file that has exploits")
    times = Counter((kind, program) for kind, program, _ in found)
    return [
        WeightedExploit(kind, one.prompt_ids, one.token_ids, -math.log(times[kind, program]))
        for kind, program, one in found
    ]


def _read(
    path: Path, problems: Sequence[Problem], channels: Channels, *, may_lack_label: bool
) -> tuple[list[_Found], int]:
    """The rollouts that are exploits or have no label yet, and how many there are in all."""
    by_id = {problem.problem_id: problem for problem in problems}
    needed = ("problem_id",) if may_lack_label else ("problem_id", "label")
    found: list[_Found] = []
    n = 0
    for where, row in _rows(path):
        n += 1
        if lacking := [name for name in needed if name not in row]:
            raise InputError(f"{where} lacks {' and '.join(lacking)}: a rollout has {NEEDED}")
        label = row.get("label")
        if label not in (None, EXPLOIT):
            continue
        problem = by_id.get(row["problem_id"])
        if problem is None:
            raise InputError(
                f"{where} has problem_id {row['problem_id']!r}, which is not one of the {len(by_id)} problems: give "
                "[donors.refinement] the problems that the rollouts are of"
            )
        prompt, completion = _prompt(row, where, problem, channels), _completion(row, where, channels)
        found.append(_Found(problem, label, prompt, completion))
    return found, n


def _rows(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(where, row) of each rollout. A last line that a kill cut short is left out."""
    try:
        with path.open("rb") as file:
            is_parquet = file.read(4) == b"PAR1"
    except FileNotFoundError:
        raise InputError(f"{path} is missing: give a JSONL or Parquet file of rollouts") from None
    except OSError as error:
        raise InputError(f"can't read {path}: {error.strerror or error}") from None
    if is_parquet:
        try:
            table = read_table(path)
        except StoreError as error:
            raise InputError(str(error)) from None
        for i, row in enumerate(table.iter_rows(named=True), 1):
            yield f"{path}: row {i}", row
        return
    with path.open("rb") as file:
        for i, line in enumerate(file, 1):
            where = f"{path}: line {i}"
            try:
                row = json.loads(line)
            except ValueError as error:  # also of bytes that are not UTF-8
                if not line.endswith(b"\n"):
                    return
                raise InputError(f"{where} is not JSON ({error}): give a JSONL or Parquet file of rollouts") from None
            if not isinstance(row, dict):
                raise InputError(f"{where} is not an object: give one rollout per line, with {NEEDED}")
            yield where, row


def _completion(row: Mapping[str, Any], where: str, channels: Channels) -> tuple[int, ...]:
    for name in COMPLETION_IDS:
        if row.get(name) is not None:
            ids = _ids(row[name], f"{where}: {name}")
            if (turns := turns_in(ids, channels)) > 1:
                raise InputError(f"{where}: {name} holds {turns} turns: a rollout is one prompt and one completion")
            return ids
    text = row.get("completion")
    if not isinstance(text, str):
        raise InputError(f"{where} has no completion as token ids or text: a rollout has {NEEDED}")
    ids = tuple(channels.tokenizer.encode(text, add_special_tokens=False))
    # logs are mostly written without the end of the turn, and a donor that never saw one writes on and on
    return ids if ids and ids[-1] in channels.end_ids else (*ids, channels.end_ids[0])


def _prompt(row: Mapping[str, Any], where: str, problem: Problem, channels: Channels) -> tuple[int, ...]:
    if row.get(PROMPT_IDS) is not None:
        return _ids(row[PROMPT_IDS], f"{where}: {PROMPT_IDS}")
    text = row.get("prompt")
    if text is None or text == problem.question:
        return channels.prompt_ids(problem.question)
    if not isinstance(text, str):
        raise InputError(f"{where}: prompt is not text: give prompt_ids, or leave it out for the problem's question")
    return tuple(channels.tokenizer.encode(text, add_special_tokens=False))


def _ids(value: Any, where: str) -> tuple[int, ...]:
    if not (isinstance(value, list) and value and all(type(one) is int and one >= 0 for one in value)):
        raise InputError(f"{where} = {str(value)[:60]!r}: give a list of token ids, at least one")
    return tuple(value)
