"""The submission in an answer: which of its fenced blocks is the program.

A library finds the fences by CommonMark; HTML is ignored, so that a tag such as ``<answer>`` does not hide a block. Two
cases that CommonMark treats as text are also read as blocks, but only if the block would otherwise not be Python: a
fence attached to other words, and a block that the prompt opened. Text that can't be Python is left unchanged, and the
program then fails as it would have failed under the reward. This module only parses code and never runs it.
"""

from __future__ import annotations

import ast
import re
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Literal

from markdown_it import MarkdownIt

from forewarn.errors import InputError
from forewarn.records import content_key

READING = 1
"""version of the rules below; if it changes, submissions that were read before are read again"""
BYTE_ORDER_MARK = "\ufeff"
_LANGUAGE = re.compile(r"\{?[\s.]*([\w+#-]*)")
_PYTHON = re.compile(r"(python|py)([\d.]*|w)", re.IGNORECASE)
_TILDES = re.compile(r"(?<!~)~{3,}+")


@dataclass(frozen=True, slots=True)
class CodeRule:
    """How a submission is read from an answer. Use the rule of the reward, so that its program is the one judged.

    Raises InputError for an empty stop string.
    """

    block: Literal["last", "first"] = "last"
    """which of several blocks that could be the program"""
    stop: tuple[str, ...] = ()
    """strings that ended a completion when it was rewarded: the text is read only up to the first of them"""

    def __post_init__(self) -> None:
        if self.block not in ("last", "first"):
            raise InputError(f"block is {self.block!r}: give 'last' or 'first'")
        if "" in self.stop:
            raise InputError(f"stop = {list(self.stop)} contains an empty text, which ends every answer: leave it out")

    @property
    def key(self) -> str:
        """The key of everything that the reading of an answer depends on."""
        return content_key("reading", READING, self.block, self.stop)


@dataclass(frozen=True)
class _Block:
    """A fenced block. ``info``: the text after its opening fence."""

    info: str
    content: str

    @cached_property
    def language(self) -> str:
        found = _LANGUAGE.match(self.info.strip())
        return found.group(1) if found else ""

    @property
    def is_python(self) -> bool:
        return bool(_PYTHON.fullmatch(self.language))

    @property
    def may_be_python(self) -> bool:
        return not self.language or self.is_python

    @cached_property
    def tree(self) -> ast.Module | None:
        return _parsed(self.content)

    def defines(self, name: str) -> bool:
        """Return whether the block defines the entry point. If it doesn't parse, a line that looks like the definition
        is enough, since a last attempt with a syntax error is still the answer."""
        if self.tree is not None:
            return name in _names(self.tree.body)
        said = rf"^[ \t]*(?:(?:async[ \t]+)?def[ \t]+{re.escape(name)}[ \t]*\(|{re.escape(name)}[ \t]*=[^=])"
        return self.may_be_python and re.search(said, self.content, re.MULTILINE) is not None


def extract_code(text: str, entry_point: str | None = None, rule: CodeRule | None = None) -> str:
    """Return the submission in an answer.

    An answer that is Python as a whole is taken whole. Otherwise it is the last block (or the first, depending on
    ``rule``) that defines ``entry_point`` (any function, if the name is unknown); else the last one marked as Python;
    else the last one without a language that parses; else the last one without a language; else the whole text. An
    unclosed fence ends with the answer. White space around the whole text and a byte order mark are left out.
    """
    rule = rule or CodeRule()
    for stop in rule.stop:
        text = text.partition(stop)[0]
    text = text.removeprefix(BYTE_ORDER_MARK)
    whole = _Block("", text.strip())
    blocks = [block for block in _fenced(text) if block.content.strip()]
    if not blocks and "```" not in text and "~~~" not in text:
        return whole.content
    if whole.tree is not None and (entry_point is None or whole.defines(entry_point)):
        return whole.content
    ordered = blocks[::-1] if rule.block == "last" else blocks
    chosen = _chosen(ordered, entry_point)
    if chosen is None or chosen.tree is None:
        loose = _loosely(text if chosen is None else f"```\n{chosen.content}", rule, entry_point)
        chosen = loose or _opened_before(text, entry_point) or chosen
    return (chosen or whole).content


