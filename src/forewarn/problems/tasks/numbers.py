"""Tasks on numbers."""

from __future__ import annotations

import random

from forewarn.problems.tasks.base import Arguments, Slip, Task
from forewarn.problems.tasks.draws import integers


def digit_sum(number: int, base: int) -> int:
    number, total = abs(number), 0
    while number:
        number, digit = divmod(number, base)
        total += digit
    return total


def _number_and_base(rng: random.Random, size: int) -> Arguments:
    base = rng.randint(2, 16)
    number = rng.randrange(base) if size <= 1 else rng.randrange(base, base**size + base)
    return (rng.choice((1, 1, 1, -1 if size > 3 else 1)) * number, base)


DIGIT_SUM = Task(
    solve=digit_sum,
    level=1,
    statement="Give the sum of the digits of an integer written in the given base (2 to 16). The sign counts for "
    "nothing.",
    draw=_number_and_base,
    easy="numbers from 0 up to but not including the base",
    is_easy=lambda number, base: 0 <= number < base,
    shortcut="return number",
    slips=(
        Slip("a negative number has no digits", "abs(number)", "max(number, 0)"),
        Slip(
            "divides as floats",
            "number, digit = divmod(number, base)",
            "digit, number = number % base, int(number / base)",
        ),
        Slip(
            "the sum has the sign of the number",
            "",
            """
rest, total = abs(number), 0
while rest:
    rest, digit = divmod(rest, base)
    total += digit
return total if number >= 0 else -total""",
        ),
        Slip("keeps 64 bits", "abs(number)", "abs(number) & (2**64 - 1)"),
    ),
    edges=((10**40 + 7 * 10**17 + 999, 10), (-255, 16), (2**90 - 1, 16), (0, 2), (3**50, 7), (-8, 2)),
)


def prime_factors(number: int) -> dict[int, int]:
    factors: dict[int, int] = {}
    candidate = 2
    while candidate * candidate <= number:
        while number % candidate == 0:
            factors[candidate] = factors.get(candidate, 0) + 1
            number //= candidate
        candidate += 1
    if number > 1:
        factors[number] = factors.get(number, 0) + 1
    return factors


def _composite(rng: random.Random, size: int) -> Arguments:
    primes = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31)
    number = rng.choice(primes)
    for _ in range(min(size - 1, 5)):
        number *= rng.choice(primes[:6])
    return (number,)


PRIME_FACTORS = Task(
    solve=prime_factors,
    level=2,
    statement="Give the prime factors of a positive integer as a dict from each prime to its exponent, smallest first.",
    draw=_composite,
    easy="prime numbers",
    is_easy=lambda number: number in (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31),
    shortcut="return {number: 1}",
    slips=(
        Slip("stops before the square root", "candidate * candidate <= number", "candidate * candidate < number"),
        Slip("forgets a prime that is left and repeats nothing", "if number > 1:", "if number > 1 and factors:"),
        Slip(
            "counts no exponent above three",
            "get(candidate, 0) + 1",
            "get(candidate, 0) + 1 if factors.get(candidate) != 3 else 3",
        ),
        Slip("one has itself as a factor", "if number > 1:", "if number > 1 or not factors:"),
    ),
    edges=((1,), (49,), (2**10,), (999983,), (2 * 3 * 5 * 7 * 11 * 13,), (1369,), (16,)),
)


def harmonic_mean(values: list[float]) -> float | None:
    if not values or min(values) < 0:
        return None
    if 0 in values:
        return 0.0
    return len(values) / sum(1 / value for value in values)


def _positive(rng: random.Random, size: int) -> Arguments:
    values = [round(rng.uniform(0.1, 50), 2) for _ in range(size)]
    if size > 1 and rng.random() < 0.25:
        values[rng.randrange(size)] = rng.choice((0.0, -1.5))
    return (values,)


HARMONIC_MEAN = Task(
    solve=harmonic_mean,
    level=1,
    statement="Give the harmonic mean of a list of numbers: their count over the sum of their reciprocals. It is "
    "0.0 if a number is zero, and None for an empty list or if a number is negative. Answers are compared to 1e-9.",
    draw=_positive,
    easy="lists of at most one number",
    is_easy=lambda values: len(values) <= 1,
    shortcut="return values[0] if values else None",
    slips=(
        Slip("divides by zero", "    if 0 in values:\n        return 0.0\n", ""),
        Slip("an empty list has the mean 0.0", "if not values or", "if not values:\n        return 0.0\n    if"),
        Slip("takes negative numbers", " or min(values) < 0", ""),
        Slip("zero before negative", "min(values) < 0:", "min(values) < 0 and 0 not in values:"),
        Slip("skips zeros", "if 0 in values:\n        return 0.0", "values = [value for value in values if value]"),
    ),
    edges=(([],), ([0.0, -1.0],), ([0.0],), ([2.0, 2.0],), ([1e-9, 1e9],), ([-3.0],)),
    float_tolerance=1e-9,
)


