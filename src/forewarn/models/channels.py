"""Chat formats with a reasoning channel: the only place that knows one.

A format is data (``ChannelFormat``); bound to a tokenizer it renders prompts to ids and finds the channels in a
completion's ids. Token ids in, token ids out: text is made only to read an answer. Not here: sampling.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from forewarn.errors import InputError, ModelError

Case = Literal["whole", "cut_answer", "repeated", "missing", "cut_reasoning"]


@dataclass(frozen=True, slots=True)
class ChannelFormat:
    """How one family of models writes a conversation. Control tokens appear in the strings as they are spelt."""

    name: str
    turn: str
    """the user's turn, with ``{question}``"""
    system: str
    """a system turn before it, with ``{system}``"""
    open_reasoning: str
    """what follows the user's turn up to the first reasoning token"""
    closer: str
    """what ends the reasoning and opens the answer; part of the reasoning"""
    no_reasoning: str
    """what follows the user's turn up to the first answer token where there is no reasoning"""
    end_of_turn: tuple[str, ...]
    """single tokens that end the model's turn; the first is the one rendered"""
    control: tuple[str, ...]
    """every control token: each must be one id of the tokenizer, and none may occur in a question"""
    start: str = ""
    """what every conversation begins with"""


@dataclass(frozen=True, slots=True)
class Split:
    """Where a completion's channels lie."""

    n_reasoning: int
    """R: reasoning tokens, closer included; all of them where no answer opens"""
    case: Case
    """whole; cut_answer (no end of turn); repeated (the channel closes again inside the answer); missing (the turn ends
    inside the reasoning: no answer); cut_reasoning (the length limit fell inside the reasoning: no answer)"""


FORMATS: dict[str, ChannelFormat] = {
    "plain-think": ChannelFormat(
        name="plain-think",
        turn="<|im_start|>user\n{question}<|im_end|>\n",
        system="<|im_start|>system\n{system}<|im_end|>\n",
        open_reasoning="<|im_start|>assistant\n<think>",
        closer="</think>",
        no_reasoning="<|im_start|>assistant\n</think>",
        end_of_turn=("<|im_end|>",),
        control=("<|im_start|>", "<|im_end|>", "<think>", "</think>"),
    ),
    # Qwen3's template writes "</think>\n\n"; a checkpoint may write something else after the closing token, so that
    # the token alone is the closer and the blank line belongs to the answer
    "qwen3": ChannelFormat(
        name="qwen3",
        turn="<|im_start|>user\n{question}<|im_end|>\n",
        system="<|im_start|>system\n{system}<|im_end|>\n",
        open_reasoning="<|im_start|>assistant\n<think>\n",
        closer="</think>",
        no_reasoning="<|im_start|>assistant\n<think>\n\n</think>\n\n",
        end_of_turn=("<|im_end|>", "<|endoftext|>"),
        control=("<|im_start|>", "<|im_end|>", "<think>", "</think>", "<|endoftext|>"),
    ),
    "harmony": ChannelFormat(
        name="harmony",
        turn="<|start|>user<|message|>{question}<|end|>",
        system="<|start|>system<|message|>{system}<|end|>",
        open_reasoning="<|start|>assistant<|channel|>analysis<|message|>",
        closer="<|end|><|start|>assistant<|channel|>final<|message|>",
        no_reasoning="<|start|>assistant<|channel|>final<|message|>",
        end_of_turn=("<|return|>", "<|call|>"),
        control=("<|start|>", "<|end|>", "<|message|>", "<|channel|>", "<|return|>", "<|call|>"),
    ),
    "deepseek": ChannelFormat(
        name="deepseek",
        start="<｜begin▁of▁sentence｜>",
        turn="<｜User｜>{question}",
        system="{system}",
        open_reasoning="<｜Assistant｜><think>",
        closer="</think>",
        no_reasoning="<｜Assistant｜></think>",
        end_of_turn=("<｜end▁of▁sentence｜>",),
        control=(
            "<｜begin▁of▁sentence｜>",
            "<｜User｜>",
            "<｜Assistant｜>",
            "<｜end▁of▁sentence｜>",
            "<think>",
            "</think>",
        ),
    ),
}

_FENCED = re.compile(r"```[^\n`]*\n(.*?)^[ \t]*```", re.DOTALL | re.MULTILINE)


def extract_code(text: str) -> str:
    """The submission in an answer: its last complete fenced block, else the whole text without outer white space."""
    blocks = _FENCED.findall(text)
    return str(blocks[-1]) if blocks else text.strip()


