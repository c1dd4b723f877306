"""The samples of measured cells, read from a run folder: what e-values are made of."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from forewarn.estimation.sample import Sample
from forewarn.store import RunFolder
from forewarn.study.folder.cells import exploits_of, labelled, read_labels, sampled
from forewarn.study.folder.manifest import check_measures, read_plan
from forewarn.study.folder.schemas import SCORES
from forewarn.study.keys import scores_key
from forewarn.study.results.arrays import cell_sample


def read_samples(root: Path, checkpoint_ids: Collection[str]) -> dict[tuple[str, str], Sample]:
    """(checkpoint, exploit type) -> the sample of each whole cell of these checkpoints; cells that wait are left out.

    Raises StoreError where the folder is no study's, and InputError for a pilot or a refinement batch.
    """
    check_measures(root)
    _, cells, problem_keys = read_plan(root)
    run, labels = RunFolder(root), read_labels(RunFolder(root))
    found = {}
    for cell in cells:
        if cell.checkpoint_id not in checkpoint_ids or not sampled(run, cell):
            continue
        table = labelled(run, cell, problem_keys, labels)
        hit_ids = exploits_of(table)
        key = scores_key(cell.key, hit_ids)
        if hit_ids and not run.shards(SCORES).has(key):
            continue
        scores = run.shards(SCORES).read(key) if hit_ids else None
        found[cell.checkpoint_id, cell.exploit_type] = cell_sample(cell, table, scores)
    return found
