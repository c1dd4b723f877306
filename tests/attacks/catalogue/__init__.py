"""The attacks: one tuple, the only list. Each says what it does, when it got through, and which defences stop it."""

from __future__ import annotations

from tests.attacks.attack import Attack
from tests.attacks.catalogue import files, hiding, kernel, limits, memory, network, processes, results, state

CATALOGUE: tuple[Attack, ...] = (
    *files.ATTACKS,
    *processes.ATTACKS,
    *kernel.ATTACKS,
    *network.ATTACKS,
    *limits.ATTACKS,
    *memory.ATTACKS,
    *results.ATTACKS,
    *hiding.ATTACKS,
    *state.ATTACKS,
)