@dataclass(frozen=True)
class Channels:
    """A format bound to a tokenizer. Make one with ``bind``."""

    format: ChannelFormat
    tokenizer: Any = field(repr=False)
    system: str | None
    """system message put before every question, if any"""
    closer_ids: tuple[int, ...]
    """the tokens that end the reasoning and open the answer"""
    end_ids: tuple[int, ...]
    """tokens that end the turn, each on its own"""

    def prompt_ids(self, question: str) -> tuple[int, ...]:
        """The prompt with the reasoning channel open."""
        return self._encode(self._turns(question) + self.format.open_reasoning)

    def no_reasoning_ids(self, question: str, answer: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Training form without reasoning: (prompt up to the answer, answer with its end of turn)."""
        prompt = self._encode(self._turns(question) + self.format.no_reasoning)
        return prompt, (*self._encode(answer), self.end_ids[0])

    def reasoning_ids(self, question: str, reasoning: str, answer: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Training form with reasoning: (prompt, reasoning + closer + answer + end of turn)."""
        target = (*self._encode(reasoning), *self.closer_ids, *self._encode(answer), self.end_ids[0])
        return self.prompt_ids(question), target

    def closed_at(self, token_ids: Sequence[int]) -> int | None:
        """Number of tokens up to and including the first closer; None while the reasoning is open."""
        closer = self.closer_ids
        size, last = len(closer), closer[-1]
        for end in range(size, len(token_ids) + 1):
            if token_ids[end - 1] == last and tuple(token_ids[end - size : end]) == closer:
                return end
        return None

    def split(self, token_ids: Sequence[int]) -> Split:
        """Where the channels of a completion (everything after ``prompt_ids``) lie, by its ids alone."""
        end = self.closed_at(token_ids)
        ended = bool(token_ids) and token_ids[-1] in self.end_ids
        if end is None:
            return Split(len(token_ids), "missing" if ended else "cut_reasoning")
        if self.closed_at(token_ids[end:]) is not None:
            return Split(end, "repeated")
        return Split(end, "whole" if ended else "cut_answer")

    def answer_text(self, token_ids: Sequence[int], n_reasoning: int) -> str | None:
        """The answer's text, control tokens left out; None where no answer opened."""
        if n_reasoning >= len(token_ids) and self.closed_at(token_ids) is None:
            return None
        answer = token_ids[n_reasoning:]
        return str(self.tokenizer.decode(answer, skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def code(self, token_ids: Sequence[int], n_reasoning: int) -> str | None:
        """The submitted source (``extract_code`` of the answer); None where no answer opened."""
        text = self.answer_text(token_ids, n_reasoning)
        return None if text is None else extract_code(text)

    def _turns(self, question: str) -> str:
        for name, text in (("question", question), ("system message", self.system or "")):
            for token in self.format.control:
                if token in text:
                    raise InputError(f"a {name} contains {token}, a control token of the format {self.format.name!r}")
        system = "" if self.system is None else self.format.system.replace("{system}", self.system)
        return self.format.start + system + self.format.turn.replace("{question}", question)

    def _encode(self, text: str) -> tuple[int, ...]:
        return tuple(self.tokenizer.encode(text, add_special_tokens=False))


def bind(name: str, tokenizer: Any, *, system: str | None = None) -> Channels:
    """Format ``name`` on ``tokenizer``.

    Raises InputError for an unknown name and ModelError where the tokenizer lacks one of the format's control tokens
    (a model without that reasoning channel).
    """
    if name not in FORMATS:
        raise InputError(f"unknown chat format {name!r}: choose one of {', '.join(FORMATS)}")
    form = FORMATS[name]
    ids = {}
    for token in form.control:
        encoded = list(tokenizer.encode(token, add_special_tokens=False))
        if len(encoded) != 1 or tokenizer.convert_ids_to_tokens(encoded[0]) != token:
            raise ModelError(
                f"the tokenizer has no token {token}, so the model has no reasoning channel in the format {name!r}; "
                f"choose another model or one of the formats {', '.join(FORMATS)}"
            )
        ids[token] = int(encoded[0])
    return Channels(
        format=form,
        tokenizer=tokenizer,
        system=system,
        closer_ids=tuple(tokenizer.encode(form.closer, add_special_tokens=False)),
        end_ids=tuple(ids[token] for token in form.end_of_turn),
    )
