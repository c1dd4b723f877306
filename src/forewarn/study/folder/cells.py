"""What a run folder holds of each cell: completions, their submissions and their labels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from forewarn.store import RunFolder
from forewarn.study.folder.manifest import read_plan
from forewarn.study.folder.schemas import (
    COMPLETION_ROWS,
    COMPLETIONS,
    SUBMISSION_ROWS,
    SUBMISSIONS,
    VERDICT_ROWS,
    VERDICTS,
)
from forewarn.study.keys import CellRecord, submissions_key


@dataclass(frozen=True, slots=True)
class Labels:
    """What is known of submissions: (problem key, code key) -> label."""

    by_pair: dict[tuple[str, str], str] = field(default_factory=dict)

    def learn(self, table: pl.DataFrame) -> None:
        for problem, code, label in table.select("problem_key", "code_key", "label").iter_rows():
            if label != "invalid":  # broke that time; asked again
                self.by_pair[problem, code] = label


def read_labels(run: RunFolder) -> Labels:
    """The labels of every verdict in the folder."""
    shards, labels = run.shards(VERDICTS), Labels()
    for key in list(shards.keys()):
        labels.learn(shards.read(key))
    return labels


@dataclass(frozen=True, slots=True)
class Part:
    """A shard of a cell's completions, and the one of what was read off them."""

    completions: str
    """key"""
    submissions: str | None
    """key; None: the completions hold it themselves, as those of earlier versions do"""


def parts_of(run: RunFolder, cell: CellRecord) -> list[Part]:
    """The shards that a cell is made of, whether they are there or not: its blocks, or the one shard in which an
    earlier version kept the whole cell."""
    if not cell.blocks or run.shards(COMPLETIONS).has(cell.key):
        return [Part(cell.key, cell.submissions)]
    assert cell.rule is not None
    return [Part(key, submissions_key(key, cell.rule)) for key in cell.blocks]


def submitted(run: RunFolder, parts: Iterable[Part]) -> pl.DataFrame:
    """Completions with their submissions, ``code`` and ``code_key``."""
    return pl.concat([_submitted(run, part) for part in parts], how="diagonal")


def _submitted(run: RunFolder, part: Part) -> pl.DataFrame:
    table = run.shards(COMPLETIONS).read(part.completions)
    if part.submissions is None:
        return table
    read = run.shards(SUBMISSIONS).read(part.submissions)
    table = table.drop("code", "code_key", strict=False)  # of earlier versions, read by another rule
    return table.join(read, on="completion_id", how="left", maintain_order="left")


def labelled(run: RunFolder, cell: CellRecord, problem_keys: Mapping[str, str], labels: Labels) -> pl.DataFrame:
    """A cell's completions with their labels: "failed" where no answer opened, "invalid" where judging broke.

    ``problem_keys``: by problem id.
    """
    table = submitted(run, parts_of(run, cell))
    found = [
        "failed" if code is None else labels.by_pair.get((problem_keys[problem_id], code), "invalid")
        for problem_id, code in table.select("problem_id", "code_key").iter_rows()
    ]
    return table.with_columns(pl.Series("label", found, dtype=pl.String))


def exploits_of(table: pl.DataFrame) -> tuple[str, ...]:
    """Ids of a labelled table's exploits."""
    return tuple(table.filter(pl.col("label") == "exploit")["completion_id"].to_list())


def has_part(run: RunFolder, part: Part) -> bool:
    """Whether a shard of completions is there, and what was read off them."""
    read = part.submissions is None or run.shards(SUBMISSIONS).has(part.submissions)
    return read and run.shards(COMPLETIONS).has(part.completions)


def sampled(run: RunFolder, cell: CellRecord) -> bool:
    """Whether all of the cell's completions are there, and what was read off them."""
    return all(has_part(run, part) for part in parts_of(run, cell))


def read_completions(root: Path) -> pl.DataFrame:
    """Every completion of the study's cells, with the submission that the run's rule reads off it."""
    run, (_, cells, _) = RunFolder(root), read_plan(root)
    empty = pl.DataFrame(schema=COMPLETION_ROWS).join(pl.DataFrame(schema=SUBMISSION_ROWS), on="completion_id")
    tables = [empty, *(submitted(run, parts_of(run, cell)) for cell in cells if sampled(run, cell))]
    return pl.concat(tables, how="diagonal")  # folders of earlier versions lack newer columns


def read_verdicts(root: Path) -> pl.DataFrame:
    """Every verdict in the folder, one a (problem, code)."""
    shards = RunFolder(root).shards(VERDICTS)
    tables = [pl.DataFrame(schema=VERDICT_ROWS), *(shards.read(key) for key in list(shards.keys()))]
    # one that broke may have been judged later: the verdict counts
    return (
        pl.concat(tables, how="diagonal")  # folders of earlier versions lack newer columns
        .sort(pl.col("label") == "invalid", maintain_order=True)
        .unique(["problem_key", "code_key"], keep="first", maintain_order=True)
    )
