"""Tasks that read a notation with rules of its own."""

from __future__ import annotations

import random

from forewarn.problems.tasks.base import Arguments, Slip, Task
from forewarn.problems.tasks.draws import some, word


def split_record(line: str) -> list[str]:
    fields: list[str] = []
    field, quoted, place = "", False, 0
    while place < len(line):
        letter = line[place]
        if quoted:
            if letter == '"' and line[place + 1 : place + 2] == '"':
                field += '"'
                place += 1
            elif letter == '"':
                quoted = False
            else:
                field += letter
        elif letter == '"':
            quoted = True
        elif letter == ",":
            fields.append(field)
            field = ""
        else:
            field += letter
        place += 1
    return [*fields, field]


def _record(rng: random.Random, size: int) -> Arguments:
    if size <= 1:
        return (word(rng, 3 * size),)
    plain = ("a", "bc", "12", "a b", "é")
    special = ('"x,y"', '"say ""hi"""', '""', "", " z ")
    return (",".join(some(rng, plain + special[: rng.choice((0, 0, 2, 5))], size)),)


SPLIT_RECORD = Task(
    solve=split_record,
    level=4,
    statement="Split one line of comma separated values into its fields. Within double quotes a comma belongs to "
    "the field, and two double quotes stand for one; the quotes around are not part of the field. Spaces are kept.",
    draw=_record,
    easy="lines of a single field without commas and quotes",
    is_easy=lambda line: not set(line) & {",", '"'},
    shortcut="return [line]",
    slips=(
        Slip("splits at every comma", "", "return line.split(',')"),
        Slip("does not know doubled quotes", """letter == '"' and line[place + 1 : place + 2] == '"':""", "False:"),
        Slip("strips the fields", "return [*fields, field]", "return [item.strip() for item in [*fields, field]]"),
        Slip(
            "drops an empty field at the end", "return [*fields, field]", "return [*fields, field] if field else fields"
        ),
        Slip("drops empty fields", "fields.append(field)", "fields += [field] if field else []"),
    ),
    edges=(("",), ("a,",), ('"a,b",c',), ('"""",x',), (" p , q ",), ("1,,2",), ('"",y',)),
)


def evaluate(expression: str) -> int:
    tokens = list(expression.replace(" ", ""))

    def number() -> int:
        if tokens[0] == "(":
            tokens.pop(0)
            value = total()
            tokens.pop(0)
            return value
        if tokens[0] == "-":
            tokens.pop(0)
            return -number()
        digits = ""
        while tokens and tokens[0].isdigit():
            digits += tokens.pop(0)
        return int(digits)

    def product() -> int:
        value = number()
        while tokens and tokens[0] == "*":
            tokens.pop(0)
            value *= number()
        return value

    def total() -> int:
        value = product()
        while tokens and tokens[0] in "+-":
            sign = 1 if tokens.pop(0) == "+" else -1
            value += sign * product()
        return value

    return total()


def _expression(rng: random.Random, size: int) -> Arguments:
    if size <= 1:
        return (str(rng.randint(0, 99)),)
    text = str(rng.randint(0, 12))
    for _ in range(size - 1):
        text += rng.choice((" + ", "+", "+", "-", "*"))
        text += rng.choice((str(rng.randint(0, 12)), str(rng.randint(0, 12)), "(3-1)", "(2+5)", "-4"))
    return (text,)


EVALUATE = Task(
    solve=evaluate,
    level=4,
    statement="Evaluate an arithmetic expression of non-negative integers with +, -, *, a minus sign before a "
    "number or bracket, and round brackets. Multiplication binds tighter, and equal operators are taken from the "
    "left. Spaces mean nothing.",
    draw=_expression,
    easy="single numbers",
    is_easy=lambda expression: expression.strip().isdigit(),
    shortcut="return int(expression)",
    slips=(
        Slip("no minus sign before a number", 'tokens[0] == "-":', "False:"),
        Slip("one multiplication in a row", 'while tokens and tokens[0] == "*"', 'if tokens and tokens[0] == "*"'),
        Slip("spaces are an error", '.replace(" ", "")', ""),
        Slip(
            "takes away everything that follows a minus",
            "value += sign * product()",
            "value += product() if sign > 0 else -total()",
        ),
        Slip(
            "a minus before a bracket is lost", "return -number()", 'return number() if tokens[0] == "(" else -number()'
        ),
    ),
    edges=(("2*3*4",), ("8-3-2",), ("-(2+3)*2",), ("((7))",), ("1 + 2 * 3",), ("99999999999*99999999999",), ("2--3",)),
)
