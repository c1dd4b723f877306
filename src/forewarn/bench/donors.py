"""The donors of a benchmark base: the organism's two refinement rounds, and three more.

A base's leaders turn to the checker in 8 % of their reasoning and its followers in 0.1 to 0.3 %. Two rounds teach a
donor the leaders' announced exploits; followers then have a handful of such hits, which carry nearly all the weight of
their cells. The further rounds learn from those.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from forewarn.bench.bases import base_recipe
from forewarn.bench.protocol import Protocol
from forewarn.organism.donors import DONOR, EXPLORER, ROUNDS, SCOUT, Round, donor_settings, train_donor, train_explorers
from forewarn.records import UNBOUNDED, Policy, Span
from forewarn.study import Machine, PlannedSpan, Sandboxing

THIRD, FOURTH, LAST = "round-3", "round-4", "round-5"
DONORS = (DONOR, SCOUT, EXPLORER, THIRD, FOURTH, LAST)
"""in the order in which they are made"""


def _further(made: str, source: str, max_share: float) -> Round:
    spans = (
        PlannedSpan(Span(), 2),
        PlannedSpan(Span(UNBOUNDED, 3, source), 6),
        PlannedSpan(Span(UNBOUNDED, UNBOUNDED, source), 24),
    )
    return Round(made, spans, examples_per_type=128, max_share=max_share, settings=donor_settings(3))


BENCH_ROUNDS = (
    *ROUNDS,
    _further(THIRD, EXPLORER, 0.34),
    _further(FOURTH, THIRD, 0.1),
    _further(LAST, FOURTH, 0.1),
)
"""The third meets few heavy hits, and may lean on three of them; the later ones see enough of them"""


def train_donors(
    base: str,
    where: Path,
    protocol: Protocol,
    progress: Callable[[str, int, int], None],
    sandboxing: Sandboxing | None = None,
) -> Path:
    """Train what is missing of the donors of the base in ``where``, on the base model alone; return their folder."""
    types = base_recipe(base, protocol).types
    train_donor(where / "base", where / "donors" / DONOR, progress, types)
    train_explorers(
        where / "base",
        where / "donors",
        where / "refinement",
        policy=Policy(max_total_tokens=protocol.model.max_total_tokens),
        seed=0,
        machine=Machine(workers=1, batch_size=640),
        sandboxing=sandboxing or Sandboxing(),
        progress=progress,
        types=types,
        rounds=BENCH_ROUNDS,
    )
    return where / "donors"
