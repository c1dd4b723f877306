"""The worlds of the hard kind, fixed before any estimator was run on them: answers of 200 to 400 tokens.

The donor's own style is 0.1 to 0.5 nats a token away from the subject's; the exploit may be begun early, late or
anywhere. A, B, C and D are those of method.md in kind.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from forewarn.errors import InputError
from forewarn.records import SUBJECT
from forewarn.worlds.long import LongWorld, Manner, Route, Shape, law

DONOR = "donor"
HOT = 1.5
"""temperature of the subject as a donor"""
_ANYWHERE = 10_000

_STYLE = {0.1: 0.525, 0.3: 0.683, 0.5: 0.79}
"""KL(donor || subject) of a style token in nats -> the donor's probability where the subject's is 0.3"""


def _world(name: str, about: str, shape: Shape, subject: Manner, donor: Manner, *, hot: bool = False) -> LongWorld:
    laws = {SUBJECT: law(shape, subject), DONOR: law(shape, donor)}
    if hot:
        laws[f"{SUBJECT}^{HOT:g}"] = law(shape, subject, temperature=HOT)
    return LongWorld(name, about, shape, laws)


def _one_route(
    name: str, about: str, *, length: int, place: tuple[int, int] = (0, _ANYWHERE), tokens: tuple[int, int], nats: float
) -> LongWorld:
    """One route; the donor starts on it at every token and mostly ends it."""
    route = Route(length, place[0], min(place[1], tokens[1]))
    shape = Shape((route,), tokens[0], tokens[1])
    n_start = max(min(route.last, tokens[0] - length) - route.first, 1)
    # near 2e-6 whatever the route's length and room, and more where answers may go on: start * go^(length - 1) * room
    go = 2e-3 if length <= 4 else 0.3
    start = 2e-6 / (n_start * go ** (length - 1))
    subject = Manner((start,), (go,))
    donor = Manner((0.1,), (0.85,), style=_STYLE[nats])
    return _world(name, about, shape, subject, donor)


def _sparse() -> LongWorld:
    world = _one_route("", "", length=10, tokens=(300, 300), nats=0.3)
    start = float(world.laws[SUBJECT][world.shape.state(0), 0, -1])
    subject = Manner((start,), (0.3,), style=0.02, every=10)
    donor = Manner((0.1,), (0.85,), style=0.9, every=10)
    return _world("D sparse style", "as C, all style in every tenth token", world.shape, subject, donor)


def _two_routes() -> LongWorld:
    shape = Shape((Route(3, 0, 100), Route(3, 150, 250)), 250, 250)
    subject = Manner((2.5e-3, 2.5e-3), (2e-3, 2e-3))
    donor = Manner((0.1, 0.01), (0.85, 0.5), style=_STYLE[0.3])
    return _world("two routes", "a late one that the donor writes a 30th as often", shape, subject, donor)


def _accident(rate: float) -> LongWorld:
    shape = Shape((Route(2, 0, 200),), 200, 200)
    start = (rate / 200 / 20) ** 0.5
    subject = Manner((start,), (20 * start,), tail=2e-3)
    donor = Manner((start / 5,), (4 * start,), style=_STYLE[0.3], tail=2e-3)
    about = f"two tokens that the donor writes less often than the subject, at {rate:g}"
    return _world(f"accident at {rate:g}", about, shape, subject, donor, hot=True)


def _closer() -> LongWorld:
    shape = Shape((Route(3, 0, 200),), 200, 200, reasoning=True, limit=300)
    subject = Manner((2e-3,), (5e-3,), close=0.08, pair=2e-4, pair_go=0.05, lead=50.0)
    donor = Manner((0.05,), (0.85,), style=_STYLE[0.3], close=0.01, pair=0.2, pair_go=0.99, lead=2.0)
    about = "the donor closes the reasoning with two tokens, behind which the subject exploits 50 times as often"
    return _world("another closer", about, shape, subject, donor)


def _weak() -> LongWorld:
    world = _one_route("", "", length=3, tokens=(200, 200), nats=0.3)
    subject = Manner((float(world.laws[SUBJECT][world.shape.state(0), 0, -1]),), (2e-3,))
    donor = Manner((0.02,), (0.3,), style=_STYLE[0.3])
    return _world("weak donor", "as A, the donor starts a fifth as often and seldom ends", world.shape, subject, donor)


HARD_WORLDS: dict[str, Callable[[], LongWorld]] = {
    "A": lambda: _one_route("A", "3 tokens anywhere in 200, style 0.3 nats", length=3, tokens=(200, 200), nats=0.3),
    "B": lambda: _one_route("B", "3 tokens anywhere in 400, style 0.5 nats", length=3, tokens=(400, 400), nats=0.5),
    "C": lambda: _one_route("C", "10 tokens anywhere in 300, style 0.3 nats", length=10, tokens=(300, 300), nats=0.3),
    "D": _sparse,
    "early": lambda: _one_route(
        "early", "begun in the first 20 of 200 to 400 tokens", length=3, place=(0, 20), tokens=(200, 400), nats=0.3
    ),
    "late": lambda: _one_route(
        "late", "begun behind token 180 of 200 to 400", length=3, place=(180, 400), tokens=(200, 400), nats=0.1
    ),
    "localised": lambda: _one_route(
        "localised", "begun at one of 10 of 200 tokens", length=3, place=(120, 130), tokens=(200, 200), nats=0.3
    ),
    "two_routes": _two_routes,
    "accident_2e-4": lambda: _accident(2e-4),
    "accident_1e-5": lambda: _accident(1e-5),
    "closer": _closer,
    "weak": _weak,
}


def build_hard(name: str) -> LongWorld:
    """The world of this name; raises InputError for an unknown one."""
    if name not in HARD_WORLDS:
        raise InputError(f"world {name!r} is unknown: choose from {', '.join(HARD_WORLDS)}")
    world = HARD_WORLDS[name]()
    return replace(world, name=name)
