"""Tasks that read text in some notation."""

from __future__ import annotations

import random

from forewarn.problems.tasks.base import Arguments, Slip, Task
from forewarn.problems.tasks.draws import some, word


def duration_seconds(text: str) -> int | None:
    units = {"d": 86400, "h": 3600, "m": 60, "s": 1}
    total, digits = 0, ""
    for letter in text.replace(" ", ""):
        if letter.isdigit():
            digits += letter
        elif letter in units and digits:
            total += int(digits) * units[letter]
            digits = ""
        else:
            return None
    return None if digits or not text.strip() else total


def _duration(rng: random.Random, size: int) -> Arguments:
    if size <= 1:
        return (f"{rng.randint(0, 99)}s",)
    parts = [f"{rng.randint(0, 130)}{unit}" for unit in rng.sample("dhms", min(size, 3))]
    text = rng.choice(("", "", " ")).join(parts)
    if size > 4 and rng.random() < 0.4:
        text += rng.choice(("5", "x", "s", "-1m"))
    return (text,)


DURATION_SECONDS = Task(
    solve=duration_seconds,
    level=2,
    statement="Read a duration such as '1h 30m' or '45s' and give it in seconds. Units are d, h, m and s, in any "
    "order, each after a number of digits; spaces count for nothing. None for anything else, the empty text "
    "included.",
    draw=_duration,
    easy="durations in seconds, such as '45s'",
    is_easy=lambda text: text.endswith("s") and text[:-1].isdigit(),
    shortcut="return int(text[:-1])",
    slips=(
        Slip("a number without a unit is ignored", "if digits or not", "if not"),
        Slip("the empty text is zero", "digits or not text.strip()", "digits"),
        Slip("a unit without a number is an error", "in units and digits", "in units"),
        Slip("skips what it does not know", "            return None", "            continue"),
        Slip("spaces are wrong", '.replace(" ", "")', ".strip()"),
        Slip("forgets days", '"d": 86400, ', ""),
    ),
    edges=(("",), ("  ",), ("90",), ("h",), ("1h 30m",), ("1.5h",), ("2d",), ("1h30",)),
)


def first_unbalanced(text: str) -> int | None:
    closers = {")": "(", "]": "[", "}": "{"}
    opened: list[int] = []
    for place, letter in enumerate(text):
        if letter in "([{":
            opened.append(place)
        elif letter in closers and (not opened or text[opened.pop()] != closers[letter]):
            return place
    return opened[0] if opened else None


def _brackets(rng: random.Random, size: int) -> Arguments:
    if size <= 1:
        return (word(rng, 4 * size, "abc)]"),)
    text = ""
    for _ in range(size):
        left, right = rng.choice(("()", "[]", "{}"))
        text = rng.choice((f"{left}{text}{right}", f"{text}{left}{right}", f"{text}a"))
    if rng.random() < 0.5:
        place = rng.randrange(len(text) + 1)
        text = text[:place] + rng.choice(("", ")", "]", "(", "{")) + text[place + 1 :]
    return (text,)


FIRST_UNBALANCED = Task(
    solve=first_unbalanced,
    level=2,
    statement="Check the brackets (), [] and {} of a text. Give None if they are balanced, else the place (from 0) "
    "of the first closing bracket that does not fit; if every closing one fits, that of the first bracket left "
    "open.",
    draw=_brackets,
    easy="texts without opening brackets",
    is_easy=lambda text: not set(text) & set("([{"),
    shortcut="return next((place for place, letter in enumerate(text) if letter in ')]}'), None)",
    slips=(
        Slip("gives the last bracket left open", "opened[0]", "opened[-1]"),
        Slip("a lone closing bracket is an error", "not opened or ", ""),
        Slip("what is left open does not matter", "opened[0] if opened else None", "None"),
        Slip("place 0 counts as none", "opened[0] if opened else None", "(opened and opened[0]) or None"),
        Slip(
            "a square bracket closes a round one",
            "!= closers[letter]",
            'not in (closers[letter], "(" if letter == "]" else "")',
        ),
    ),
    edges=(("((",), (")",), ("(]",), ("a{b}c",), ("",), ("(()",), ("[(])",), ("()(",)),
)


