"""Anchors: seen by the tokens before them alone, and where a reader of the text would put them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forewarn.errors import InputError
from forewarn.formats import Channels, anchor_ids, anchor_starts
from forewarn.formats.pieces import text_of
from forewarn.records.spans import ANCHORS, Anchor
from tests.formats.test_text_closers import straddling

ANSWER = "Here:\n```python\nimport re\ndef f(x: int = (1), *, y='a)') -> dict[str, int]:\n    return {x: y}\n```\n"


def ids_of(channels: Channels, text: str) -> list[int]:
    return list(channels.tokenizer.encode(text, add_special_tokens=False))


def rest(channels: Channels, ids: list[int], start: int) -> str:
    return text_of(channels.pieces.of(ids[start:]))


def starts_in(text: str, anchor: Anchor, entry_point: str | None = "f") -> list[str]:
    """What is left of the text behind each start."""
    channels = straddling()
    ids = ids_of(channels, text)
    starts = anchor_starts(channels, ids, channels.closed_at(ids), anchor, entry_point)
    return [rest(channels, ids, start) for start in starts]


def test_code_is_behind_the_line_that_opens_the_first_block() -> None:
    [left] = starts_in("hm\n```\nno\n</think>" + ANSWER + ANSWER, "code")
    assert (ANSWER + ANSWER).partition("```python\n")[2].startswith(left)
    assert left.startswith(("import re", "mport re", "port re")), "the token that ends the line may hold more"


def test_a_body_is_behind_the_colon_of_its_header() -> None:
    [left] = starts_in("def f(x):\n</think>def ff(x): 1\n" + ANSWER, "body")
    assert "    return {x: y}\n```\n".endswith(left.lstrip("\n"))
    assert "return" in left
    assert starts_in("</think>" + ANSWER, "body", "g") == []
    assert starts_in("</think>def f(x", "body") == []
    assert starts_in("</think>def f(x: int", "body") == []
    assert len(starts_in("</think>async def  f (x:int): pass", "body")) == 1


def test_lines_begin_in_both_channels() -> None:
    lefts = starts_in("a b\nc</think>d\n\ne", "line")
    assert lefts[0] == "a b\nc</think>d\n\ne"
    assert lefts[-1] in ("", "e")
    assert any(left.startswith("d\n\ne") for left in lefts)


def test_nothing_is_anchored_in_an_answer_that_never_opens() -> None:
    assert starts_in("def f(x): 1\n```\nx", "body") == starts_in("def f(x): 1\n```\nx", "code") == []


@given(st.data())
@settings(max_examples=150)
def test_a_start_is_a_function_of_the_tokens_before(data: st.DataObject) -> None:
    channels = straddling()
    texts = st.sampled_from(["\n", "```py\n", "def f(", "a:", "):", "[1:2]", "</think>", "~~~", "x"])
    ids = ids_of(channels, "".join(data.draw(st.lists(texts, max_size=14))))
    for anchor in ANCHORS:
        whole = anchor_starts(channels, ids, channels.closed_at(ids), anchor, "f")
        assert list(whole) == sorted(set(whole))
        stops = set(anchor_ids(channels, anchor))
        for n in range(len(ids) + 1):
            closed = channels.closed_at(ids[:n])
            seen = anchor_starts(channels, ids[:n], closed, anchor, "f")
            assert [at for at in whole if at <= n] == list(seen)
            opens = {0, closed}
            assert n not in seen or n in opens or ids[n - 1] in stops, "a writer stops where a count may start"


def test_a_body_needs_an_entry_point() -> None:
    with pytest.raises(InputError, match="'body' needs the problem's entry point"):
        anchor_starts(straddling(), [5], None, "body")
