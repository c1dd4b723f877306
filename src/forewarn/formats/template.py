"""Compares a format with the tokenizer's own chat template: do they write the same conversation?

A format other than the one that the model was trained on silently puts every completion off its distribution.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from forewarn.errors import ModelError
from forewarn.formats.bound import Channels, bind
from forewarn.formats.families import FORMATS, ChannelFormat
from forewarn.formats.rendering import Rendering, renderings, why_not

PROBE = "Return x + 1.\ndef solve(x):"
SYSTEM_KEY = "format.system"
"""the key of a study's file for the system message"""
_STUDYS_SYSTEM = f"the study's {SYSTEM_KEY}"


@dataclass(frozen=True, slots=True)
class TemplateCheck:
    """A format compared with the tokenizer's own template."""

    state: Literal["agrees", "differs", "none"]
    """agrees: the template writes the format's prompt, or all of it up to the opening of the reasoning; none: the
    tokenizer has no template"""
    exact: bool
    """the template writes the format's prompt, including the opening of the reasoning"""
    own: str | None
    """the template's text for a short question; None: nothing, or it refuses"""
    sentence: str
    """for the user: what differs and what to do about it; empty if it agrees"""
    near: bool = False
    """the user's turn is the template's; the text before or after it differs"""


def has_template(tokenizer: Any) -> bool:
    return bool(getattr(tokenizer, "chat_template", None))


def check_template(channels: Channels) -> TemplateCheck:
    """Compare the prompt of a short question with the tokenizer's own renderings of it."""
    form, tokenizer = channels.format, channels.tokenizer
    if not has_template(tokenizer):
        return TemplateCheck(
            "none", False, None, f"the tokenizer has no chat template to compare the format {form.name!r} with"
        )
    turns = channels.turns(PROBE)
    ours = turns + form.open_reasoning
    own = renderings(tokenizer, PROBE, channels.system)
    # some templates write a system message of their own, which the study then repeats as its own
    without = () if channels.system is None else renderings(tokenizer, PROBE, None)
    fitting = [r.text for r in (*own, *without) if len(r.text) > len(turns) and ours.startswith(r.text)]
    if fitting:
        longest = max(fitting, key=len)
        return TemplateCheck("agrees", longest == ours, longest, "")
    if not own:
        said, near = f"its chat template {why_not(tokenizer, PROBE, channels.system)}", False
    else:
        said, near = _difference(channels, own, turns, ours)
    sentence = f"the format {form.name!r} is not the tokenizer's own: {said}"
    return TemplateCheck("differs", False, own[0].text if own else None, sentence, near)


def _difference(channels: Channels, own: Sequence[Rendering], turns: str, ours: str) -> tuple[str, bool]:
    """Return what the template writes differently, and whether only the conversation's beginning or end differs."""
    if channels.system is None:
        for rendering in own:
            if system := _system_of(channels.format, rendering.text, turns):
                return (
                    f"{rendering.said} begins with a system message: give that, {system!r}, as {_STUDYS_SYSTEM}",
                    True,
                )
    nearest = max(own, key=lambda rendering: _shared(rendering.text, ours))
    if nearest.text == turns:
        return f"{nearest.said} ends with the question and does not open the model's turn", True
    if nearest.text.startswith(turns):
        after, opening = nearest.text[len(turns) :], ours[len(turns) :]
        return f"after the question {nearest.said} writes {after[:300]!r} where the format writes {opening!r}", True
    return f"{nearest.said} writes {nearest.text[:300]!r} where the format writes {ours[:300]!r}", False


def _shared(a: str, b: str) -> int:
    """Return the length of the common beginning, characters."""
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def _system_of(form: ChannelFormat, own: str, turns: str) -> str | None:
    """Return the template's own system message, if the format with it would write the template's text."""
    before, found, after = own.partition(turns[len(form.start + form.no_system) :])
    head, slot, tail = (form.start + form.system).partition("{system}")
    inside = "{system}" in form.turn
    if not found or not slot or inside or not (before.startswith(head) and before.endswith(tail)):
        return None
    fits = bool(after) and form.open_reasoning.startswith(after)
    return before[len(head) : len(before) - len(tail)] if fits and len(before) > len(head + tail) else None


def detect_format(tokenizer: Any, *, system: str | None = None) -> ChannelFormat:
    """Return the format of ``FORMATS`` that the tokenizer's own template writes, preferably one that opens reasoning.

    Raises ModelError if there is no template, or if it matches none of the formats.
    """
    if not has_template(tokenizer):
        raise ModelError(
            "the tokenizer has no chat template, so its format can't be found: "
            f"name one of {', '.join(FORMATS)}, or declare one"
        )
    fitting, near = [], []
    for form in FORMATS.values():
        if system is not None and not form.system:
            continue
        try:
            check = check_template(bind(form, tokenizer, system=system))
        except ModelError:  # lacks a control token
            continue
        if check.exact:
            return form
        if check.state == "agrees":
            fitting.append(form)
        elif check.near:
            near.append(check.sentence)
    own = renderings(tokenizer, PROBE, system)
    if not fitting and not own:
        raise ModelError(
            f"the tokenizer's chat template {why_not(tokenizer, PROBE, system)}, so its format can't be found: fix it, "
            f"or name one of {', '.join(FORMATS)}, or declare one"
        )
    if not fitting:
        # a format that lacks only a system message is preferred to one with a different ending
        near.sort(key=lambda sentence: SYSTEM_KEY not in sentence)
        raise ModelError(
            near[0]
            if near
            else f"the tokenizer's chat template matches none of {', '.join(FORMATS)}: it writes {own[0].text!r}; "
            "declare the format"
        )
    return fitting[0]
