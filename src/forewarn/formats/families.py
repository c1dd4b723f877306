"""The chat formats as data. A new one is an entry of ``FORMATS``, or a table in a study's file.

Sources: each family's own documentation of its prompt format; tests compare the renderings with the official renderers
that can be installed. Not here: ids (``bound.py``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from forewarn.errors import InputError

_SLOT = re.compile(r"\{(question|system)\}")


@dataclass(frozen=True, slots=True)
class ChannelFormat:
    """How one family of models writes a conversation. Control tokens appear in the strings as they are spelt.

    Tags that are not control tokens are text, of one or several tokens. Raises InputError if the strings contradict
    each other.
    """

    name: str
    turn: str
    """the user's turn, with ``{question}``; with ``{system}`` if the system message is inside it"""
    system: str
    """how a system message is written, with ``{system}``; empty: the format has none"""
    open_reasoning: str
    """the text from the user's turn to the first reasoning token"""
    closer: str
    """the text that ends the reasoning and opens the answer; part of the reasoning"""
    no_reasoning: str
    """the text from the user's turn to the first answer token, without reasoning"""
    end_of_turn: tuple[str, ...]
    """single tokens that end the model's turn; the first is the one rendered"""
    control: tuple[str, ...]
    """every control token: each must be one id of the tokenizer, and must not occur in a question"""
    start: str = ""
    """the text at the beginning of every conversation"""
    no_system: str = ""
    """the text that replaces a missing system message"""
    opener: str = ""
    """the text that opens a reasoning channel; a completion that contains it is a named case. Empty: not searched"""
    answer_lead: str = ""
    """the text that a model of this family writes between ``closer`` and its answer, also in training forms"""

    def __post_init__(self) -> None:
        def refuse(field: str, why: str) -> InputError:
            return InputError(f"format {self.name!r}, {field} = {getattr(self, field)!r}: {why}")

        if self.turn.count("{question}") != 1:
            raise refuse("turn", "give the user's turn with {question} once in it")
        if self.system and self.system.count("{system}") != 1:
            raise refuse("system", "give {system} once in it, or leave it empty for a format without a system message")
        if not self.closer.strip():
            raise refuse("closer", "give the text or token that ends the reasoning")
        if self.closer in self.open_reasoning:
            raise refuse("open_reasoning", f"it contains the closer {self.closer!r}, so the reasoning would be over")
        if not self.end_of_turn:
            raise refuse("end_of_turn", "give at least one token that ends the model's turn")
        for token in self.end_of_turn:
            if token not in self.control:
                raise refuse("end_of_turn", f"list {token!r} among the control tokens too")
            if token in self.closer:
                raise refuse("closer", f"{token!r} ends the turn, so no answer could follow: give a closer without it")

    def turns(self, question: str, system: str | None) -> str:
        """Return everything before the model's own turn."""
        written = self.no_system if system is None else self.system.replace("{system}", system)
        inside = "{system}" in self.turn
        slots = {"question": question, "system": written}
        # one pass over the template, so that a question may contain braces
        turn = _SLOT.sub(lambda found: slots[found.group(1)], self.turn)
        return self.start + ("" if inside else written) + turn


_IM = ("<|im_start|>", "<|im_end|>")
_DEEPSEEK = ("<｜begin▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>", "<｜end▁of▁sentence｜>")
_THINK = ("<think>", "</think>")


def _chatml(name: str, **other: object) -> ChannelFormat:
    parts: dict[str, object] = {
        "turn": "<|im_start|>user\n{question}<|im_end|>\n",
        "system": "<|im_start|>system\n{system}<|im_end|>\n",
        "closer": "</think>",
        "opener": "<think>",
        "end_of_turn": ("<|im_end|>",),
        "control": _IM,
    }
    return ChannelFormat(name=name, **{**parts, **other})  # type: ignore[arg-type]


