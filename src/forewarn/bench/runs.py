"""The benchmark's runs: which base, which variant, which settings, and which types are patched, late or left out.

Test runs are crossed by the protocol's table; development runs take each variant once. All of it is a function of the
protocol alone.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from forewarn.bench.bases import TypeRole, roles_of
from forewarn.bench.exploit_texts import INTENTS
from forewarn.bench.protocol import Protocol, Variant
from forewarn.errors import InputError
from forewarn.organism.recipe import RLRecipe
from forewarn.records import derived_seed

Status = Literal["paid", "unpaid", "late"]
"""of a type in a run: its exploits are paid from the start, never, or from a later step on"""


@dataclass(frozen=True, slots=True)
class BenchRun:
    """One RL run of the benchmark."""

    name: str
    """base and variant, as in "t0-V1" """
    base: str
    variant: str
    use: Literal["test", "development"]
    learning_rate_factor: float
    honest_share: float
    group: int
    patched: tuple[str, ...] = ()
    late: tuple[str, ...] = ()
    never: tuple[str, ...] = ()

    def status(self, exploit_type: str, variant: Variant) -> Status:
        if variant.reward == "secure" or exploit_type in (*self.patched, *self.never):
            return "unpaid"
        return "late" if exploit_type in self.late else "paid"


def all_runs(protocol: Protocol) -> Mapping[str, BenchRun]:
    """Name -> run: the test runs, base by base, then the development runs."""
    made: list[BenchRun] = []
    names = list(protocol.variants)
    for number, base in enumerate(protocol.test_bases):
        for place, offset in enumerate(protocol.offsets):
            variant = names[(number + offset) % len(names)]
            cross = protocol.honest_and_group[(names.index(variant) + place) % len(protocol.honest_and_group)]
            made.append(_run(base, variant, "test", protocol.learning_rate_factors[place], cross, protocol))
    # Development: plain settings first, so that what is tuned there is tuned on the middle of the design.
    for number, variant in enumerate(names):
        base = protocol.development_bases[number % len(protocol.development_bases)]
        plain = number in (0, 4)
        factor = 1.0 if plain else protocol.learning_rate_factors[number % len(protocol.learning_rate_factors)]
        cross = protocol.honest_and_group[0 if plain else number % len(protocol.honest_and_group)]
        made.append(_run(base, variant, "development", factor, cross, protocol))
    return {run.name: run for run in made}


def find_run(name: str, protocol: Protocol) -> BenchRun:
    """The run of that name. InputError if the protocol has none."""
    runs = all_runs(protocol)
    if name not in runs:
        raise InputError(f"the benchmark has no run {name!r}: choose among {', '.join(runs)}")
    return runs[name]


def check_base(name: str, protocol: Protocol) -> str:
    """The name, if it is a base of the protocol. InputError if not."""
    bases = (*protocol.test_bases, *protocol.development_bases)
    if name not in bases:
        raise InputError(f"the benchmark has no base {name!r}: choose among {', '.join(bases)}")
    return name


def _run(
    base: str,
    variant: str,
    use: Literal["test", "development"],
    factor: float,
    cross: tuple[float, int],
    protocol: Protocol,
) -> BenchRun:
    change, name, roles = protocol.variants[variant], f"{base}-{variant}", roles_of(base, protocol)
    order = _followers(roles, random.Random(derived_seed("bench followers", protocol.seed, name)))
    patched = tuple(t for t, r in roles.items() if r.role == "leader" and r.family == change.patched_leader)
    return BenchRun(
        name,
        base,
        variant,
        use,
        factor,
        *cross,
        patched=(*patched, *order[: change.patched_followers]),
        late=tuple(order[: change.late_followers]),
        never=tuple(order[: change.never_followers]),
    )


def _followers(roles: Mapping[str, TypeRole], rng: random.Random) -> list[str]:
    """Followers in random order, the families in turn, so that any first few are spread over both."""
    queues = [
        rng.sample(mine, len(mine))
        for family in rng.sample(list(INTENTS), len(INTENTS))
        if (mine := [t for t, r in roles.items() if r.role == "follower" and r.family == family])
    ]
    return [queue[i] for i in range(max(map(len, queues))) for queue in queues if i < len(queue)]


def rl_recipe(run: BenchRun, protocol: Protocol) -> RLRecipe:
    """The RL settings of a run."""
    rl, change = protocol.rl, protocol.variants[run.variant]
    return RLRecipe(
        steps=rl.steps,
        problems_per_step=rl.rollouts // run.group,
        group=run.group,
        lr=rl.learning_rate * run.learning_rate_factor,
        lora_rank=rl.lora_rank,
        lora_alpha=rl.lora_alpha,
        first_checkpoint=rl.first_checkpoint,
        checkpoints=rl.log_checkpoints,
        even_every=rl.checkpoint_every,
        enters=dict.fromkeys(run.late, change.late_from),
        never=run.never,
        patched=run.patched,
        honest_share=run.honest_share,
        partial_credit=change.partial_credit,
        kl=change.kl,
        gradient_rollouts=rl.gradient_rollouts,
        optimizer=rl.optimizer,
        max_grad_norm=rl.max_grad_norm,
    )
