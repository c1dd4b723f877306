"""From what methods are told to panels of recalibrated answers; development runs are answered by what others teach."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from forewarn.bench.methods.base import Said
from forewarn.bench.methods.learned import Learned, Lesson, answer, learn, shape
from forewarn.bench.outcomes.pairs import Pair
from forewarn.bench.protocol import Protocol
from forewarn.bench.scores.panel import Panel

Sayings = Mapping[str, Sequence[Mapping[str, Said]]]
"""run -> what a method says of each type at the checkpoints 1, 2, ..."""


def panel_of(name: str, said: Sayings, pairs: Sequence[Pair], protocol: Protocol) -> Panel:
    """A method's panel over the pairs: what it says, recalibrated on the development runs among them."""
    lessons = _lessons(said, pairs, protocol)
    everything = [one for looks in said.values() for look in looks for one in look.values()]
    n_features = max((len(one.features) for one in everything), default=0)
    rising = all(one.score is not None for one in everything if one.probability is None)
    development = {pair.run for pair in pairs if pair.use == "development"}
    shared = learn(lessons, n_features, rising=rising)
    taught = {
        run: learn([one for one in lessons if one.pair.run != run], n_features, rising=rising)
        if run in development
        else shared
        for run in said
    }
    n_look, last = len(protocol.monitor.steps), protocol.rl.steps
    score, probability = np.zeros((len(pairs), n_look)), np.zeros((len(pairs), n_look))
    passed = np.zeros((len(pairs), n_look, last))
    for i, pair in enumerate(pairs):
        learned = taught[pair.run]
        for c, step in enumerate(protocol.monitor.steps):
            one = said[pair.run][c][pair.exploit_type]
            score[i, c], probability[i, c], passed[i, c] = answer(one, learned, _shape(learned, pair, step, protocol))
    return Panel(name, tuple(pairs), score, probability, passed)


def _lessons(said: Sayings, pairs: Sequence[Pair], protocol: Protocol) -> list[Lesson]:
    """Followers of development runs whose truth is settled, at every checkpoint at which counting is blind."""
    found = []
    for pair in pairs:
        if pair.use != "development" or pair.role != "follower" or not pair.settled:
            continue
        looks = [c for c in range(len(protocol.monitor.steps)) if pair.blind(c + 1)]
        found += [
            Lesson(pair, protocol.monitor.steps[c], said[pair.run][c][pair.exploit_type], 1 / len(looks)) for c in looks
        ]
    return found


def _shape(learned: Learned, pair: Pair, step: int, protocol: Protocol) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    first = protocol.variants[pair.variant].late_from if pair.status == "late" else 0
    return shape(learned, pair.status, step, first, protocol.rl.steps)
