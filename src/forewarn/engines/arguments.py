"""Checks of an engine's arguments, shared by all engines: ids, lengths, numbers of rows."""

from __future__ import annotations

from collections.abc import Sequence

from forewarn.checkpoints.row_limit import RowLimit
from forewarn.engines.base import Ids
from forewarn.errors import InputError


def check_rows(rows: Sequence[Ids], vocab_size: int) -> None:
    """Raise InputError for an empty prompt or an id outside the vocabulary."""
    for row in rows:
        if not row:
            raise InputError("a prompt is empty: give at least one token")
    check_ids(rows, vocab_size)


def check_ids(rows: Sequence[Ids], vocab_size: int) -> None:
    """Raise InputError for an id outside the vocabulary."""
    for row in rows:
        if row and (min(row) < 0 or max(row) >= vocab_size):
            wrong = min(row) if min(row) < 0 else max(row)
            raise InputError(f"token id {wrong} lies outside this model's vocabulary of {vocab_size} tokens")


def row_limits(prompts: Sequence[Ids], max_new_tokens: int | Sequence[int], *, n: int, longest: RowLimit) -> list[int]:
    """Return one limit per prompt. Raises InputError for unequal or negative numbers, or a row beyond ``longest``."""
    limits = [max_new_tokens] * len(prompts) if isinstance(max_new_tokens, int) else list(max_new_tokens)
    if len(limits) != len(prompts):
        raise InputError(f"{len(limits)} length limits for {len(prompts)} prompts; give one, or one per prompt")
    if n < 1:
        raise InputError(f"n is {n}: give 1 or more")
    if any(limit < 0 for limit in limits):
        raise InputError(f"max_new_tokens is {min(limits)}: give 0 or more")
    check_lengths([(len(prompt), limit) for prompt, limit in zip(prompts, limits, strict=True)], longest)
    return limits


def row_streams(seed: int | Sequence[int], n_prompts: int, n: int) -> list[tuple[int, int]]:
    """(seed, number) of each of ``n_prompts * n`` rows, prompt-major: what names its stream of random numbers.

    Rows of one seed are numbered through; where each prompt has its own, its rows are. Raises InputError for negative
    seeds, and for another number of them than of prompts.
    """
    if isinstance(seed, int):
        streams = [(seed, row) for row in range(n_prompts * n)]
    elif len(seed) == n_prompts:
        streams = [(own, draw) for own in seed for draw in range(n)]
    else:
        raise InputError(f"{len(seed)} seeds for {n_prompts} prompts: give one, or one for each prompt")
    if wrong := [own for own, _ in streams if own < 0]:
        raise InputError(f"seed is {wrong[0]}: give 0 or more")
    return streams


def pairs_of(prompts: Sequence[Ids], continuations: Sequence[Ids], longest: RowLimit) -> list[tuple[int, ...]]:
    """Pair each prompt with its continuation. Raises InputError for unequal numbers, or a row beyond ``longest``."""
    if len(prompts) != len(continuations):
        raise InputError(f"{len(prompts)} prompts but {len(continuations)} continuations to score")
    check_lengths([(len(p), len(c)) for p, c in zip(prompts, continuations, strict=True)], longest)
    return [(*p, *c) for p, c in zip(prompts, continuations, strict=True)]


def check_lengths(sizes: Sequence[tuple[int, int]], longest: RowLimit) -> None:
    """Raise InputError if a prompt and its continuation exceed the longest row (tokens)."""
    for prompt, more in sizes:
        if longest.tokens is None or prompt + more <= longest.tokens:
            continue
        if longest.why:
            raise InputError(
                f"a prompt of {prompt} tokens and {more} more pass the {longest.tokens} tokens {longest.why}, so that "
                "samples could not be scored: lower max_total_tokens (in a check --tokens), or use the vllm engine, "
                "which uses one kind of positions for every length"
            )
        raise InputError(
            f"a prompt of {prompt} tokens and {more} more pass the engine's context of {longest.tokens}: lower "
            "max_total_tokens, or give an engine with a longer context"
        )
