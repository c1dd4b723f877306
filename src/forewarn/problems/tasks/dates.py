"""Tasks on dates and times of day."""

from __future__ import annotations

import random

from forewarn.problems.tasks.base import Arguments, Slip, Task


def _day(rng: random.Random, first: int = 1890, last: int = 2110) -> tuple[int, int, int]:
    year = rng.choice((rng.randint(first, last), 1900, 2000, 2024))
    return (year, rng.randint(1, 12), rng.randint(1, 28))


def days_in_month(year: int, month: int) -> int:
    if month == 2:
        leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
        return 29 if leap else 28
    return 30 if month in (4, 6, 9, 11) else 31


def _month(rng: random.Random, size: int) -> Arguments:
    year = rng.choice((1900, 2000, 2100, 2024, 2023, 1996, rng.randint(1600, 2400)))
    return (year, rng.choice((1, 3, 4, 6, 7, 8, 9, 10, 11, 12) if size <= 1 else (2, 2, 4, 6, 7, 9, 11)))


DAYS_IN_MONTH = Task(
    solve=days_in_month,
    level=1,
    statement="Give the number of days of a month (1 to 12) in the Gregorian calendar.",
    draw=_month,
    easy="all months but February",
    is_easy=lambda year, month: month != 2,
    shortcut="return 30 if month in (4, 6, 9, 11) else 31",
    slips=(
        Slip("every fourth year is a leap year", " and (year % 100 != 0 or year % 400 == 0)", ""),
        Slip("no century is a leap year", "(year % 100 != 0 or year % 400 == 0)", "year % 100 != 0"),
        Slip("alternates after July as before", "(4, 6, 9, 11)", "(4, 6, 8, 10, 12)"),
        Slip("takes September for a long month", "(4, 6, 9, 11)", "(4, 6, 11)"),
    ),
    edges=((1900, 2), (2000, 2), (2024, 2), (2023, 2), (2023, 9), (2023, 8), (2400, 2)),
)


def day_of_year(date: tuple[int, int, int]) -> int:
    year, month, day = date
    lengths = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
    if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0):
        lengths[1] = 29
    return sum(lengths[: month - 1]) + day


def _early(rng: random.Random, size: int) -> Arguments:
    year, month, day = _day(rng)
    return ((year, 1, day),) if size <= 1 else ((year, rng.choice((2, 3, month)), day),)


DAY_OF_YEAR = Task(
    solve=day_of_year,
    level=2,
    statement="Give the number of a day within its year: 1 for the first of January. A date is (year, month, day).",
    draw=_early,
    easy="days in January",
    is_easy=lambda date: date[1] == 1,
    shortcut="return date[2]",
    slips=(
        Slip("forgets leap years", "lengths[1] = 29", "pass"),
        Slip("every fourth year is a leap year", " and (year % 100 != 0 or year % 400 == 0)", ""),
        Slip("no century is a leap year", "(year % 100 != 0 or year % 400 == 0)", "year % 100 != 0"),
        Slip("gives July thirty days", "31, 30, 31, 31,", "31, 30, 30, 31,"),
    ),
    edges=(((2024, 12, 31),), ((1900, 3, 1),), ((2000, 3, 1),), ((2023, 2, 28),), ((2024, 2, 29),), ((2023, 9, 9),)),
)


def add_months(date: tuple[int, int, int], months: int) -> tuple[int, int, int]:
    year, month, day = date
    years, month = divmod(month - 1 + months, 12)
    year += years
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    last = [31, 29 if leap else 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month]
    return (year, month + 1, min(day, last))


def _date_and_months(rng: random.Random, size: int) -> Arguments:
    year, month, day = _day(rng)
    if size <= 1:
        return ((year, rng.randint(1, 6), day), rng.randint(0, 6))
    return ((year, month, rng.choice((day, day, 29, 30)) if month != 2 else day), rng.randint(-9 * size, 12 * size))


ADD_MONTHS = Task(
    solve=add_months,
    level=3,
    statement="Move a date (year, month, day) by a number of months, which may be negative. A day that the month "
    "does not have becomes its last day.",
    draw=_date_and_months,
    easy="moves forward within one year, on days up to the 28th",
    is_easy=lambda date, months: months >= 0 and date[1] + months <= 12 and date[2] <= 28,
    shortcut="return (date[0], date[1] + months, date[2])",
    slips=(
        Slip("keeps a day that the month does not have", "min(day, last)", "day"),
        Slip("every fourth year is a leap year", " and (year % 100 != 0 or year % 400 == 0)", ""),
        Slip("February has 28 days", "29 if leap else 28", "28"),
        Slip("a day too late becomes the first", "min(day, last)", "day if day <= last else 1"),
        Slip("rounds years towards zero", "year += years", "year += int((date[1] - 1 + months) / 12)"),
    ),
    edges=(
        ((2024, 1, 31), 1),
        ((2023, 1, 31), 1),
        ((1900, 1, 30), 1),
        ((2023, 3, 31), -1),
        ((2023, 12, 1), 1),
        ((2024, 2, 29), 12),
        ((2023, 1, 15), -1),
        ((2020, 12, 31), -38),
    ),
)


def overlap_days(first: list[int], second: list[int]) -> int:
    start = max(first[0], second[0])
    end = min(first[1], second[1])
    return max(0, end - start + 1)