def _chosen(ordered: Sequence[_Block], entry_point: str | None) -> _Block | None:
    """Return the first block that is most likely the program."""
    if entry_point is None:  # a block that calls a function, or shows its output, is not the program
        kinds = [[block for block in ordered if block.tree is not None and _functions(block.tree)]]
    else:
        kinds = [[block for block in ordered if block.defines(entry_point)]]
    kinds.append([block for block in ordered if block.is_python])
    plain = [block for block in ordered if not block.language]
    kinds += [[block for block in plain if block.tree is not None], plain]
    return next((blocks[0] for blocks in kinds if blocks), None)


def _fenced(text: str) -> list[_Block]:
    """Return the fenced blocks of Markdown, in order, however deeply they are nested."""
    found = _markdown().parse(_lines(text))
    return [_Block(token.info, _unmarked(token.content)) for token in found if token.type == "fence"]


@lru_cache(maxsize=1)
def _markdown() -> MarkdownIt:
    """Make a parser for blocks only. It keeps NUL as it is, since Python source can't contain it."""
    return MarkdownIt("commonmark").disable(["normalize", "inline", "text_join", "html_block", "reference"])


def _loosely(text: str, rule: CodeRule, entry_point: str | None) -> _Block | None:
    """Return the block between fences attached to other words, if it is Python and defines the entry point."""
    found = [_Block("", _unmarked(textwrap.dedent(content))) for content in _between_fences(_lines(text))]
    found = [block for block in found if block.content.strip() and block.tree is not None]
    if entry_point is not None:
        found = [block for block in found if block.defines(entry_point)]
    return found[-1 if rule.block == "last" else 0] if found else None


def _between_fences(text: str) -> Iterator[str]:
    """Yield the text between a fence, wherever it is in its line, and its next occurrence or the end.

    It takes linear time. A regular expression would search the rest of a line from each fence in it.
    """
    at = 0
    while (opened := _next_fence(text, at)) is not None:
        fence, start = opened
        end = text.find(fence, start)
        yield text[start:] if end < 0 else text[start:end]
        if end < 0:
            return
        at = end + len(fence)


def _next_fence(text: str, at: int) -> tuple[str, int] | None:
    """Return the first fence from ``at`` on without a backtick after it in its line, and where the next line begins."""
    while (end := text.find("\n", at)) >= 0:
        last = text.rfind("`", at, end) + 1
        first = at + len(text[at:last].rstrip("`"))
        if last - first >= 3 and text[first - 1 : first] != "`":
            return text[first:last], end + 1
        found = _TILDES.search(text, last or at, end)
        if found is not None:
            return found.group(), end + 1
        at = end + 1
    return None


def _opened_before(text: str, entry_point: str | None) -> _Block | None:
    """Return the text before the first fence, if the prompt opened the block that this fence closes."""
    before = _Block("", re.split("`{3,}|~{3,}", _lines(text), maxsplit=1)[0])
    if before.tree is None:
        return None
    return before if (before.defines(entry_point) if entry_point else _functions(before.tree)) else None


def _lines(text: str) -> str:
    return re.sub("\r\n?", "\n", text)


def _unmarked(content: str) -> str:
    return content.removeprefix(BYTE_ORDER_MARK)


def _parsed(source: str) -> ast.Module | None:
    """Return the tree of Python source; None for anything else."""
    try:
        with warnings.catch_warnings():  # about escapes and the like, which concern only the submission
            warnings.simplefilter("ignore")
            return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _functions(tree: ast.Module) -> bool:
    """Return whether a function or a class is defined at module level."""
    return any(isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) for node in tree.body)


def _names(body: Sequence[ast.stmt]) -> set[str]:
    """Yield the module-level definitions, including those under ``if``, ``try``, ``with`` and loops."""
    names: set[str] = set()
    left: list[ast.AST] = list(body)
    while left:
        node = left.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names.update(alias.asname or alias.name for alias in node.names)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif not isinstance(node, (ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)):
            left += ast.iter_child_nodes(node)
    return names
