"""Tasks on text."""

from __future__ import annotations

import random
from itertools import pairwise

from forewarn.problems.tasks import draws
from forewarn.problems.tasks.base import Arguments, Slip, Task
from forewarn.problems.tasks.draws import words


def longest_vowel_run(text: str) -> int:
    best = run = 0
    for letter in text.lower():
        run = run + 1 if letter in "aeiou" else 0
        best = max(best, run)
    return best


def _vowels(rng: random.Random, size: int) -> Arguments:
    return (draws.word(rng, rng.randint(size, 3 * size) if size > 1 else size, "aeiouEbcdfy "),)


LONGEST_VOWEL_RUN = Task(
    solve=longest_vowel_run,
    level=2,
    statement="Give the length of the longest stretch of consecutive vowels (a, e, i, o, u, in either case) in a text.",
    draw=_vowels,
    easy="texts of at most one character",
    is_easy=lambda text: len(text) <= 1,
    shortcut="return sum(letter in 'aeiouAEIOU' for letter in text)",
    slips=(
        Slip("forgets capital letters", "text.lower()", "text"),
        Slip("the last letter is not looked at", "in text.lower()", "in text.lower()[:-1]"),
        Slip("y is a vowel", '"aeiou"', '"aeiouy"'),
        Slip("a space does not end a stretch", "text.lower()", 'text.lower().replace(" ", "")'),
    ),
    edges=(("AEioubc",), ("a e i o",), ("queueing up",), ("ÄÖÜ naïve",), ("tree",)),
)


def initials(name: str) -> str:
    return "".join(part[0].upper() + "." for part in name.replace("-", " ").split())


def _full_name(rng: random.Random, size: int) -> Arguments:
    text, *parts = words(rng, max(size, 1), 8)
    for part in parts[:5]:
        text += rng.choice(("-", " ", " ", " ", " ", " ", "  ")) + part
    return (text,)


INITIALS = Task(
    solve=initials,
    level=1,
    statement="Give the initials of a name: the first letter of each part in upper case, each followed by a full "
    "stop. Parts are separated by white space or hyphens.",
    draw=_full_name,
    easy="names of a single part",
    is_easy=lambda name: len(name.replace("-", " ").split()) == 1 and name == name.strip(),
    shortcut='return name[0].upper() + "."',
    slips=(
        Slip("forgets the hyphen", 'name.replace("-", " ").split()', "name.split()"),
        Slip("splits at single spaces, so an empty part has no first letter", ".split()", '.split(" ")'),
        Slip("only the first hyphen separates", '"-", " ")', '"-", " ", 1)'),
        Slip("skips parts of one letter", ".split())", ".split() if len(part) > 1)"),
    ),
    edges=(("maría del-mar lópez-vega y rey",), ("",), ("Ada Lovelace",), ("a-b-c",), ("Jean-Luc  Picard",)),
)


def squeeze_runs(text: str, keep: int) -> str:
    out: list[str] = []
    run = 0
    for index, letter in enumerate(text):
        run = run + 1 if index and letter == text[index - 1] else 1
        if run <= keep:
            out.append(letter)
    return "".join(out)


def _runs(rng: random.Random, size: int) -> Arguments:
    if size <= 1:
        return ("".join(rng.sample("abcdef", 3 * size)), rng.randint(1, 3))
    return ("".join(rng.choice("abAB7 ") * rng.randint(1, 4) for _ in range(size)), rng.randint(1, 3))


SQUEEZE_RUNS = Task(
    solve=squeeze_runs,
    level=2,
    statement="Shorten every run of equal neighbouring characters to at most `keep` of them. Case matters.",
    draw=_runs,
    easy="texts without two equal neighbours",
    is_easy=lambda text, keep: all(a != b for a, b in pairwise(text)),
    shortcut="return text",
    slips=(
        Slip(
            "treats upper and lower case as equal",
            "letter == text[index - 1]",
            "letter.lower() == text[index - 1].lower()",
        ),
        Slip("leaves spaces alone", "run <= keep", 'run <= keep or letter == " "'),
        Slip("leaves digits alone", "run <= keep", "run <= keep or letter.isdigit()"),
        Slip("trims the result", 'return "".join(out)', 'return "".join(out).strip()'),
    ),
    edges=(("aAaA", 1), ("777    777", 2), ("", 3), ("zzzzz", 3), (" aab ", 1), ("ééé", 2)),
)


def run_lengths(text: str) -> list[tuple[str, int]]:
    runs: list[tuple[str, int]] = []
    for letter in text:
        if runs and runs[-1][0] == letter:
            runs[-1] = (letter, runs[-1][1] + 1)
        else:
            runs.append((letter, 1))
    return runs


def _repeated(rng: random.Random, size: int) -> Arguments:
    if size <= 1:
        return ("".join(rng.sample("abcdefgh", rng.randint(0, 4))),)
    return ("".join(rng.choice("aabbccD ") * rng.choice((1, 1, 1, 1, 2, 2, 3, 3, 3, 11)) for _ in range(min(size, 5))),)