def _deepseek(name: str, open_reasoning: str, no_reasoning: str, answer_lead: str) -> ChannelFormat:
    return ChannelFormat(
        name=name,
        start="<｜begin▁of▁sentence｜>",
        turn="<｜User｜>{question}",
        system="{system}",
        open_reasoning=open_reasoning,
        closer="</think>",
        no_reasoning=no_reasoning,
        end_of_turn=("<｜end▁of▁sentence｜>",),
        control=(*_DEEPSEEK, *_THINK),
        opener="<think>",
        answer_lead=answer_lead,
    )


FORMATS: dict[str, ChannelFormat] = {
    "harmony": ChannelFormat(
        name="harmony",
        turn="<|start|>user<|message|>{question}<|end|>",
        system="<|start|>system<|message|>{system}<|end|>",
        open_reasoning="<|start|>assistant<|channel|>analysis<|message|>",
        closer="<|end|><|start|>assistant<|channel|>final<|message|>",
        no_reasoning="<|start|>assistant<|channel|>final<|message|>",
        end_of_turn=("<|return|>", "<|call|>"),
        control=("<|start|>", "<|end|>", "<|message|>", "<|channel|>", "<|return|>", "<|call|>"),
        opener="<|channel|>analysis",
    ),
    # The template writes "</think>\n\n"; a checkpoint may write something else after the closing token, so that the
    # token alone is the closer and the blank line belongs to the answer.
    "qwen3": _chatml(
        "qwen3",
        open_reasoning="<|im_start|>assistant\n<think>\n",
        no_reasoning="<|im_start|>assistant\n<think>\n\n</think>",
        answer_lead="\n\n",
        end_of_turn=("<|im_end|>", "<|endoftext|>"),
        control=(*_IM, *_THINK, "<|endoftext|>"),
    ),
    "deepseek": _deepseek("deepseek", "<｜Assistant｜><think>", "<｜Assistant｜></think>", ""),
    "deepseek-r1": _deepseek("deepseek-r1", "<｜Assistant｜><think>\n", "<｜Assistant｜><think>\n\n</think>", "\n\n"),
    "gemma4": ChannelFormat(
        name="gemma4",
        start="<bos>",
        turn="<|turn>user\n{question}<turn|>\n",
        system="<|turn>system\n<|think|>\n{system}<turn|>\n",
        no_system="<|turn>system\n<|think|>\n<turn|>\n",
        open_reasoning="<|turn>model\n<|channel>thought\n",
        closer="<channel|>",
        no_reasoning="<|turn>model\n<|channel>thought\n<channel|>",
        end_of_turn=("<turn|>", "<eos>"),
        control=("<bos>", "<eos>", "<|turn>", "<turn|>", "<|think|>", "<|channel>", "<channel|>"),
        opener="<|channel>thought",
    ),
    # For models without a reasoning channel of their own, the tags are text: any ChatML model, any Gemma up to 3.
    "chatml-think": _chatml(
        "chatml-think",
        open_reasoning="<|im_start|>assistant\n<think>\n",
        no_reasoning="<|im_start|>assistant\n<think>\n</think>",
        answer_lead="\n",
    ),
    "gemma-think": ChannelFormat(
        name="gemma-think",
        start="<bos>",
        turn="<start_of_turn>user\n{system}{question}<end_of_turn>\n",
        system="{system}\n\n",
        open_reasoning="<start_of_turn>model\n<think>\n",
        closer="</think>",
        no_reasoning="<start_of_turn>model\n<think>\n</think>",
        end_of_turn=("<end_of_turn>", "<eos>"),
        control=("<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>"),
        opener="<think>",
        answer_lead="\n",
    ),
    # the bundled organism's: think tokens and nothing between them and the text
    "plain-think": _chatml(
        "plain-think",
        open_reasoning="<|im_start|>assistant\n<think>",
        no_reasoning="<|im_start|>assistant\n</think>",
        control=(*_IM, *_THINK),
    ),
}
"""name -> format; where a tokenizer's own template fits several, the first is taken"""
