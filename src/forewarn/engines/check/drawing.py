"""What ``engine check`` draws: turns as they come, and rows as long as a study's, of many lengths at once.

An engine may be exact on short rows and not on long ones (positions that change with a row's length), or on a row alone
and not beside a longer one. So some rows go on to the full length whatever they hold, and short ones lie in one batch
with them, sampled and scored.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from forewarn.engines.base import Engine, Ids
from forewarn.engines.check.laws import Drawn
from forewarn.errors import InputError
from forewarn.records import Policy

USUAL_TOKENS = 512
"""longest completion where none is asked for, if the engine's rows leave room for it"""
TURN_TOKENS = 64
"""most tokens of the turns that may end"""
PARTS = (1, 4, 2, 8)
"""rows drawn to the full length, a quarter, a half and an eighth of it: each question in turn, twice"""


def longest_completion(engine: Engine, prompts: Sequence[Ids], asked: int | None) -> int:
    """Tokens of the longest completion: what is asked for, else the usual number as far as the engine's rows go.

    Raises InputError where a prompt alone fills the engine's longest row.
    """
    if asked is not None:
        return asked
    if engine.max_len is None:
        return USUAL_TOKENS
    longest = max(map(len, prompts))
    room = engine.max_len - 1 - longest  # vLLM scores a row only where it can draw one token more
    if room < 1:
        raise InputError(
            f"a question takes {longest} tokens and the engine's longest row is {engine.max_len}: give a model with a "
            "longer context"
        )
    return min(USUAL_TOKENS, room)


def draw_rows(
    engine: Engine,
    prompts: Sequence[Ids],
    *,
    stop_ids: Sequence[int],
    completions: int,
    longest: int,
    seed: int,
    adapter: str | None = None,
) -> Drawn:
    """Turns of up to ``TURN_TOKENS`` tokens, ``completions`` a prompt, then rows of up to ``longest`` tokens that no
    token ends; all scored in one call."""
    spread = [prompt for prompt in prompts for _ in range(completions)]
    n_long = 2 * len(PARTS)
    long = [prompts[i % len(prompts)] for i in range(n_long)]
    # the second round is shifted, so that another question gets each length
    limits = [max(1, longest // PARTS[(i + i // len(PARTS)) % len(PARTS)]) for i in range(n_long)]
    policy = Policy()
    start = time.perf_counter()
    samples = engine.sample(
        spread,
        policy=policy,
        seed=seed,
        max_new_tokens=min(longest, TURN_TOKENS),
        stop_ids=stop_ids,
        adapter=adapter,
    )
    samples += engine.sample(long, policy=policy, seed=seed + 1, max_new_tokens=limits, stop_ids=(), adapter=adapter)
    middle = time.perf_counter()
    rows = [*spread, *long]
    scores = engine.score(rows, [sample.token_ids for sample in samples], policy=policy, adapter=adapter)
    end = time.perf_counter()
    return Drawn(tuple(rows), tuple(samples), tuple(scores), middle - start, end - middle)


def by_length(drawn: Drawn, wanted: int) -> list[int]:
    """Numbers of ``wanted`` rows from the longest to the shortest, the longest among them."""
    total = [len(prompt) + len(sample.token_ids) for prompt, sample in zip(drawn.prompts, drawn.samples, strict=True)]
    order = sorted(range(len(total)), key=total.__getitem__, reverse=True)
    count = min(len(order), wanted)
    return [order[i * (len(order) - 1) // max(1, count - 1)] for i in range(count)]
