"""One completion as it was written: reasoning and answer in stretches of one writer, with its verdict and weight."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import Any

import polars as pl

from forewarn.errors import InputError
from forewarn.estimation import donor_key
from forewarn.records import SUBJECT
from forewarn.store import RunFolder
from forewarn.study.folder.cells import parts_of, read_verdicts, sampled, submitted
from forewarn.study.folder.manifest import read_plan
from forewarn.study.folder.tables import span_in
from forewarn.study.folder.vocabulary import read_vocabulary, text_of
from forewarn.study.keys import CellRecord
from forewarn.study.results.read import NO_ANSWER, RunResults


@dataclass(frozen=True, slots=True)
class Stretch:
    """Tokens in a row that one writer wrote in one channel."""

    channel: str
    """reasoning or answer"""
    writer: str
    """the donor's name, or "subject" """
    n_tokens: int
    text: str
    """a character that two writers share is shown as broken in both"""


@dataclass(frozen=True, slots=True)
class Transcript:
    """A completion in words."""

    completion_id: str
    checkpoint_id: str
    step: int
    exploit_type: str
    problem_id: str
    span: str
    finish_reason: str
    stretches: tuple[Stretch, ...]
    spelt: bool
    """False where the run folder keeps no vocabulary, and stretches show token ids"""
    code: str | None
    """the submission; None where no answer opened"""
    label: str | None
    """of the verdict; "no answer"; None: not judged yet"""
    reason: str
    evidence: tuple[str, ...]
    log_weight: float | None
    """nats; None for what is not a hit, or not scored yet"""
    rho: float | None


def read_transcripts(results: RunResults, completion_ids: list[str]) -> list[Transcript]:
    """The transcripts of these completions, in the order given.

    An id may be cut short where what is left names one completion. Raises InputError where it names none, or several.
    """
    rows = _rows(results, completion_ids)
    vocabulary = read_vocabulary(results.root)
    _, _, problem_keys = read_plan(results.root)
    verdicts = {(row["problem_key"], row["code_key"]): row for row in read_verdicts(results.root).iter_rows(named=True)}
    hits = {row["completion_id"]: row for row in results.hits.iter_rows(named=True)}
    found = []
    for cell, row in rows:
        verdict = verdicts.get((problem_keys[row["problem_id"]], row["code_key"]), {})
        hit = hits.get(row["completion_id"], {})
        found.append(
            Transcript(
                completion_id=row["completion_id"],
                checkpoint_id=cell.checkpoint_id,
                step=cell.step,
                exploit_type=cell.exploit_type,
                problem_id=row["problem_id"],
                span=row["span"],
                finish_reason=row["finish_reason"],
                stretches=_stretches(row, vocabulary),
                spelt=vocabulary is not None,
                code=row["code"],
                label=NO_ANSWER if row["code_key"] is None else verdict.get("label"),
                reason=verdict.get("reason") or "",
                evidence=tuple(verdict.get("evidence") or ()),
                log_weight=hit.get("log_weight"),
                rho=hit.get("rho"),
            )
        )
    return found


def _rows(results: RunResults, completion_ids: list[str]) -> list[tuple[CellRecord, dict[str, Any]]]:
    """The completion that each id names, with its cell."""
    matching: dict[str, list[tuple[CellRecord, dict[str, Any]]]] = {name: [] for name in completion_ids}
    run = RunFolder(results.root)
    for cell in results.cells:
        if not sampled(run, cell.record):
            continue
        table = submitted(run, parts_of(run, cell.record))
        for name, rows in matching.items():
            if not any(row["completion_id"] == name for _, row in rows):
                mine = table.filter(pl.col("completion_id").str.starts_with(name))
                rows += [(cell.record, row) for row in mine.iter_rows(named=True)]
    return [_only(results, name, rows) for name, rows in matching.items()]


def _only(
    results: RunResults, name: str, rows: list[tuple[CellRecord, dict[str, Any]]]
) -> tuple[CellRecord, dict[str, Any]]:
    exact = [found for found in rows if found[1]["completion_id"] == name]
    if len(exact or rows) == 1:
        return (exact or rows)[0]
    if rows:
        raise InputError(f"{len(rows)} completions of {results.root} begin with {name!r}: give more of the id")
    raise InputError(
        f"{results.root} has no exploit type, checkpoint or completion {name!r}: `forewarn show {results.root}` "
        "lists types and checkpoints, and with one of them the completions that are hits"
    )


def _stretches(row: dict[str, Any], vocabulary: dict[int, bytes] | None) -> tuple[Stretch, ...]:
    n_reasoning, span = row["n_reasoning"], span_in(row)
    donor = donor_key(span) if span.donor == SUBJECT else span.donor
    writers = [donor if by_donor else SUBJECT for by_donor in row["donor_wrote"]]
    channels = ["reasoning" if i < n_reasoning else "answer" for i in range(len(writers))]
    found = []
    tokens = zip(channels, writers, row["token_ids"], strict=True)
    for (channel, writer), group in groupby(tokens, key=lambda token: token[:2]):
        ids = [token_id for _, _, token_id in group]
        found.append(Stretch(channel, writer, len(ids), text_of(ids, vocabulary)))
    return tuple(found)