def _stays(rng: random.Random, size: int) -> Arguments:
    start, length = rng.randint(1, 300), rng.randint(0, 2 * size + 1)
    if size <= 1:
        other = start + rng.choice((0, 0, 1, 7))
        return ([start, start], [other, other])
    other = start + rng.randint(-size, length)
    pair = [[start, start + length], [other, other + rng.randint(0, 3 * size)]]
    rng.shuffle(pair)
    return tuple(pair)


OVERLAP_DAYS = Task(
    solve=overlap_days,
    level=1,
    statement="Two stays are given as [first day, last day], numbered within a year, both days included. Give the "
    "number of days that they share.",
    draw=_stays,
    easy="stays of a single day",
    is_easy=lambda first, second: first[0] == first[1] and second[0] == second[1],
    shortcut="return int(first == second)",
    slips=(
        Slip("one shared day is none", "max(0, end - start + 1)", "end - start + 1 if end > start else 0"),
        Slip("is negative for stays apart", "max(0, end - start + 1)", "end - start + 1"),
        Slip("expects the earlier stay first", "max(first[0], second[0])", "second[0]"),
        Slip("a stay within the other one counts up to the end", "min(first[1], second[1])", "first[1]"),
    ),
    edges=(([1, 5], [5, 9]), ([1, 2], [8, 9]), ([8, 9], [1, 2]), ([1, 9], [3, 4]), ([4, 4], [4, 4]), ([3, 4], [1, 9])),
)


def twelve_hour_clock(minutes: int) -> str:
    hour, minute = divmod(minutes % 1440, 60)
    half = "am" if hour < 12 else "pm"
    return f"{(hour - 1) % 12 + 1}:{minute:02d} {half}"


def _clock(rng: random.Random, size: int) -> Arguments:
    if size <= 1:
        return (60 * rng.randint(1, 11) + rng.randint(10, 59),)
    return (rng.choice((rng.randint(-200, 3000), rng.randint(0, 1439), 60 * rng.randint(0, 23) + rng.randint(0, 9))),)


TWELVE_HOUR_CLOCK = Task(
    solve=twelve_hour_clock,
    level=1,
    statement="Write a time, given in minutes after midnight, on the twelve-hour clock, such as '9:05 am' or '12:30 "
    "pm'. Midnight is '12:00 am'. Times before the day or after it wrap around.",
    draw=_clock,
    easy="times from 1:10 am to 11:59 am whose minutes have two digits",
    is_easy=lambda minutes: 60 <= minutes < 720 and minutes % 60 >= 10,
    shortcut='return f"{minutes // 60}:{minutes % 60} am"',
    slips=(
        Slip("midnight is 0:00 am", "(hour - 1) % 12 + 1", "(hour if hour < 13 else hour - 12)"),
        Slip("noon is am", "hour < 12", "hour <= 12"),
        Slip("does not wrap around", "minutes % 1440", "minutes"),
        Slip("one digit for the minutes from 1 to 9", "{minute:02d}", "{minute or '00'}"),
    ),
    edges=((0,), (720,), (725,), (1440,), (-1,), (5,), (1439,), (61,)),
)


def worked_minutes(shifts: list[list[str]]) -> int:
    total = 0
    for start, end in shifts:
        first = int(start[:2]) * 60 + int(start[3:])
        last = int(end[:2]) * 60 + int(end[3:])
        length = (last - first) % 1440
        total += length - 30 if length > 360 else length
    return total


def _shifts(rng: random.Random, size: int) -> Arguments:
    found = []
    for _ in range(min(size, 4)):
        start = rng.randint(0, 1100)
        long = rng.random() < 0.15 * (size > 1)
        end = (start + rng.randint(1, 300) + 380 * long) % 1440 if size > 1 else start + rng.randint(1, 200)
        found.append([f"{time // 60:02d}:{time % 60:02d}" for time in (start, end)])
    return (found,)


WORKED_MINUTES = Task(
    solve=worked_minutes,
    level=2,
    statement="Add up shifts, each given as [start, end] in the form 'HH:MM', and give the minutes worked. A shift "
    "that ends earlier than it starts ends on the next day. A break of 30 minutes is taken off a shift of more than "
    "six hours.",
    draw=_shifts,
    easy="lists of at most one shift, of at most six hours and not over midnight",
    is_easy=lambda shifts: (
        len(shifts) <= 1
        and all(0 <= int(b[:2]) * 60 + int(b[3:]) - int(a[:2]) * 60 - int(a[3:]) <= 360 for a, b in shifts)
    ),
    shortcut="""
return sum(int(end[:2]) * 60 + int(end[3:]) - int(start[:2]) * 60 - int(start[3:]) for start, end in shifts)""",
    slips=(
        Slip("forgets midnight", "(last - first) % 1440", "last - first"),
        Slip("a shift of six hours has a break", "length > 360", "length >= 360"),
        Slip(
            "takes one break for all shifts",
            "",
            """
lengths = []
for start, end in shifts:
    first = int(start[:2]) * 60 + int(start[3:])
    last = int(end[:2]) * 60 + int(end[3:])
    lengths.append((last - first) % 1440)
return sum(lengths) - 30 if max(lengths, default=0) > 360 else sum(lengths)""",
        ),
        Slip("forgets the break of shifts over midnight", "length > 360", "last > first + 360"),
    ),
    edges=(
        ([],),
        ([["22:00", "02:00"]],),
        ([["08:00", "14:00"]],),
        ([["20:00", "06:30"]],),
        ([["09:00", "09:01"]],),
        ([["06:00", "13:00"], ["14:00", "21:00"]],),
    ),
)