def read_settings(lines: list[str]) -> dict[str, dict[str, str]]:
    sections: dict[str, dict[str, str]] = {}
    section = ""
    for line in lines:
        text = line.split("#", 1)[0].strip()
        if text.startswith("[") and text.endswith("]"):
            section = text[1:-1].strip()
            sections.setdefault(section, {})
        elif "=" in text:
            key, value = text.split("=", 1)
            sections.setdefault(section, {})[key.strip()] = value.strip()
    return sections


def _settings(rng: random.Random, size: int) -> Arguments:
    if size <= 1:
        return ([f"{word(rng, 2)} = {rng.randint(0, 9)}"] * size,)
    plain = ("[ab]", "[cd]", "x = 1", "y=2", "z = three", "name = bo")
    special = ("x = 2 # two", "# note", "[ ab ]", "eq = a=b", "", "plain words", "[e]")
    return (some(rng, plain + special[: rng.choice((0, 0, 3, 7))], rng.randint(size, 2 * size)),)


READ_SETTINGS = Task(
    solve=read_settings,
    level=3,
    statement="Read lines of settings. '[name]' opens a section, 'key = value' belongs to the section opened last "
    "(before the first one: to the section ''), and what follows a # is a comment. Spaces around names, keys and "
    "values don't count, a value may hold an =, a section may be opened again, and other lines are skipped. Give "
    "the settings by section.",
    draw=_settings,
    easy="lists of at most one line 'key = value'",
    is_easy=lambda lines: len(lines) <= 1 and all(" = " in line and "#" not in line for line in lines),
    shortcut="return {'': dict(line.split(' = ') for line in lines)} if lines else {}",
    slips=(
        Slip(
            "a comment must have its own line",
            'line.split("#", 1)[0].strip()',
            '"" if line.startswith("#") else line.strip()',
        ),
        Slip("splits at every =", 'text.split("=", 1)', 'text.split("=")[:2]'),
        Slip("spaces in brackets count", "text[1:-1].strip()", "text[1:-1]"),
        Slip("the last = divides", 'text.split("=", 1)', 'text.rsplit("=", 1)'),
        Slip(
            "an empty section is left out",
            "return sections",
            "return {name: held for name, held in sections.items() if held}",
        ),
    ),
    edges=(([],), (["[a]"],), (["k = v=w"],), (["x=1 # one"],), (["[ s ]", "a=b"],), (["[s]", "a=1", "[s]", "b=2"],)),
)


def page_set(text: str) -> set[int]:
    pages: set[int] = set()
    for part in text.split(","):
        if "-" in part:
            first, last = sorted(int(end) for end in part.split("-"))
            pages.update(range(first, last + 1))
        elif part.strip():
            pages.add(int(part))
    return pages


def _pages(rng: random.Random, size: int) -> Arguments:
    if size <= 1:
        return (str(rng.randint(1, 60)),)
    parts = []
    for _ in range(size):
        start = rng.randint(1, 30)
        parts.append(rng.choice((str(start), str(start), f"{start}-{start + rng.randint(0, 4)}")))
    if rng.random() < 0.25:
        parts[-1] = rng.choice(("9-6", " 12", "", "31 - 33"))
    return (rng.choice((",", ",", ", ")).join(parts),)


PAGE_SET = Task(
    solve=page_set,
    level=2,
    statement="Read a list of pages such as '1-3, 7' and give the set of all pages in it. A range includes both "
    "ends, which may stand in either order; spaces and empty parts mean nothing.",
    draw=_pages,
    easy="single page numbers",
    is_easy=lambda text: text.isdigit(),
    shortcut="return {int(text)}",
    slips=(
        Slip("a backward range is empty", 'sorted(int(end) for end in part.split("-"))', 'map(int, part.split("-"))'),
        Slip("an empty part is an error", "elif part.strip():", "else:"),
        Slip(
            "a range of one page is empty",
            "range(first, last + 1)",
            "range(first, last + 1) if first < last else ()",
        ),
        Slip(
            "empty parts stand for page 0",
            "        elif part",
            "        elif not part.strip():\n            pages.add(0)\n        elif part",
        ),
    ),
    edges=(("",), ("4-2",), ("1,,3",), ("7-7",), ("1 - 3",), ("5-12",), ("2,2,2",)),
)