RUN_LENGTHS = Task(
    solve=run_lengths,
    level=2,
    statement="Give the runs of equal neighbouring characters of a text, in order, as pairs (character, length).",
    draw=_repeated,
    easy="texts without two equal neighbours",
    is_easy=lambda text: all(a != b for a, b in pairwise(text)),
    shortcut="return [(letter, 1) for letter in text]",
    slips=(
        Slip("a count is one digit", "runs[-1][1] + 1", "min(9, runs[-1][1] + 1)"),
        Slip("an empty text has one empty run", "return runs", 'return runs or [("", 0)]'),
        Slip("skips spaces", "for letter in text:", 'for letter in text.replace(" ", ""):'),
        Slip("ignores case", "for letter in text:", "for letter in text.lower():"),
    ),
    edges=(("",), ("D",), ("aaaaaaaaaaaaaaa",), ("a  b",), ("日日本",)),
)


def common_prefix(words: list[str]) -> str:
    if not words:
        return ""
    length = 0
    while length < min(map(len, words)) and len({word[length] for word in words}) == 1:
        length += 1
    return words[0][:length]


def _prefixed(rng: random.Random, size: int) -> Arguments:
    start = draws.word(rng, rng.randint(0, 4), "abcé")
    found = [start + draws.word(rng, rng.randint(0, 3), "abC") for _ in range(size)]
    return ([rng.choice((item, item, item, item.upper())) if size > 3 else item for item in found],)


COMMON_PREFIX = Task(
    solve=common_prefix,
    level=2,
    statement="Give the longest text with which all the words start. Without words it is the empty text. Case matters.",
    draw=_prefixed,
    easy="lists of at most one word",
    is_easy=lambda words: len(words) <= 1,
    shortcut='return words[0] if words else ""',
    slips=(
        Slip("no words is an error", 'return ""', "return words[0]"),
        Slip("a word that is itself the prefix is cut short", "length < min", "length + 1 < min"),
        Slip("compares the first word with the last", "for word in words}", "for word in (words[0], words[-1])}"),
        Slip("ignores case", "{word[length] for", "{word[length].lower() for"),
    ),
    edges=(([],), (["same", "same"],), (["flower", "flow", "flowing"],), (["abcd", "abcdx", "abcdy", "abx"],)),
)


def wrap_lines(text: str, width: int) -> list[str]:
    lines: list[str] = []
    for piece in text.split():
        if lines and len(lines[-1]) + 1 + len(piece) <= width:
            lines[-1] += " " + piece
        else:
            lines.append(piece)
    return lines


def _paragraph(rng: random.Random, size: int) -> Arguments:
    return (rng.choice((" ", " ", "  ")).join(words(rng, 2 * size if size > 1 else size, 7)), rng.randint(8, 30))


WRAP_LINES = Task(
    solve=wrap_lines,
    level=3,
    statement="Break a text into lines of at most `width` characters, putting as many words on each line as fit, "
    "one space apart. A longer word gets a line of its own. White space of the text counts for nothing else.",
    draw=_paragraph,
    easy="texts of at most one word",
    is_easy=lambda text, width: len(text.split()) <= 1,
    shortcut="return text.split()",
    slips=(
        Slip("a line may not be full", "<= width", "< width"),
        Slip("splits at single spaces", "text.split()", 'text.split(" ")'),
        Slip("no text is one empty line", "return lines", 'return lines or [""]'),
        Slip("cuts longer words", "lines.append(piece)", "lines.append(piece[:width])"),
    ),
    edges=(("", 5), ("extraordinarily long words", 6), ("aa bb  cc", 5), ("one two", 7)),
)


def anagram_groups(words: list[str]) -> list[list[str]]:
    groups: dict[str, list[str]] = {}
    for word in words:
        groups.setdefault("".join(sorted(word.lower())), []).append(word)
    return list(groups.values())


def _anagrams(rng: random.Random, size: int) -> Arguments:
    found = [
        draws.word(rng, rng.randint(2, 4), "abc") for _ in range(rng.randint(size, size + 3) if size > 1 else size)
    ]
    return ([item.title() if len(found) > 1 and rng.random() < 0.05 else item for item in found],)


ANAGRAM_GROUPS = Task(
    solve=anagram_groups,
    level=2,
    statement="Group words that are anagrams of each other, ignoring case. Groups stand in the order of their first "
    "words, words in the order given; repeats are kept.",
    draw=_anagrams,
    easy="lists of at most one word",
    is_easy=lambda words: len(words) <= 1,
    shortcut="return [words] if words else []",
    slips=(
        Slip("case matters", "word.lower()", "word"),
        Slip("gives the words in lower case", ".append(word)", ".append(word.lower())"),
        Slip(
            "drops a word given twice",
            "for word in words:",
            "for word in dict.fromkeys(words):",
        ),
        Slip("sums character codes", '"".join(sorted(word.lower()))', "str(sum(map(ord, word.lower())))"),
    ),
    edges=((["ac", "bb", "ca"],), ([],), (["Tea", "eat", "ate"],), (["b", "B"],), (["aab", "ab", "abb"],)),
)
