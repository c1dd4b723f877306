"""Which part of an answer is the program: rows of what models write, each with the program that it holds."""

from __future__ import annotations

import time

import pytest

from forewarn.errors import InputError
from forewarn.formats import CodeRule, extract_code

PROGRAM = "def area(w, h):\n    return w * h\n"
INDENTED = "   def area(w, h):\n       return w * h\n"


def fence(content: str, info: str = "python", mark: str = "```") -> str:
    return f"{mark}{info}\n{content}{mark}\n"


WHOLE = {
    "python": fence(PROGRAM),
    "a language in capitals": fence(PROGRAM, "Python3"),
    "a title": fence(PROGRAM, 'py title="area.py"'),
    "pandoc's braces": fence(PROGRAM, "{.python .numberLines}"),
    "no language": fence(PROGRAM, ""),
    "another language, and yet the function": fence(PROGRAM, "text"),
    "tildes": fence(PROGRAM, mark="~~~"),
    "five backticks": fence(PROGRAM, mark="`````"),
    "use after it": fence(PROGRAM) + "Use:\n" + fence("print(area(2, 3))\n"),
    "tests after it": fence(PROGRAM) + fence("assert area(2, 3) == 6\n"),
    "output after it": fence(PROGRAM) + fence("6\n", ""),
    "shell after it": fence(PROGRAM) + fence("python area.py\n", "sh"),
    "an empty block after it": fence(PROGRAM) + fence(""),
    "a draft before it": fence("def area(w, h):\n    return w\n") + "Better:\n" + fence(PROGRAM),
    "a helper after it": fence(PROGRAM) + fence("def show(x):\n    print(x)\n"),
    "unclosed": "Here:\n" + fence(PROGRAM).removesuffix("```\n"),
    "in a list": "1. Code:\n\n   ```python\n" + INDENTED + "   ```\n2. Done.\n",
    "in a list, its lines less indented than its fence": "1. Code:\n\n   ```python\n" + PROGRAM + "   ```\n",
    "in a quotation": "> ```python\n> def area(w, h):\n>     return w * h\n> ```\n",
    "in a tag": "<answer>\n" + fence(PROGRAM) + "</answer>\n",
    "in a box": "\\boxed{" + fence(PROGRAM).rstrip() + "}",
    "behind words": "The code: " + fence(PROGRAM),
    "words behind the closing fence": fence(PROGRAM).rstrip() + " That is all.\n",
    "a language behind the closing fence": fence(PROGRAM).rstrip() + "python\n",
    "opened by the prompt": PROGRAM + "```\nDone.\n",
    "carriage returns and line feeds": fence(PROGRAM).replace("\n", "\r\n"),
    "carriage returns": fence(PROGRAM).replace("\n", "\r"),
    "a byte order mark before the text": "\ufeff" + fence(PROGRAM),
    "a byte order mark before the program": fence("\ufeff" + PROGRAM),
}
GLUED = {
    "the closing fence behind the last line": "```python\ndef area(w, h):\n    return w * h```",
    "no fence": PROGRAM.strip(),
}


@pytest.mark.parametrize("name", WHOLE)
def test_an_answer_that_holds_the_program(name: str) -> None:
    assert extract_code(WHOLE[name], "area") == PROGRAM


@pytest.mark.parametrize("name", [name for name in WHOLE if name != "a helper after it"])
def test_the_same_answers_where_the_name_is_not_known(name: str) -> None:
    assert extract_code(WHOLE[name]) == PROGRAM


@pytest.mark.parametrize("name", GLUED)
def test_an_answer_that_holds_the_program_without_its_last_line_feed(name: str) -> None:
    assert extract_code(GLUED[name], "area") == PROGRAM.strip()


