"""The submission in an answer: which of its fenced blocks is the program.

Fences are CommonMark's, found by a library; HTML is not looked at, so that a tag such as ``<answer>`` hides no block.
Two things that CommonMark leaves to the text are read as they are meant, and only where the block is no Python without
it: a fence glued to other words, and a block that the prompt had opened. Everything that can't be Python stays what it
is: the program then fails, as it would have failed under the reward. Nothing is run here, only parsed.
"""

from __future__ import annotations

import ast
import re
import textwrap
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Literal

from markdown_it import MarkdownIt

from forewarn.errors import InputError
from forewarn.records import content_key

READING = 1
"""goes up when the rules below change: submissions that were read before are then read again"""
BYTE_ORDER_MARK = "\ufeff"
_LANGUAGE = re.compile(r"\{?[\s.]*([\w+#-]*)")
_PYTHON = re.compile(r"(python|py)([\d.]*|w)", re.IGNORECASE)
_LOOSE = re.compile(r"(?P<fence>(?<!`)`{3,}+|(?<!~)~{3,}+)[^\n`]*\n(?P<content>.*?)(?:(?P=fence)|\Z)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class CodeRule:
    """How a submission is read off an answer. Give what the reward used, so that what is judged is what was rewarded.

    Raises InputError for an empty stop string.
    """

    block: Literal["last", "first"] = "last"
    """of several blocks that could be the program"""
    stop: tuple[str, ...] = ()
    """strings that ended a completion when it was rewarded: nothing from the first of them on is read"""

    def __post_init__(self) -> None:
        if self.block not in ("last", "first"):
            raise InputError(f"block is {self.block!r}: give 'last' or 'first'")
        if "" in self.stop:
            raise InputError(f"stop = {list(self.stop)} holds an empty text, which ends every answer: leave it out")

    @property
    def key(self) -> str:
        """Of everything that the reading of an answer depends on."""
        return content_key("reading", READING, self.block, self.stop)


@dataclass(frozen=True)
class _Block:
    """A fenced block. ``info``: what stands behind its fence."""

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
        """Whether the block defines the entry point. One that doesn't parse does so if a line of it says it does: a
        last attempt with a slip in it is the answer all the same."""
        if self.tree is not None:
            return name in _names(self.tree.body)
        said = rf"^[ \t]*(?:(?:async[ \t]+)?def[ \t]+{re.escape(name)}[ \t]*\(|{re.escape(name)}[ \t]*=[^=])"
        return self.may_be_python and re.search(said, self.content, re.MULTILINE) is not None


def extract_code(text: str, entry_point: str | None = None, rule: CodeRule | None = None) -> str:
    """The submission in an answer.

    An answer that is Python as a whole is taken whole. Otherwise it is the last block (or the first, as ``rule`` has
    it) that defines ``entry_point`` (any function, where the name isn't known); else the last that is marked as
    Python; else the last without a language that parses; else the last without a language; else the whole text. An
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
    """The first that is most surely the program."""
    if entry_point is None:  # what calls a function, or shows its output, is not the program
        kinds = [[block for block in ordered if block.tree is not None and _functions(block.tree)]]
    else:
        kinds = [[block for block in ordered if block.defines(entry_point)]]
    kinds.append([block for block in ordered if block.is_python])
    plain = [block for block in ordered if not block.language]
    kinds += [[block for block in plain if block.tree is not None], plain]
    return next((blocks[0] for blocks in kinds if blocks), None)


def _fenced(text: str) -> list[_Block]:
    """The fenced blocks of Markdown, in order, wherever they are nested."""
    found = _markdown().parse(_lines(text))
    return [_Block(token.info, _unmarked(token.content)) for token in found if token.type == "fence"]


@lru_cache(maxsize=1)
def _markdown() -> MarkdownIt:
    """Blocks alone. NUL stays what it is, which no Python source holds."""
    return MarkdownIt("commonmark").disable(["normalize", "inline", "text_join", "html_block", "reference"])


def _loosely(text: str, rule: CodeRule, entry_point: str | None) -> _Block | None:
    """The block between fences that are glued to other words, if it is Python and defines the entry point."""
    found = [_Block("", _unmarked(textwrap.dedent(match.group("content")))) for match in _LOOSE.finditer(_lines(text))]
    found = [block for block in found if block.content.strip() and block.tree is not None]
    if entry_point is not None:
        found = [block for block in found if block.defines(entry_point)]
    return found[-1 if rule.block == "last" else 0] if found else None


def _opened_before(text: str, entry_point: str | None) -> _Block | None:
    """What stands before the first fence, where the prompt had opened the block that this fence closes."""
    before = _Block("", re.split("`{3,}|~{3,}", _lines(text), maxsplit=1)[0])
    if before.tree is None:
        return None
    return before if (before.defines(entry_point) if entry_point else _functions(before.tree)) else None


def _lines(text: str) -> str:
    return re.sub("\r\n?", "\n", text)


def _unmarked(content: str) -> str:
    return content.removeprefix(BYTE_ORDER_MARK)


def _parsed(source: str) -> ast.Module | None:
    """The tree of Python source; None for anything else."""
    try:
        with warnings.catch_warnings():  # of escapes and the like: the submission's own affair
            warnings.simplefilter("ignore")
            return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _functions(tree: ast.Module) -> bool:
    """Whether a function or a class is defined at module level."""
    return any(isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) for node in tree.body)


def _names(body: Sequence[ast.stmt]) -> set[str]:
    """What statements at module level define, those under ``if``, ``try``, ``with`` and loops included."""
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
