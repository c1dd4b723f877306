"""What a tokenizer's own chat template writes, with and without its switches for reasoning.

Templates are programs written by a model's authors: they may refuse, break, or need settings that were not given. Not
here: how the texts are used (``template.py``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jinja2.exceptions import TemplateError, TemplateSyntaxError

_SWITCH = re.compile(r"(?:(?:enable|use|with|is|do|add)_)?(?:thinking|think|reasoning)(?:_(?:enabled|on|mode_on))?")
_NAME = re.compile(r"[A-Za-z_]\w*")
USUAL_SWITCHES = ("enable_thinking", "thinking")
"""template variables that switch reasoning on; DeepSeek's and Granite's templates use the second"""
_BROKEN = (TemplateError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError, RecursionError)
"""exceptions of a template that refuses a conversation or is wrong"""


@dataclass(frozen=True, slots=True)
class Rendering:
    """A conversation as the template writes it."""

    text: str
    switches: tuple[str, ...] = ()
    """the switches that had to be turned on; empty: the template writes it without any"""

    @property
    def said(self) -> str:
        """Words for the template in a sentence about it."""
        return f"its chat template with {' and '.join(self.switches)} on" if self.switches else "its chat template"


def renderings(tokenizer: Any, question: str, system: str | None) -> tuple[Rendering, ...]:
    """Return the template's different texts for a question, up to the model's own turn: without switches, with every
    switch for reasoning on, and with each one alone. Empty if it writes nothing."""
    names = switches(tokenizer)
    found: dict[str, Rendering] = {}
    for on in ((), names, *((name,) for name in names)):
        try:
            text = _rendered(tokenizer, question, system, dict.fromkeys(on, True))
        except _BROKEN:
            continue
        found.setdefault(text, Rendering(text, on))
    return tuple(found.values())


def why_not(tokenizer: Any, question: str, system: str | None) -> str:
    """Say why a template writes nothing."""
    try:
        _rendered(tokenizer, question, system, {})
    except TemplateSyntaxError as error:
        return f"doesn't parse (line {error.lineno}: {error.message})"
    except _BROKEN as error:
        with_system = "" if system is None else " with a system message"
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        return f"refuses a plain question{with_system} ({reason})"
    return "writes nothing that can be used"


def switches(tokenizer: Any) -> tuple[str, ...]:
    """Return the names of the template's switches for reasoning."""
    template = getattr(tokenizer, "chat_template", None)
    texts = template.values() if isinstance(template, Mapping) else [template or ""]
    names = {name for text in texts for name in _NAME.findall(str(text)) if _SWITCH.fullmatch(name)}
    return (*(name for name in USUAL_SWITCHES if name in names), *sorted(names - set(USUAL_SWITCHES)))


def _rendered(tokenizer: Any, question: str, system: str | None, settings: dict[str, bool]) -> str:
    messages = [{"role": "user", "content": question}]
    if system is not None:
        messages.insert(0, {"role": "system", "content": system})
    return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, **settings))