def to_roman(number: int) -> str:
    values = (1000, 900, 500, 400, 100, 90, 50, 40, 10, 9, 5, 4, 1)
    signs = ("M", "CM", "D", "CD", "C", "XC", "L", "XL", "X", "IX", "V", "IV", "I")
    text = ""
    for value, sign in zip(values, signs, strict=True):
        count, number = divmod(number, value)
        text += count * sign
    return text


TO_ROMAN = Task(
    solve=to_roman,
    level=2,
    statement="Write an integer from 0 to 3999 as a Roman numeral in the usual subtractive form; 0 is the empty text.",
    draw=lambda rng, size: (
        rng.randint(0, 3) if size <= 1 else rng.randint(4, 30) if size < 4 else rng.randint(4, 3999),
    ),
    easy="numbers from 0 to 3",
    is_easy=lambda number: number <= 3,
    shortcut='return "I" * number',
    slips=(
        Slip("writes IIII", '"IV", "I")', '"IIII", "I")'),
        Slip("writes XXXX", '"XL"', '"XXXX"'),
        Slip("writes LXXXX", '"XC"', '"LXXXX"'),
        Slip("forgets 900", '"CM"', '"DCCCC"'),
    ),
    edges=((0,), (3999,), (1994,), (444,), (40,), (3090,), (94,)),
)


def integer_root(number: int, degree: int) -> int:
    low, high = 0, 1
    while high**degree <= number:
        high *= 2
    while high - low > 1:
        middle = (low + high) // 2
        if middle**degree <= number:
            low = middle
        else:
            high = middle
    return low


def _power(rng: random.Random, size: int) -> Arguments:
    degree = rng.randint(2, 4)
    if size <= 1:
        return (rng.randrange(2**degree), degree)
    root = rng.randint(2, 10 ** min(size, 4))
    return (root**degree + rng.choice((0, 0, 1, -1, root)), degree)


INTEGER_ROOT = Task(
    solve=integer_root,
    level=3,
    statement="Give the largest integer whose power of the given degree (at least 1) is at most `number` (at least "
    "0). Numbers may have hundreds of digits.",
    draw=_power,
    easy="numbers below 2 to the power of the degree",
    is_easy=lambda number, degree: number < 2**degree,
    shortcut="return min(number, 1)",
    slips=(
        Slip("takes the root as a float", "", "return int(number ** (1 / degree) + 1e-6)"),
        Slip(
            "is one short for squares of powers of two", "while high**degree <= number", "while high**degree < number"
        ),
        Slip("rounds to the nearest", "", "return round(number ** (1 / degree))"),
        Slip(
            "searches roots up to 5000",
            "",
            """
root = 0
while (root + 1) ** degree <= number and root < 5000:
    root += 1
return root""",
        ),
    ),
    edges=((10**60, 3), (10**60 - 1, 3), (64, 2), (2**200, 2), (0, 2), (16, 4), (12345678987654321, 2), (7, 1)),
)


def gcd_of_all(numbers: list[int]) -> int:
    result = 0
    for number in numbers:
        number = abs(number)
        while number:
            result, number = number, result % number
    return result


def _multiples(rng: random.Random, size: int) -> Arguments:
    factor = rng.choice((1, 2, 6, 10, 2**40))
    numbers = [factor * abs(number) for number in integers(rng, size, 0, 12)]
    if numbers and rng.random() < 0.3:
        numbers[-1] = -numbers[-1]
    return (numbers if size > 1 else [abs(number) for number in numbers],)


GCD_OF_ALL = Task(
    solve=gcd_of_all,
    level=2,
    statement="Give the greatest common divisor of a list of integers. It is never negative, zeros divide by "
    "everything, and without a number other than zero it is 0.",
    draw=_multiples,
    easy="lists of at most one number, which is not negative",
    is_easy=lambda numbers: len(numbers) <= 1 and min(numbers, default=0) >= 0,
    shortcut="return sum(numbers)",
    slips=(
        Slip("keeps the sign", "abs(number)", "number"),
        Slip("a zero makes it zero", "return result", "return result if all(numbers) else 0"),
        Slip("an empty list has the divisor 1", "return result", "return result if numbers else 1"),
        Slip("only zeros have the divisor 1", "return result", "return result or 1"),
        Slip(
            "tries divisors up to a thousand",
            "",
            """
numbers = [abs(number) for number in numbers if number]
if not numbers:
    return 0
return max(d for d in range(1, 1001) if all(number % d == 0 for number in numbers))""",
        ),
    ),
    edges=(([],), ([0, 0],), ([-4, 6],), ([0, 9],), ([2**80, 2**70 * 3],), ([-5],)),
)
