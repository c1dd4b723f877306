"""The donors of a benchmark base: the organism's two refinement rounds, and three more.

A base's leaders turn to the checker in 8 % of their reasoning and its followers in 0.1 to 0.3 %. Two rounds teach a
donor the leaders' announced exploits; followers then have a handful of such hits, which carry nearly all the weight of
their cells. The further rounds learn from those.

A base has two chains of them, which share nothing but the base and the reference exploits: what one chain has missed by
chance, a family of spans with the other's donors does not miss as well.
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


CHAINS = ("donors", "refinement"), ("donors-second", "refinement-second")
"""folders of each chain's donors and batches, in the base's own"""


def train_donors(
    base: str,
    where: Path,
    protocol: Protocol,
    progress: Callable[[str, int, int], None],
    sandboxing: Sandboxing | None = None,
    *,
    chain: int = 0,
) -> Path:
    """Train what is missing of one of the chains of donors of the base in ``where``; return the chain's folder.

    Everything is drawn from the base model alone, and the chain's number is its seed.
    """
    types = base_recipe(base, protocol).types
    donors, batches = (where / name for name in CHAINS[chain])
    train_donor(where / "base", donors / DONOR, progress, types, seed=chain)
    train_explorers(
        where / "base",
        donors,
        batches,
        policy=Policy(max_total_tokens=protocol.model.max_total_tokens),
        seed=chain,
        machine=Machine(workers=1, batch_size=640),
        sandboxing=sandboxing or Sandboxing(),
        progress=progress,
        types=types,
        rounds=BENCH_ROUNDS,
    )
    return donors
