"""The study's recipe, for the side-by-side: donor traces cut after N words or tokens, finished by the subject.

Follows "Early Indicators of Reward Hacking via Reasoning Interpolation" (EleutherAI 2026): the weight of a completion
is p(z)/q(z) of its prefix z alone. With ``unit`` "words" a prefix is cut at white space and encoded again, as there,
so that its ids need not be those that were drawn. Its results are heuristics; the estimators are in
``estimation.classic``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from forewarn.formats import Channels
from forewarn.interpolation.sampler import Writer
from forewarn.records import Policy, derived_seed

Unit = Literal["words", "tokens"]
TOKENS_PER_WORD = 4
"""donor tokens drawn for each word wanted, so that a cut seldom lacks words"""


@dataclass(frozen=True, slots=True)
class PrefixCompletion:
    """One completion of the study's kind."""

    problem_id: str
    prompt_ids: tuple[int, ...]
    length: int
    """words or tokens wanted of the donor"""
    prefix_ids: tuple[int, ...]
    """what the subject was given of the reasoning"""
    token_ids: tuple[int, ...]
    """prefix and what the subject wrote"""
    code: str | None


def sample_prefixes(
    prompts: Sequence[tuple[str, tuple[int, ...]]],
    *,
    lengths: Sequence[int],
    per_length: int,
    unit: Unit,
    subject: Writer,
    donor: Writer,
    channels: Channels,
    policy: Policy,
    seed: int,
    entry_points: Mapping[str, str],
) -> list[PrefixCompletion]:
    """``per_length`` completions of each (problem id, prompt ids) and prefix length, problem-major.

    ``entry_points``: what a submission is to define, by problem id.
    """
    wanted = [(name, prompt, length) for name, prompt in prompts for length in lengths for _ in range(per_length)]
    reach = max(lengths) * (TOKENS_PER_WORD if unit == "words" else 1)
    traces = donor.engine.sample(
        [prompt for _, prompt, _ in wanted],
        policy=policy,
        seed=derived_seed("prefix traces", unit, seed),
        max_new_tokens=min(reach, policy.max_total_tokens - 1),
        stop_ids=(*channels.end_ids, *channels.closing_ids),
        adapter=donor.adapter,
    )
    prefixes = [
        _cut(trace.token_ids, length, unit, channels) for trace, (_, _, length) in zip(traces, wanted, strict=True)
    ]
    rest = subject.engine.sample(
        [(*prompt, *prefix) for (_, prompt, _), prefix in zip(wanted, prefixes, strict=True)],
        policy=policy,
        seed=derived_seed("prefix rest", unit, seed),
        max_new_tokens=[policy.max_total_tokens - len(prefix) for prefix in prefixes],
        stop_ids=channels.end_ids,
        adapter=subject.adapter,
    )
    found = []
    for (name, prompt, length), prefix, sample in zip(wanted, prefixes, rest, strict=True):
        ids = (*prefix, *sample.token_ids)
        code = channels.code(ids, channels.split(ids).n_reasoning, entry_points[name])
        found.append(PrefixCompletion(name, prompt, length, prefix, ids, code))
    return found


def _cut(trace: tuple[int, ...], length: int, unit: Unit, channels: Channels) -> tuple[int, ...]:
    """The first ``length`` words or tokens of a trace, the closing of the channel left to the subject."""
    open_ids = tuple(t for t in channels.before_closer(trace) if t not in channels.end_ids)
    if unit == "tokens":
        return open_ids[:length]
    words = str(channels.tokenizer.decode(open_ids)).split()
    text = " ".join(words[:length])
    return tuple(channels.tokenizer.encode(text, add_special_tokens=False)) if text else ()
