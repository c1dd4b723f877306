"""A format against the tokenizer's own chat template: do they write the same conversation?

A format that differs from what the model was trained on puts every completion off its distribution, silently.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from jinja2.exceptions import TemplateError, TemplateSyntaxError

from forewarn.errors import ModelError
from forewarn.models.channels.bound import Channels, bind
from forewarn.models.channels.formats import FORMATS, ChannelFormat

PROBE = "Return x + 1.\ndef solve(x):"
SYSTEM_KEY = "format.system"
"""the key of a study's file that holds the system message"""


@dataclass(frozen=True, slots=True)
class TemplateCheck:
    """A format held against the tokenizer's own template."""

    state: Literal["agrees", "differs", "none"]
    """agrees: the template writes our prompt, or all of it up to the opening of the reasoning; none: there is none"""
    exact: bool
    """the template writes our prompt, opening of the reasoning included"""
    own: str | None
    """what the template writes of a short question; None: nothing, or it refuses"""
    sentence: str
    """for the user: what differs and what to do about it; empty where it agrees"""


def has_template(tokenizer: Any) -> bool:
    return bool(getattr(tokenizer, "chat_template", None))


def check_template(channels: Channels) -> TemplateCheck:
    """Hold the prompt of a short question against the tokenizer's own rendering of it."""
    form, tokenizer = channels.format, channels.tokenizer
    if not has_template(tokenizer):
        return TemplateCheck(
            "none", False, None, f"the tokenizer has no chat template to hold the format {form.name!r} against"
        )
    turns = channels.turns(PROBE)
    ours = turns + form.open_reasoning
    own = _own(tokenizer, channels.system)
    # some templates write a system message of their own, which the study then holds as its system message
    for written in (own, _own(tokenizer, None)):
        if written is not None and len(written) > len(turns) and ours.startswith(written):
            return TemplateCheck("agrees", written == ours, written, "")
    if own is None:
        said = f"its chat template {_why_not(tokenizer, channels.system)}"
    elif channels.system is None and turns[len(form.start + form.no_system) :] in own:
        said = f"its chat template begins with a system message ({own[:160]!r}): give that as the study's {SYSTEM_KEY}"
    else:
        said = f"its chat template writes {own[:300]!r} where the format writes {ours[:300]!r}"
    return TemplateCheck("differs", False, own, f"the format {form.name!r} is not the tokenizer's own: {said}")


def detect_format(tokenizer: Any, *, system: str | None = None) -> ChannelFormat:
    """The format of ``FORMATS`` that the tokenizer's own template writes, one that opens the reasoning too if any.

    Raises ModelError where there is no template, or where it is none of ours.
    """
    if not has_template(tokenizer):
        raise ModelError(
            "the tokenizer has no chat template, so its format can't be told: "
            f"name one of {', '.join(FORMATS)}, or declare one"
        )
    fitting, near = [], ""
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
        elif SYSTEM_KEY in check.sentence:
            near = near or check.sentence
    if not fitting and _own(tokenizer, system) is None:
        raise ModelError(
            f"the tokenizer's chat template {_why_not(tokenizer, system)}, so its format can't be told: mend it, "
            f"or name one of {', '.join(FORMATS)}, or declare one"
        )
    if not fitting:
        raise ModelError(
            near
            or f"the tokenizer's chat template is none of {', '.join(FORMATS)}: it writes {_own(tokenizer, system)!r}; "
            "declare the format"
        )
    return fitting[0]


def _own(tokenizer: Any, system: str | None) -> str | None:
    """What the tokenizer's template writes of a short question; None where it can't."""
    try:
        return _rendered(tokenizer, system)
    except (TemplateError, TypeError, ValueError):
        return None


def _why_not(tokenizer: Any, system: str | None) -> str:
    """What a template does that writes nothing."""
    try:
        _rendered(tokenizer, system)
    except TemplateSyntaxError as error:
        return f"doesn't parse (line {error.lineno}: {error.message})"
    except (TemplateError, TypeError, ValueError) as error:
        with_system = "" if system is None else " with a system message"
        return f"refuses a plain question{with_system} ({' '.join(str(error).split())[:160]})"
    return "writes nothing that can be used"


def _rendered(tokenizer: Any, system: str | None) -> str:
    messages = [{"role": "user", "content": PROBE}]
    if system is not None:
        messages.insert(0, {"role": "system", "content": system})
    return str(
        tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, enable_thinking=True)
    )
