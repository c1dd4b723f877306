"""A chat format bound to a tokenizer: prompts to ids, and the channels in a completion's ids.

Where the reasoning ends depends only on the tokens so far: it ends with the first token at which their text contains
the closer, however the closer was cut into tokens. A token with the closer's end and more belongs to the reasoning, and
its text after the closer is read as the answer's first characters.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from forewarn.errors import InputError, ModelError
from forewarn.formats.code import CodeRule, extract_code
from forewarn.formats.ends import format_ends, sorted_ends
from forewarn.formats.families import FORMATS, ChannelFormat
from forewarn.formats.pieces import Pieces, found_at, may_complete, pattern_of, text_of

Case = Literal["whole", "cut_answer", "repeated", "nested", "missing", "cut_reasoning"]


@dataclass(frozen=True, slots=True)
class Split:
    """The position and the case of a completion's channels."""

    n_reasoning: int
    """R: reasoning tokens, closer included; all of them if no answer opens"""
    case: Case
    """whole; cut_answer (no end of turn); repeated (the answer opens or closes the channel again); nested (the
    reasoning opens the channel again, but still ends at its first closer); missing (the turn ends inside the reasoning:
    no answer); cut_reasoning (the length limit fell inside the reasoning: no answer). If several fit, the first of
    missing or cut_reasoning, repeated, nested, cut_answer, whole."""


