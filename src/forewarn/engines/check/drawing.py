"""The samples of ``engine check``: ordinary turns, and rows as long as a study's, with many lengths in one batch.

An engine may be exact on short rows but not on long ones (if positions change with a row's length), or on a single row
but not beside a longer one. So some rows continue to the full length whatever they contain, and they are sampled and
scored in one batch with short ones.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from forewarn.engines.base import Engine, Ids
from forewarn.engines.check.laws import ScoredDraws
from forewarn.errors import InputError
from forewarn.records import Policy

USUAL_TOKENS = 512
"""default for the longest completion, if the engine's rows leave room for it"""
TURN_TOKENS = 64
"""maximum length of the ordinary turns, tokens"""
PARTS = (1, 4, 2, 8)
"""rows drawn to the full length, a quarter, a half and an eighth of it, cycling twice through the questions"""


def longest_completion(engine: Engine, prompts: Sequence[Ids], asked: int | None) -> int:
    """Return the length of the longest completion (tokens): the requested one, or the default cut to the engine's rows.

    Raises InputError if a prompt alone fills the engine's longest row.
    """
    if asked is not None:
        return asked
    if engine.max_len is None:
        return USUAL_TOKENS
    longest = max(map(len, prompts))
    room = engine.max_len - 1 - longest  # vLLM scores a row only if it can draw one more token
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
) -> ScoredDraws:
    """Draw ``completions`` turns of up to ``TURN_TOKENS`` tokens per prompt, then rows of up to ``longest`` tokens that
    no token ends, and score all of them in one call."""
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
    return ScoredDraws(tuple(rows), tuple(samples), tuple(scores), middle - start, end - middle)


def by_length(drawn: ScoredDraws, wanted: int) -> list[int]:
    """Return the indices of ``wanted`` rows, spread from the longest to the shortest; the longest is one of them."""
    total = [len(prompt) + len(sample.token_ids) for prompt, sample in zip(drawn.prompts, drawn.samples, strict=True)]
    order = sorted(range(len(total)), key=total.__getitem__, reverse=True)
    count = min(len(order), wanted)
    return [order[i * (len(order) - 1) // max(1, count - 1)] for i in range(count)]
