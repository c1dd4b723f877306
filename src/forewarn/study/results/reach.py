"""Donors age: how much of each estimate each donor brings, checkpoint after checkpoint, and which no longer reach.

A donor is fitted to how the subject exploited once. As training moves the subject, less of what the subject does is
what the donor writes. That shows in the estimates only once some completion shows the new way; before, nothing can.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from forewarn.estimation.reach import Reach, reach_of
from forewarn.records import SUBJECT
from forewarn.study.folder.tables import CellEstimate
from forewarn.study.keys import CellRecord
from forewarn.study.results.forecasts import run_name
from forewarn.study.results.read import RunResults

FELL_TO = 0.1
"""of the donor's best at an earlier checkpoint: with less than that it no longer reaches. On exact worlds it stays
above a half from sample to sample, and falls to a twentieth or less where the subject has moved away"""
LEAST_SHARE, LEAST_ESS = 0.1, 4.0
"""responsibility and effective hits that an earlier checkpoint must have had to be compared with"""
COUNTED = 8
"""own hits of the subject from which on its rate is counted, and no donor is needed"""


@dataclass(frozen=True, slots=True)
class DonorReach:
    """One donor's part in the estimate of one exploit type at one checkpoint."""

    run: str
    checkpoint_id: str
    step: int
    exploit_type: str
    donor: str
    reach: Reach
    completions: int
    """drawn with the donor"""
    lost: str | None
    """why it no longer reaches the exploits of this type, in one sentence; None: it does, or nothing tells"""

    @property
    def rate(self) -> float:
        """Effective hits a completion."""
        return self.reach.ess / self.completions


def donor_reaches(results: RunResults) -> list[DonorReach]:
    """The reach of each donor wherever a cell has a hit, by type and step. ``lost`` compares with earlier steps."""
    tables = {
        (str(name), str(kind)): table
        for (name, kind), table in results.hits.partition_by("checkpoint_id", "exploit_type", as_dict=True).items()
    }
    found: list[DonorReach] = []
    cells = [(cell.record, cell.estimate) for cell in results.cells if cell.estimate is not None]
    for record, estimate in sorted(cells, key=lambda one: one[0].step):
        hits = tables.get((record.checkpoint_id, record.exploit_type))
        if hits is None:
            continue
        run = run_name(record.checkpoint_id, results.study)
        before = [one for one in found if (one.run, one.exploit_type) == (run, record.exploit_type)]
        found += _of_cell(run, record, estimate, hits, before)
    return found


def _of_cell(
    run: str, record: CellRecord, estimate: CellEstimate, hits: pl.DataFrame, before: Sequence[DonorReach]
) -> list[DonorReach]:
    counts = np.array([planned.count for planned in record.spans], dtype=np.float64)
    writers = [planned.span.donor for planned in record.spans]
    ratios = np.array(hits["log_ratios"].to_list(), dtype=np.float64)
    reaches = reach_of(ratios, hits["log_weight"].to_numpy(), counts / counts.sum(), writers)
    found = []
    for donor, reach in (reaches or {}).items():
        if donor == SUBJECT:
            continue
        n = sum(k for k, name in zip(estimate.n_by_span, writers, strict=True) if name == donor)
        one = DonorReach(run, record.checkpoint_id, record.step, record.exploit_type, donor, reach, n, None)
        why = None if estimate.estimate.hits_by_span[0] >= COUNTED else _lost(one, before)
        found.append(DonorReach(run, record.checkpoint_id, record.step, record.exploit_type, donor, reach, n, why))
    return found


def _lost(now: DonorReach, before: Sequence[DonorReach]) -> str | None:
    mine = [
        one
        for one in before
        if one.donor == now.donor and one.reach.responsibility >= LEAST_SHARE and one.reach.ess >= LEAST_ESS
    ]
    if not mine:
        return None
    best = max(mine, key=lambda one: one.reach.responsibility)
    who = f"{now.donor} no longer reaches {now.exploit_type} of {now.run} at step {now.step:,}"
    if now.reach.responsibility < FELL_TO * best.reach.responsibility:
        return (
            f"{who}: it is responsible for {now.reach.responsibility:.1%} of the estimate, and was for "
            f"{best.reach.responsibility:.0%} at step {best.step:,}"
        )
    best = max(mine, key=lambda one: one.rate)
    if now.rate < FELL_TO * best.rate:
        return (
            f"{who}: its part rests on {now.reach.ess:.1f} effective hits of {now.completions:,} completions, and did "
            f"on {best.reach.ess:.1f} of {best.completions:,} at step {best.step:,}"
        )
    return None


def lost_now(reaches: Sequence[DonorReach]) -> list[DonorReach]:
    """The donors that no longer reach a type at the last checkpoint at which they were drawn for it."""
    last = {(one.run, one.exploit_type): one.step for one in reaches}  # by step: the last wins
    return [one for one in reaches if one.lost is not None and one.step == last[one.run, one.exploit_type]]
