"""Tasks that keep accounts, tables and queues."""

from __future__ import annotations

import random

from forewarn.problems.tasks.base import Arguments, Slip, Task
from forewarn.problems.tasks.draws import NAMES, integers


def play_accounts(bookings: list[tuple[str, str, int]]) -> dict[str, int]:
    balance: dict[str, int] = {}
    for payer, payee, amount in bookings:
        if payer == "bank":
            balance[payee] = balance.get(payee, 0) + amount
        elif balance.get(payer, 0) >= amount:
            balance[payer] = balance.get(payer, 0) - amount
            if payee != "bank":
                balance[payee] = balance.get(payee, 0) + amount
    return balance


def _bookings(rng: random.Random, size: int) -> Arguments:
    people = NAMES[:3]
    if size <= 1:
        return ([("bank", rng.choice(people), rng.randint(1, 50))] * size,)
    found = [("bank", people[i % 3], rng.randint(5, 40)) for i in range(2)]
    for _ in range(size):
        payer, payee = rng.sample((*people, "bank"), 2)
        found.append((payer, payee, rng.randint(0, 9)))
    return (found,)


PLAY_ACCOUNTS = Task(
    solve=play_accounts,
    level=2,
    statement="Play through bookings (payer, payee, amount) and give the balance of everybody who has an account. "
    "The bank has no account and never runs out; an account is opened when it is first paid into. A booking that "
    "the payer can't afford is skipped; somebody without an account has 0.",
    draw=_bookings,
    easy="lists of at most one booking, paid by the bank",
    is_easy=lambda bookings: len(bookings) <= 1 and all(payer == "bank" for payer, _, _ in bookings),
    shortcut="return {payee: amount for _, payee, amount in bookings}",
    slips=(
        Slip("a balance may not become zero", ">= amount", "> amount"),
        Slip("balances may become negative", "balance.get(payer, 0) >= amount", "payer in balance or amount == 0"),
        Slip(
            "drops accounts with nothing on them",
            "return balance",
            "return {name: held for name, held in balance.items() if held}",
        ),
        Slip(
            "an amount of zero is skipped",
            "elif balance.get(payer, 0) >= amount:",
            "elif amount and balance.get(payer, 0) >= amount:",
        ),
        Slip(
            "stops at the first booking that can't be paid",
            "    return balance",
            "        else:\n            break\n    return balance",
        ),
    ),
    edges=(
        ([],),
        ([("bank", "x", 5), ("x", "y", 5)],),
        ([("bank", "x", 5), ("x", "y", 9), ("bank", "y", 1)],),
        ([("x", "y", 0)],),
        ([("bank", "x", 3), ("x", "bank", 3)],),
        ([("bank", "x", 4), ("x", "y", 6)],),
    ),
)


def league_table(games: list[tuple[str, str, int, int]]) -> list[tuple[str, int]]:
    points: dict[str, int] = {}
    margin: dict[str, int] = {}
    for home, guest, scored, conceded in games:
        for team, difference in ((home, scored - conceded), (guest, conceded - scored)):
            points[team] = points.get(team, 0) + (3 if difference > 0 else 1 if difference == 0 else 0)
            margin[team] = margin.get(team, 0) + difference
    return sorted(points.items(), key=lambda entry: (-entry[1], -margin[entry[0]], entry[0]))


def _games(rng: random.Random, size: int) -> Arguments:
    if size <= 1:
        home, guest = sorted(rng.sample(NAMES, 2))
        return ([(home, guest, rng.randint(2, 5), rng.randint(0, 1))] * size,)
    teams = NAMES[: min(size + 1, 5)]
    return ([(*rng.sample(teams, 2), rng.choice((0, 0, 1, 1, 2, 3)), rng.choice((0, 1, 1, 2))) for _ in range(size)],)


LEAGUE_TABLE = Task(
    solve=league_table,
    level=3,
    statement="Games are given as (home, guest, goals of the home team, goals of the guest). A win brings three "
    "points and a draw one to each. Give the table as a list of (team, points): by points, then by goals scored "
    "minus goals conceded, both from high to low, then by name.",
    draw=_games,
    easy="lists of at most one game, won by the home team",
    is_easy=lambda games: len(games) <= 1 and all(scored > conceded for _, _, scored, conceded in games),
    shortcut="return [(games[0][0], 3), (games[0][1], 0)] if games else []",
    slips=(
        Slip("does not look at the goals", "(-entry[1], -margin[entry[0]], entry[0])", "(-entry[1], entry[0])"),
        Slip("equal teams stay in the order of their games", ", entry[0]))", "))"),
        Slip(
            "a draw without goals brings nothing",
            "1 if difference == 0 else 0",
            "1 if difference == 0 and scored else 0",
        ),
        Slip("losses do not count in goals", "get(team, 0) + difference", "get(team, 0) + max(difference, 0)"),
    ),
    edges=(
        ([],),
        ([("b", "a", 1, 1)],),
        ([("a", "b", 0, 0)],),
        ([("a", "b", 0, 3)],),
        ([("a", "b", 1, 0), ("c", "d", 4, 0)],),
        ([("x", "y", 1, 0), ("z", "v", 1, 0), ("y", "w", 0, 1)],),
    ),
)


def served_at(arrivals: list[int], durations: list[int]) -> list[int]:
    free, starts = 0, []
    for arrival, duration in zip(arrivals, durations, strict=True):
        start = max(arrival, free)
        starts.append(start)
        free = start + duration
    return starts


def _queue(rng: random.Random, size: int) -> Arguments:
    arrivals = sorted(integers(rng, size, 0, 8 * size + 5))
    return (arrivals, integers(rng, size, 0, 6))


SERVED_AT = Task(
    solve=served_at,
    level=2,
    statement="Customers come to a counter at the given times, in ascending order, and each takes the given time "
    "there. One is served at a time, in the order of coming. Give the times at which each is served.",
    draw=_queue,
    easy="at most one customer",
    is_easy=lambda arrivals, durations: len(arrivals) <= 1,
    shortcut="return list(arrivals)",
    slips=(
        Slip("waits for the one before only", "free = start + duration", "free = arrival + duration"),
        Slip("the counter opens at 1", "free, starts = 0", "free, starts = 1"),
        Slip("who waited is served one later", "max(arrival, free)", "arrival if arrival >= free else free + 1"),
        Slip("everybody takes some time", "start + duration", "start + max(duration, 1)"),
    ),
    edges=(
        ([], []),
        ([0, 0, 0], [5, 5, 5]),
        ([1, 9], [2, 2]),
        ([0, 1, 2, 3], [9, 9, 9, 9]),
        ([0, 7, 9], [1, 1, 0]),
        ([0, 0, 1], [0, 0, 0]),
    ),
)
