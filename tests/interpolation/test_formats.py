"""Spans in real formats on tiny models of the architectures that speak them: who wrote what, under which density."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from forewarn.engines.transformers.engine import HFEngine
from forewarn.formats import FORMATS, Channels, bind
from forewarn.interpolation.sampler import Order, Writer, sample_spans
from forewarn.records import UNBOUNDED, Policy, Span
from forewarn.training.settings import SFTSettings
from forewarn.training.sft import sft
from tests.engines.tiny import tiny_model, tiny_tokenizer

QUESTION = "def solve(x):"
SPANS = (Span(), Span(2, 0, "donor"), Span(0, 3, "donor"), Span(3, 2, "donor"), Span(UNBOUNDED, UNBOUNDED, "donor"))
POLICY = Policy(max_total_tokens=24)


def speaker(kind: str, channels: Channels, seed: int) -> HFEngine:
    """A tiny model that has learned to write short conversations in the format, and to end them."""
    model: Any = tiny_model(kind, seed=seed, vocab_size=len(channels.tokenizer))
    thoughts = ("final", "user\n", "analysis", "")
    examples = [channels.reasoning_ids(QUESTION, thought, "return x") for thought in thoughts]
    sft(model, examples, SFTSettings(seed=seed, epochs=60, batch_size=4, learning_rate=1e-2))
    return HFEngine(model)


@pytest.mark.parametrize(
    ("name", "kind"), [("harmony", "gpt_oss"), ("qwen3", "qwen3"), ("chatml-think", "llama"), ("gemma4", "llama")]
)
def test_spans_keep_their_densities_in_every_format(name: str, kind: str) -> None:
    channels = bind(name, tiny_tokenizer(FORMATS[name].control))
    subject, donor = speaker(kind, channels, 1), speaker(kind, channels, 2)
    prompt = channels.prompt_ids(QUESTION)
    drawn = list(
        sample_spans(
            [Order("p", prompt, span, 25) for span in SPANS],
            subject=Writer(subject),
            donors={"donor": Writer(donor)},
            channels=channels,
            policy=POLICY,
            seed=4,
            checkpoint_id="c",
        )
    )
    cases = Counter(channels.split(one.completion.token_ids).case for one in drawn)
    assert cases["whole"] > len(drawn) // 3, cases
    rows = [one.completion.token_ids for one in drawn]
    scores = [engine.score([prompt] * len(rows), rows, policy=POLICY) for engine in (subject, donor)]
    split_closers = 0
    for i, one in enumerate(drawn):
        c = one.completion
        r = channels.split(c.token_ids).n_reasoning
        assert c.n_reasoning == r
        assert list(c.donor_wrote) == [j < c.span.k for j in range(r)] + [j < c.span.m for j in range(c.n_answer)]
        wrote = np.array(c.donor_wrote, dtype=bool)
        np.testing.assert_allclose(one.log_probs, np.where(wrote, scores[1][i], scores[0][i]), atol=1e-4)
        closer = wrote[len(channels.before_closer(c.token_ids[:r])) : r]
        split_closers += bool(closer.any() and not closer.all())
    if len(channels.closer_ids) > 2:
        assert split_closers > 0, "some closer of several tokens must have had two writers"
