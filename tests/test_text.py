"""What is shown is text: no control, format or hidden character is left, ordinary words of any script are."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forewarn import errors
from forewarn.errors import ForewarnError, InputError
from forewarn.text import markdown, one_line, printable, printable_lines

HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
any_text = st.text(st.characters(exclude_categories=()))  # surrogates, too


@given(any_text)
def test_what_is_printable_is_visible_and_stays_so(text: str) -> None:
    shown = printable(text)
    assert not {unicodedata.category(character) for character in shown} & HIDDEN
    assert printable(shown) == shown
    assert len(shown.splitlines()) <= 1
    shown.encode()


@given(any_text)
def test_lines_stay_lines(text: str) -> None:
    assert printable_lines(text).split("\n") == [printable_lines(line) for line in text.split("\n")]
    assert printable_lines(text).replace("\n", r"\x0a").replace("\t", r"\x09") == printable(text)


@given(any_text)
def test_one_line_is_short_and_keeps_what_fits(text: str) -> None:
    line = one_line(text)
    assert len(line) <= 300
    assert one_line(line) == line.strip() or len(line) == 300
    assert printable(line) == line


@pytest.mark.parametrize(
    "text", ["Grüße", "数学", "नमस्ते", "שלום", "é", "a\u0301", "→ ≤ 1", "🙂", "☺\ufe0f", "한글", "a\\x1b"]
)
def test_ordinary_words_stay(text: str) -> None:
    assert printable(text) == one_line(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2K\rlabel solved", r"\x1b[2K\x0dlabel solved"),
        ("\x9b31m", r"\x9b31m"),
        ("a\nb\x7f", r"a\x0ab\x7f"),
        ("\u202eevlos\u2069", r"\u202eevlos\u2069"),
        ("a\u200bb\u2028c", r"a\u200bb\u2028c"),
        ("\ud800\ue000", r"\ud800\ue000"),
        ("\U000e0041", r"\U000e0041"),
        ("no" + "\u2800" * 2 + "secure accepts", r"no\u2800\u2800secure accepts"),
        ("\u3164\u115f\uffa0", r"\u3164\u115f\uffa0"),
        ("a\u034f\ufe00\U000e0100", r"a\u034f\ufe00\U000e0100"),
    ],
)
def test_what_acts_is_shown_as_an_escape(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_marks_stand_on_a_letter_and_in_no_pile() -> None:
    stroke = "\u0336"
    assert printable(f"a{stroke}b") == f"a{stroke}b"
    assert printable(f"a{stroke * 4}b") == f"a{stroke * 4}b"
    assert printable(f"a{stroke * 300}b") == f"a{stroke * 4}" + "\\u0336" * 296 + "b"
    assert printable(f"{stroke}a {stroke}\u20dd") == "\\u0336a \\u0336\\u20dd"  # they would stand on what is ours
    assert printable("\u05e9\u05c1\u05b8\u05dc\u05d5\u05b9\u05dd") == "\u05e9\u05c1\u05b8\u05dc\u05d5\u05b9\u05dd"


@pytest.mark.parametrize("blank", ["\U0001d159", "\u303f", "\U00016fe4", "\u2800"])
def test_no_sign_is_an_empty_place(blank: str) -> None:
    assert printable(f"a{blank * 70}label").isascii()


def test_markdown_shows_text_as_it_is() -> None:
    assert markdown("a|b `c` [d](e) <f> & *g* \\") == r"a\|b \`c\` \[d](e) &lt;f&gt; &amp; \*g\* " + "\\\\"
    assert markdown("snake_case 1.5") == "snake_case 1.5"


def test_every_error_of_ours_is_printable() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, ForewarnError)]
    assert len(kinds) > 5
    for kind in kinds:
        error = kind("a", "b\x1b") if kind is errors.MissingExtraError else kind("bad name '\x1b[1m'\nnext")
        assert "\x1b" not in str(error)
    assert str(InputError("x\ny")) == "x\ny"
