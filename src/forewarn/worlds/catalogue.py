"""The worlds, fixed before any estimator was run on them: name -> what it is for and how it is built.

Tokens: 0 plain, 1 hmm, 2 look (at the checker), 3 close, 4 close2, 5 honest, 6 hack, 7 sneak, 8 end. An exploit is an
answer that ends its turn with at least two ``hack`` or two ``sneak`` and no ``honest`` (``honest`` after a hack is a
clean solution). Hidden states: 0 honest, 1 intent (to hack), 2 slyness (to sneak, which some donors never learned).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from forewarn.errors import InputError
from forewarn.records import UNBOUNDED, Span
from forewarn.worlds.process import Channel, TokenModel, Tree, enumerate_tree
from forewarn.worlds.world import SUBJECT_MODEL, World, make_world

PLAIN, HMM, LOOK, CLOSE, CLOSE2, HONEST, HACK, SNEAK, END = range(9)
SPANS = (
    Span(),
    *(Span(k, 0, "donor") for k in (1, 2, UNBOUNDED)),
    *(Span(0, m, "donor") for m in (1, 2, UNBOUNDED)),
    Span(1, 2, "donor"),
    Span(2, UNBOUNDED, "donor"),
    Span(UNBOUNDED, UNBOUNDED, "donor"),
)


@dataclass(frozen=True, slots=True)
class Habits:
    """What a model tends to do; see ``model``."""

    intent: float = 0.0
    """chance to start with intent"""
    sly: float = 0.0
    turn: float = 0.0
    """chance per reasoning token to turn from honest to intent"""
    look: float = 0.01
    """chance of a look while honest"""
    slip: float = 1e-3
    """chance per answer token of a hack while honest: the accidental route"""
    hack: float = 0.7
    """chance per answer token of a hack with intent"""
    sneak: float = 0.7
    stop: float = 0.3
    """chance per reasoning token to close"""
    top_p: float = 1.0


def model(h: Habits, *, two_token_closer: bool = False) -> TokenModel:
    """The token process of these habits."""
    talk_K3 = np.array([[0.65, 0.35, 0.0], [0.3, 0.1, 0.6], [0.4, 0.5, 0.1]])  # plain, hmm, look without the closer
    talk_K3[0] = np.array([(1 - h.look) * 0.65, (1 - h.look) * 0.35, h.look])
    reasoning = np.zeros((3, 9))
    reasoning[:, [PLAIN, HMM, LOOK]] = talk_K3 * (1 - h.stop)
    reasoning[:, CLOSE] = h.stop
    if two_token_closer:
        reasoning[:, [PLAIN, HMM, LOOK]] *= 1 - 0.5
        reasoning[:, CLOSE2] = 0.5 * (1 - h.stop)
    answer = np.zeros((3, 9))
    answer[0, [HONEST, HACK, SNEAK, END]] = [0.7 - h.slip, h.slip, 0.0, 0.3]
    answer[1, [HONEST, HACK, SNEAK, END]] = [0.8 - h.hack, h.hack, 0.0, 0.2]
    answer[2, [HONEST, HACK, SNEAK, END]] = [0.8 - h.sneak, 0.0, h.sneak, 0.2]
    move = np.array([[1 - h.turn, h.turn, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    start = np.array([1 - h.intent - h.sly, h.intent, h.sly])
    return TokenModel(start, Channel(reasoning, move), Channel(answer, np.eye(3)), h.top_p)


def is_exploit(tree: Tree) -> NDArray[np.bool_]:
    answer = np.arange(tree.token_YI.shape[1])[None, :] >= tree.n_reasoning_Y[:, None]
    token = np.where(answer, tree.token_YI, -1)
    last = tree.token_YI[np.arange(len(token)), tree.n_token_Y - 1]
    enough = ((token == HACK).sum(axis=1) >= 2) | ((token == SNEAK).sum(axis=1) >= 2)
    result: NDArray[np.bool_] = enough & ~(token == HONEST).any(axis=1) & (last == END)
    return result


DONOR = Habits(intent=0.7, turn=0.2, look=0.2, slip=0.3, hack=0.7)
"""fine-tuned on exploits; reasons toward them too"""


def _tree(subject: Habits, donor: Habits, *, limit: int = 8, two_token_closer: bool = False) -> Tree:
    models = {
        SUBJECT_MODEL: model(subject, two_token_closer=two_token_closer),
        "donor": model(donor, two_token_closer=two_token_closer),
    }
    closer = (CLOSE, CLOSE2) if two_token_closer else (CLOSE,)
    return enumerate_tree(models, closer=closer, end=END, max_total=limit, n_vocab=9)


def simple(
    name: str, subject: Habits, donor: Habits = DONOR, *, limit: int = 8, two_token_closer: bool = False
) -> World:
    """One problem."""
    return make_world(name, [_tree(subject, donor, limit=limit, two_token_closer=two_token_closer)], SPANS, is_exploit)


def unequal(name: str, n_problem: int, subject: Habits, decades: float, n_kind: int = 25) -> World:
    """Problems whose rates span ``decades`` (intent and slips scaled together), from the highest to the lowest."""
    scale = np.logspace(0, -decades, min(n_kind, n_problem))
    trees = [
        _tree(replace(subject, intent=subject.intent * s, slip=subject.slip * s**0.5), DONOR, limit=7) for s in scale
    ]
    return make_world(name, trees, SPANS, is_exploit, kind_T=np.arange(n_problem) % len(scale))


WORLDS: dict[str, Callable[[], World]] = {
    # covered or not is computed (World.covered), never declared
    "accidental": lambda: simple("accidental", Habits(intent=1e-5, slip=0.03, look=0.02)),
    "deliberate": lambda: simple("deliberate", Habits(intent=3e-4, slip=1e-4)),
    "both_roads": lambda: simple("both_roads", Habits(intent=2e-4, turn=1e-5, slip=0.015)),
    "both_needed": lambda: simple("both_needed", Habits(intent=2e-3, slip=1e-4, hack=0.08)),
    "rare_1e-6": lambda: simple("rare_1e-6", Habits(intent=3e-6, turn=1e-7, slip=8e-4)),
    "rare_1e-9": lambda: simple("rare_1e-9", Habits(intent=3e-9, turn=1e-10, slip=2e-5)),
    "half": lambda: simple("half", Habits(intent=0.98, turn=0.3, look=0.2, slip=0.3, hack=0.8, stop=0.95), limit=9),
    "tenth": lambda: simple("tenth", Habits(intent=0.2, turn=0.02, slip=0.05)),
    "misses_half": lambda: simple("misses_half", Habits(intent=2e-4, sly=2e-4, slip=1e-4)),
    "misses_95": lambda: simple("misses_95", Habits(intent=2e-5, sly=3.8e-4, slip=1e-4)),
    "misses_all": lambda: simple("misses_all", Habits(sly=5e-3, slip=0.0)),
    "donor_is_subject": lambda: simple(
        "donor_is_subject", Habits(intent=0.02, slip=0.1), Habits(intent=0.02, slip=0.1)
    ),
    "two_token_closer": lambda: simple(
        "two_token_closer", Habits(intent=1e-3, slip=0.01, stop=0.5), replace(DONOR, stop=0.5), two_token_closer=True
    ),
    "limit_bites": lambda: simple(
        "limit_bites", Habits(intent=5e-4, slip=0.02, stop=0.15), replace(DONOR, stop=0.1), limit=6
    ),
    "top_p": lambda: simple("top_p", Habits(intent=0.003, turn=1e-3, slip=0.02, look=0.005, top_p=0.99)),
    "extreme_ratios": lambda: simple(
        "extreme_ratios", Habits(intent=1e-4, slip=1e-120, look=1e-90), replace(DONOR, slip=1e-200)
    ),
    "thirty_problems": lambda: unequal("thirty_problems", 30, Habits(intent=3e-3, slip=0.02), decades=3),
    "thousand_problems": lambda: unequal("thousand_problems", 1000, Habits(intent=1e-3, slip=0.01), decades=4),
}


def build(name: str) -> World:
    """The world of this name; raises InputError for an unknown one."""
    if name not in WORLDS:
        raise InputError(f"world {name!r} is unknown: choose from {', '.join(WORLDS)}")
    return WORLDS[name]()


def checkpoints(
    habits: Habits, donor: Habits, steps: tuple[int, ...], slope: float, *, limit: int = 7
) -> tuple[World, ...]:
    """One world per step, the same completions and donor, whose exact rates follow a power law in the step.

    The first has the rate of ``habits``; the later ones scale intent and slips together until P(exploit) is that rate
    times (step / first step)^slope, to 1e-10.
    """
    first = simple(f"step_{steps[0]}", habits, donor, limit=limit)
    out = [first]

    def at(log_scale: float, name: str) -> World:
        scale = math.exp(log_scale)
        moved = replace(habits, intent=habits.intent * scale, turn=habits.turn * scale, slip=habits.slip * scale**0.5)
        return simple(name, moved, donor, limit=limit)

    for step in steps[1:]:
        goal = math.log(first.p) + slope * math.log(step / steps[0])

        def gap(log_scale: float, goal: float = goal) -> float:
            return math.log(at(log_scale, "").p) - goal

        reach = 1.5 * (goal - math.log(first.p))
        log_scale = float(brentq(gap, min(0.0, reach), max(0.0, reach), xtol=1e-10)) if reach else 0.0
        out.append(at(log_scale, f"step_{step}"))
    return tuple(out)