@dataclass(frozen=True)
class Channels:
    """A format bound to a tokenizer. Make one with ``bind``."""

    format: ChannelFormat
    tokenizer: Any = field(repr=False)
    system: str | None
    """the system message before every question, if there is one"""
    control_ids: dict[str, int] = field(repr=False, hash=False)
    """control token -> its id"""
    reserved: tuple[str, ...] = field(repr=False)
    """spellings that a question must not contain: control tokens, and everything else the tokenizer calls special"""
    pieces: Pieces = field(repr=False, compare=False)
    model_ends: tuple[int, ...] = ()
    """end tokens of the model that the format doesn't name"""
    ignored_ends: tuple[int, ...] = ()
    """tokens that the model calls ends but that can't end a turn: the format writes them inside the model's own turn,
    or the tokenizer lacks them"""
    code_rule: CodeRule = field(default_factory=CodeRule)
    """how the submission is read from an answer"""

    @cached_property
    def closer_ids(self) -> tuple[int, ...]:
        """The closer as the tokenizer writes it; a model may cut a closer that is text in other ways."""
        return self._encode(self.format.closer)

    @cached_property
    def end_ids(self) -> tuple[int, ...]:
        """The tokens that each end the turn: the format's, then the model's."""
        return (*format_ends(self.format, self.control_ids), *self.model_ends)

    @property
    def ignored_sentence(self) -> str:
        """A note for the user on the model's ends that don't end a turn; empty if all do."""
        if not self.ignored_ends:
            return ""
        named = [f"{i} ({self.tokenizer.convert_ids_to_tokens(i)})" for i in self.ignored_ends]
        return (
            f"the model's configuration calls token {', '.join(named)} an end token, but the format "
            f"{self.format.name!r} writes it inside a turn or the tokenizer lacks it: it doesn't end a turn here"
        )

    @cached_property
    def closing_ids(self) -> tuple[int, ...]:
        """Every token with which the reasoning can end; a writer has to stop there to see whether it did."""
        last = self._closer[-1]
        for token_id in self.control_ids.values():
            if last == self.pieces[token_id]:
                return (token_id,)  # other tokens don't contain a control character
        return tuple(i for i in range(len(self.tokenizer)) if may_complete(self.pieces[i], self._closer))

    @cached_property
    def _closer(self) -> str:
        return pattern_of(self.format.closer, self.control_ids)

    @cached_property
    def _opener(self) -> str:
        return pattern_of(self.format.opener, self.control_ids)

    def prompt_ids(self, question: str) -> tuple[int, ...]:
        """Return the prompt with the reasoning channel open."""
        return self._encode(self.turns(question) + self.format.open_reasoning)

    def no_reasoning_ids(self, question: str, answer: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the training form without reasoning: (prompt up to the answer, answer with its end of turn)."""
        prompt = self._encode(self.turns(question) + self.format.no_reasoning)
        return prompt, self._answer(answer)

    def reasoning_ids(self, question: str, reasoning: str, answer: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the training form with reasoning: (prompt, reasoning + closer + answer + end of turn)."""
        target = (*self._encode(reasoning), *self.closer_ids, *self._answer(answer))
        return self.prompt_ids(question), target

    def turns(self, question: str) -> str:
        """Return everything before the model's own turn, as text. Raises InputError if it has control tokens."""
        for name, text in (("question", question), ("system message", self.system or "")):
            for token in self.reserved:
                if token in text:
                    raise InputError(f"a {name} contains {token}, a control token of the format {self.format.name!r}")
        return self.format.turns(question, self.system)

    def closed_at(self, token_ids: Sequence[int]) -> int | None:
        """Return the number of tokens up to and including the one that ends the reasoning; None while it is open."""
        found = found_at(self.pieces, token_ids, self._closer)
        return None if found is None else found[0]

    def before_closer(self, token_ids: Sequence[int]) -> tuple[int, ...]:
        """Return the number of reasoning tokens before the closer begins; all tokens while the reasoning is open."""
        found = found_at(self.pieces, token_ids, self._closer)
        if found is None:
            return tuple(token_ids)
        end, beyond = found
        over = len(beyond) + len(self._closer)
        while over > 0:
            end -= 1
            over -= len(self.pieces[token_ids[end]])
        return tuple(token_ids[:end])

    def split(self, token_ids: Sequence[int]) -> Split:
        """Find the channels of a completion (everything after ``prompt_ids``) from its ids alone."""
        found = found_at(self.pieces, token_ids, self._closer)
        ended = bool(token_ids) and token_ids[-1] in self.end_ids
        if found is None:
            return Split(len(token_ids), "missing" if ended else "cut_reasoning")
        end, beyond = found
        if self._in(beyond + self.pieces.of(token_ids[end:]), self._closer, self._opener):
            return Split(end, "repeated")
        if self._in(self.pieces.of(token_ids[:end]), self._opener):
            return Split(end, "nested")
        return Split(end, "whole" if ended else "cut_answer")

    @staticmethod
    def _in(text: str, *patterns: str) -> bool:
        return any(pattern and pattern in text for pattern in patterns)

    def beyond_closer(self, token_ids: Sequence[int], n_reasoning: int) -> str:
        """What the token that ends the reasoning spells of the answer, as ``pieces`` spell it; mostly nothing."""
        found = found_at(self.pieces, token_ids[:n_reasoning], self._closer)
        return "" if found is None else found[1]

    def answer_text(self, token_ids: Sequence[int], n_reasoning: int) -> str | None:
        """Return the answer's text without control tokens; None if no answer opened."""
        found = found_at(self.pieces, token_ids[:n_reasoning], self._closer)
        if found is None:
            return None
        answer, (_, beyond) = token_ids[n_reasoning:], found
        if beyond:  # the closing token spells some of the answer
            return text_of(beyond + self.pieces.of(answer))
        control = {*self.control_ids.values(), *self.model_ends}
        kept = [token for token in answer if token not in control]
        return str(self.tokenizer.decode(kept, skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def code(self, token_ids: Sequence[int], n_reasoning: int, entry_point: str | None = None) -> str | None:
        """Return the submission, ``extract_code`` of the answer; None if no answer opened, or if a stop string ended
        the turn before it could."""
        text = self.answer_text(token_ids, n_reasoning)
        stops = [pattern_of(stop, self.control_ids) for stop in self.code_rule.stop]
        if text is None or self._in(self.pieces.of(token_ids[:n_reasoning]), *stops):
            return None
        return extract_code(text, entry_point, self.code_rule)

    def _answer(self, answer: str) -> tuple[int, ...]:
        return (*self._encode(self.format.answer_lead + answer), self.end_ids[0])

    def _encode(self, text: str) -> tuple[int, ...]:
        return tuple(self.tokenizer.encode(text, add_special_tokens=False))


def bind(
    form: str | ChannelFormat,
    tokenizer: Any,
    *,
    system: str | None = None,
    ends: Sequence[int] = (),
    code_rule: CodeRule | None = None,
) -> Channels:
    """Bind a format, by name or declared, to ``tokenizer``. ``code_rule``: how submissions are read from answers.

    ``ends``: the tokens with which the model's configuration ends its turn (``checkpoints.ends``). They end it here
    too, except those that the format writes inside the model's turn.

    Raises InputError for an unknown name, for a system message if the format has none, and for a stop string within the
    closer, since no answer would ever open. Raises ModelError if the tokenizer lacks one of the format's control tokens
    (the model does not have that reasoning channel) or can't spell its tags.
    """
    form = named_format(form)
    if system is not None and not form.system:
        raise InputError(f"the format {form.name!r} has no system message: put {system[:40]!r} into the questions")
    rule = code_rule or CodeRule()
    if ending := [stop for stop in rule.stop if stop in form.closer]:
        raise InputError(
            f"the stop string {ending[0]!r} is in {form.closer!r}, which closes the reasoning of the format "
            f"{form.name!r}, so no answer would ever open: leave it out"
        )
    ids = {token: _control_id(form, token, tokenizer) for token in form.control}
    special = {str(token): int(i) for i, token in tokenizer.added_tokens_decoder.items() if token.special} | ids
    extra, ignored = sorted_ends(form, ids, ends, len(tokenizer))
    pieces = Pieces(tokenizer, [*special.values(), *extra])
    bound = Channels(form, tokenizer, system, ids, tuple(special), pieces, extra, ignored, rule)
    if bound.closed_at(bound.closer_ids) != len(bound.closer_ids):
        if taken := [token for token in special if token in form.closer and token not in form.control]:
            raise ModelError(_control_after_all(form, taken[0], tokenizer))
        raise ModelError(
            f"the tokenizer writes the closer {form.closer!r} of the format {form.name!r} as "
            f"{tokenizer.decode(list(bound.closer_ids))!r}: declare a closer that it can write"
        )
    return bound


def _control_after_all(form: ChannelFormat, token: str, tokenizer: Any) -> str:
    """Make the error for a closer that is text in the format but a control token of the tokenizer."""
    fitting = []
    for name, other in FORMATS.items():
        if token in other.control and token in other.closer:
            with suppress(ModelError):
                bind(other, tokenizer)
                fitting.append(name)
    choose = f"choose {', '.join(fitting)}, or" if fitting else "choose"
    return (
        f"{token!r} is a control token of this tokenizer, but text in the format {form.name!r}: {choose} auto "
        "(what its chat template writes), or declare a format that lists it in control"
    )


def named_format(form: str | ChannelFormat) -> ChannelFormat:
    """Return the format of that name, or a declared format unchanged. Raises InputError."""
    if isinstance(form, ChannelFormat):
        return form
    if form not in FORMATS:
        raise InputError(f"unknown chat format {form!r}: choose one of {', '.join(FORMATS)}, or declare one")
    return FORMATS[form]


def _control_id(form: ChannelFormat, token: str, tokenizer: Any) -> int:
    encoded = list(tokenizer.encode(token, add_special_tokens=False))
    if len(encoded) == 1 and tokenizer.convert_ids_to_tokens(encoded[0]) == token:
        return int(encoded[0])
    in_reasoning = any(token in text for text in (form.closer, form.opener))
    raise ModelError(
        f"the tokenizer has no token {token}, so the model "
        + ("has no reasoning channel in" if in_reasoning else "can't speak")
        + f" the format {form.name!r}; choose another model, or a format whose tags are text, such as chatml-think, "
        f"of {', '.join(FORMATS)}"
    )
