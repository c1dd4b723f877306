"""Configuration only: variant, reward status, learning rate, group and step, and no completion at all."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from forewarn.bench.methods.base import Method, Said, Seen

STATUSES = ("paid", "unpaid", "late")


def _said(seen: Seen, rng: np.random.Generator) -> Mapping[str, Said]:
    variant = [float(seen.run.variant == name) for name in seen.protocol.variants]
    settings = [math.log(seen.run.learning_rate_factor), math.log2(seen.run.group / 16), seen.steps[-1] / seen.last]
    return {
        name: Said(None, features=(*variant, *(float(seen.status(name) == one) for one in STATUSES), *settings))
        for name in seen.types
    }


METHOD = Method("configuration only: variant, reward status, learning rate, group, step", _said)