@pytest.mark.parametrize(
    "text",
    [
        "Here it is:\n" + PROGRAM,
        "```python def area(w, h): return w * h```",
        fence(PROGRAM.replace("    ", "\u00a0\u00a0")),
        fence("\u200b" + PROGRAM),
        fence(">>> def area(w, h):\n...     return w * h\n"),
        fence("1 def area(w, h):\n2     return w * h\n"),
        f"<pre><code>{PROGRAM}</code></pre>",
        fence("def area(w, h):\n    return w\n\nNo:\n\n" + fence(PROGRAM)),
        fence(PROGRAM.replace("    ", "\0")),
    ],
)
def test_what_is_no_python_stays_none(text: str) -> None:
    code = extract_code(text, "area")
    with pytest.raises((SyntaxError, ValueError)):
        compile(code, "submission.py", "exec")


def test_a_last_attempt_with_a_slip_is_the_answer() -> None:
    slip = "def area(w, h):\n    return w * h)\n"
    assert extract_code(fence(PROGRAM) + "Or rather:\n" + fence(slip), "area") == slip


def test_two_parts_are_two_blocks_of_which_one_is_the_answer() -> None:
    rest = "def area(w, h):\n    return w * h * UNIT\n"
    assert extract_code(fence("UNIT = 1\n") + fence(rest), "area") == rest


@pytest.mark.parametrize(
    "block",
    [
        "area = max\n",
        "from operator import mul as area\n",
        "try:\n    import x\nexcept ImportError:\n" + "    area = 1\n",
    ],
)
def test_an_entry_point_need_not_be_a_def(block: str) -> None:
    assert extract_code(fence(block) + fence("area(2, 3)\n"), "area") == block


def test_a_method_or_a_local_of_that_name_is_not_the_entry_point() -> None:
    others = fence("class Shape:\n    def area(self):\n        pass\n") + fence("def other():\n    area = 1\n")
    assert extract_code(fence(PROGRAM) + others, "area") == PROGRAM


def test_a_fence_inside_the_program_does_not_end_it() -> None:
    program = 'def area(w, h):\n    """Say\n    ```\n    area(1, 2)\n    ```\n    """\n    return "```"\n'
    assert extract_code(fence(program), "area") == program
    assert extract_code(program, "area") == program.strip()


def test_without_a_name_the_last_block_that_defines_a_function() -> None:
    assert extract_code(fence(PROGRAM) + fence("print(area(1, 2))\n")) == PROGRAM
    assert extract_code(fence("a = 1\n") + fence("b = 2\n") + fence("3\n", "")) == "b = 2\n"
    assert extract_code("  \n7 + 1\n") == "7 + 1"


def test_the_first_block_where_that_was_rewarded() -> None:
    draft = "def area(w, h):\n    return w\n"
    text = fence("UNIT = 1\n") + fence(draft) + fence(PROGRAM)
    assert extract_code(text, "area", CodeRule("first")) == draft
    assert extract_code(text, "area", CodeRule("last")) == PROGRAM


def test_nothing_behind_a_stop_string_is_read() -> None:
    text = fence("def area(w, h):\n    return w\n") + "Question: another\n" + fence(PROGRAM) + "END"
    assert extract_code(text, "area", CodeRule(stop=("END", "\nQuestion:"))) == "def area(w, h):\n    return w\n"
    assert extract_code(text, "area", CodeRule(stop=("END",))) == PROGRAM


def test_rules_have_keys_of_their_own_and_refuse_what_can_not_be() -> None:
    assert len({CodeRule().key, CodeRule("first").key, CodeRule(stop=("x",)).key, CodeRule(stop=("x", "y")).key}) == 4
    with pytest.raises(InputError, match="empty text"):
        CodeRule(stop=("",))
    with pytest.raises(InputError, match="'middle'"):
        CodeRule("middle")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text",
    [
        "`" * 200_000, "```\n" * 40_000, "> " * 50_000, "a```b\n" * 20_000, "-" * 100_000 + "1\n```",
        "```~~~\n" * 20_000, "~~~ " * 60_000, "x ~~~ " * 60_000 + "`\n",
    ],
    ids=["one run", "fences", "quotations", "glued", "signs", "two kinds", "one line", "one line before a backtick"],
)  # fmt: skip
def test_time_grows_with_the_length_of_a_hostile_answer(text: str) -> None:
    began = time.process_time()
    extract_code(text, "area")
    assert time.process_time() - began < 10
