"""One prompt and one completion: what of a trainer's rollout is the model's one answer, and what is more than that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from forewarn.errors import InputError
from forewarn.formats.bound import Channels

ASKING = ("system", "developer", "user")
"""roles whose messages may stand before the answer"""
_TOOLS = ("tool_calls", "function_call")


def why_not_one_answer(completion: Any, prompt: Any = None) -> str | None:
    """Say why a rollout, in TRL's form, is a conversation with turns or tools; None where it is one answer to a prompt.

    ``completion``: text, or a list of messages; ``prompt``: the same, None where it is not known. Raises InputError for
    what is neither.
    """
    for message in _messages(prompt, "a prompt") if prompt is not None else ():
        if message.get("role") not in (*ASKING, None):
            return f"its prompt has a message of role {message.get('role')!r}"
    messages = _messages(completion, "a completion")
    if len(messages) > 1:
        return f"it has {len(messages)} messages"
    for message in messages:
        if message.get("role") not in ("assistant", None):
            return f"it is a message of role {message.get('role')!r}"
        if any(message.get(name) for name in _TOOLS):
            return "it calls a tool"
    return None


def _messages(value: Any, what: str) -> Sequence[Mapping[str, Any]]:
    if isinstance(value, str):
        return ()
    if isinstance(value, Sequence) and value and all(isinstance(one, Mapping) for one in value):
        return value
    raise InputError(f"{what} is {type(value).__name__}: give text, or a list of messages")


def answer_text(completion: Any) -> str:
    """The text of a completion in TRL's form, of messages the last one's. Raises InputError where there is none."""
    if isinstance(completion, str):
        return completion
    content: Any = completion[-1].get("content") or ""
    if isinstance(content, str):
        return content
    if isinstance(content, Sequence) and all(
        isinstance(p, Mapping) and isinstance(p.get("text"), str) for p in content
    ):
        return "".join(part["text"] for part in content)
    raise InputError(f"a message's content is {type(content).__name__}: give text, or a list of parts with a text each")


def turns_in(ids: Sequence[int], channels: Channels) -> int:
    """How many turns the tokens of a completion hold: 1 where nothing but padding follows the end of the first."""
    pad = channels.tokenizer.pad_token_id
    turns, ended = 1, False
    for token in ids:
        if token in channels.end_ids:
            ended = True
        elif ended and token != pad:
            turns, ended = turns + 1, False
    return turns
