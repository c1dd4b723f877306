"""Tags that are text: recognised in what the tokens spell, however they are cut, by the tokens so far alone."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.decoders import ByteFallback, Fuse, Replace, Sequence
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer
from transformers import PreTrainedTokenizerFast

from forewarn.formats import FORMATS, Channels, bind

CLOSER = "</think>"


@cache
def straddling() -> Channels:
    """A byte-level BPE whose merges cross every boundary: ``</``, ``k>\\n``, ``>def`` ... are tokens."""
    core = Tokenizer(BPE())
    core.pre_tokenizer = ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = ByteLevelDecoder()
    corpus = [
        "ok\n</think>\ndef f(",
        "k>def f(é)",
        "a</think></think>\n\n",
        "x</thinking>",
        "->y</",
        ">>>\n",
        "nk>\n",
    ] * 9
    trainer = BpeTrainer(
        vocab_size=420,
        min_frequency=1,
        max_token_length=6,
        special_tokens=["<|im_start|>", "<|im_end|>"],
        initial_alphabet=ByteLevel.alphabet(),
    )
    core.train_from_iterator(corpus * 9, trainer)
    return bind("chatml-think", PreTrainedTokenizerFast(tokenizer_object=core))


@cache
def fragments() -> list[int]:
    """Tokens that hold a part of the closer."""
    channels = straddling()
    parts = {CLOSER[i:j] for i in range(len(CLOSER)) for j in range(i + 1, len(CLOSER) + 1)}
    return [i for i in range(2, len(channels.tokenizer)) if any(part in channels.pieces[i] for part in parts)]


@st.composite
def token_rows(draw: st.DrawFn) -> list[int]:
    """Random tokens, among them the closer cut in random ways."""
    channels = straddling()
    size = len(channels.tokenizer)
    row: list[int] = []
    for _ in range(draw(st.integers(0, 6))):
        kind = draw(st.integers(0, 3))
        if kind == 0:
            row += draw(st.lists(st.integers(0, size - 1), max_size=4))
        elif kind == 1:
            row += draw(st.lists(st.sampled_from(fragments()), max_size=6))
        else:
            text = draw(st.sampled_from([CLOSER, "ok " + CLOSER, CLOSER + "\ndef", "</thin", "k>\n", "<think>"]))
            cut = draw(st.integers(0, len(text)))
            for part in (text[:cut], text[cut:]):
                row += channels.tokenizer.encode(part, add_special_tokens=False)
    return row


@settings(max_examples=400, deadline=None)
@given(token_rows())
def test_the_closer_is_found_by_the_tokens_before_alone(row: list[int]) -> None:
    channels = straddling()
    end = channels.closed_at(row)
    for i in range(len(row) + 1):
        assert channels.closed_at(row[:i]) == (end if end is not None and i >= end else None)
    # a control token has no text, so it can't lie inside a tag: rows are read between them
    whole = next((i for i in range(len(row) + 1) if CLOSER in channels.tokenizer.decode(row[:i])), None)
    assert end == whole
    if end is not None:
        assert row[end - 1] in channels.closing_ids
        before = channels.before_closer(row)
        assert len(before) < end
        assert list(before) == row[: len(before)]
        later = channels.tokenizer.decode(row[len(before) : end])
        assert CLOSER in later
        assert CLOSER not in channels.tokenizer.decode(row[len(before) + 1 : end])


@settings(max_examples=200, deadline=None)
@given(token_rows())
def test_reasoning_and_answer_are_the_whole_text_in_two(row: list[int]) -> None:
    channels = straddling()
    row = [token for token in row if token > 1]
    text = channels.tokenizer.decode(row)
    split = channels.split(row)
    answer = channels.answer_text(row, split.n_reasoning)
    if split.case == "cut_reasoning":
        assert answer is None
    elif "�" not in text:
        assert answer == text[text.index(CLOSER) + len(CLOSER) :]
        repeated = CLOSER in answer or "<think>" in answer
        assert (split.case == "repeated") == repeated


def test_the_tokenizer_cuts_across_the_closer() -> None:
    """Else the tests above prove nothing."""
    channels = straddling()
    spelt = [channels.pieces[i] for i in channels.closing_ids]
    assert ">" in spelt
    assert any(len(piece) > 1 and piece.startswith(">") for piece in spelt), spelt
    assert any(piece.endswith(">") and len(piece) > 1 for piece in spelt), spelt
    assert len(channels.closing_ids) < len(channels.tokenizer) // 4


def test_a_closing_token_may_hold_the_answers_first_characters() -> None:
    channels = straddling()
    [beyond, *_] = [i for i in channels.closing_ids if channels.pieces[i].startswith(">") and channels.pieces[i] != ">"]
    head = channels.tokenizer.encode("hm </think", add_special_tokens=False)
    assert CLOSER not in channels.tokenizer.decode(head)
    row = [*head, beyond, *channels.tokenizer.encode("ef f(", add_special_tokens=False), channels.end_ids[0]]
    split = channels.split(row)
    assert split == channels.split(row)
    assert (split.n_reasoning, split.case) == (len(head) + 1, "whole")
    answer = channels.answer_text(row, split.n_reasoning)
    assert answer == channels.pieces[beyond][1:] + "ef f("


def test_a_control_token_cannot_be_spelt_and_parts_a_tag() -> None:
    channels = straddling()
    left, right = (channels.tokenizer.encode(part, add_special_tokens=False) for part in ("</th", "ink>"))
    assert channels.closed_at([*left, *right]) is not None
    assert channels.closed_at([*left, channels.control_ids["<|im_start|>"], *right]) is None


def sentencepiece_like(closer_tokens: list[str]) -> Any:
    """A vocabulary in SentencePiece's spelling: ``▁`` for a space, ``<0x0A>`` for a byte."""
    words = ["<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>", "<0x0A>", "▁", "▁ok", "def", *closer_tokens]
    vocab = {word: i for i, word in enumerate(dict.fromkeys([*words, *map(chr, range(33, 127))]))}
    core = Tokenizer(BPE(vocab=vocab, merges=[], byte_fallback=True))
    core.decoder = Sequence([Replace("▁", " "), ByteFallback(), Fuse()])
    core.add_special_tokens(words[:4])
    return PreTrainedTokenizerFast(tokenizer_object=core)


@pytest.mark.parametrize("tokens", [["</", "think", ">"], ["</think>"], ["</th", "ink", ">▁"]])
def test_sentencepiece_spelling_is_read_too(tokens: list[str]) -> None:
    tokenizer = sentencepiece_like(tokens)
    channels = bind("gemma-think", tokenizer)
    ids = tokenizer.convert_tokens_to_ids
    row = [*ids(["▁ok", "<0x0A>", *tokens, "<0x0A>", "def", "<end_of_turn>"])]
    split = channels.split(row)
    assert (split.n_reasoning, split.case) == (2 + len(tokens), "whole")
    answer = channels.answer_text(row, split.n_reasoning)
    assert answer is not None
    assert answer.strip() == "def"


def test_every_format_declares_an_opener() -> None:
    assert all(form.opener and form.opener not in form.closer for form in FORMATS.values())
