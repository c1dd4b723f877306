"""The tasks of a study's workers: blocks of a cell to sample, and a cell's exploits to score."""

from __future__ import annotations

from dataclasses import dataclass

from forewarn.checkpoints.receipts import Signature
from forewarn.checkpoints.sources import ModelSource
from forewarn.study.folder.cells import Part
from forewarn.study.plan import Block, Cell

Signatures = tuple[tuple[ModelSource, Signature], ...]
"""marks of the files of the models that a task uses, as they were when their receipts were taken"""


@dataclass(frozen=True, slots=True)
class SampleTask:
    """Blocks of one cell to draw together, each into a shard of its own."""

    cell: Cell
    blocks: tuple[Block, ...]
    keys: tuple[str, ...]
    """of the blocks' shards"""
    signatures: Signatures


@dataclass(frozen=True, slots=True)
class ScoreTask:
    """The scores of a cell's exploits."""

    cell: Cell
    parts: tuple[Part, ...]
    """the cell's completions"""
    key: str
    """of the shard to write"""
    hit_ids: tuple[str, ...]
    """completions to score"""
    signatures: Signatures


Task = SampleTask | ScoreTask
