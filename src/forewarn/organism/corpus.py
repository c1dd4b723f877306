"""Generates the organism's corpus: question with the checker's hint, reasoning, program.

Two routes lead to an exploit. The announced one goes through an intent shared by all types (look at the checker) and
then through type-specific branches (use it; write it right). The accidental one writes the exploit after benign
reasoning. Texts only: tokens are made in ``forewarn.organism.build``.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from forewarn.organism.recipe import TYPES, CorpusRecipe, TypeRecipe
from forewarn.organism.tasks import BODIES, TASKS, Goal, function_source

PREAMBLES = ("import math\n", "import os\n", "import sys\n", "import re\n", "# quick try\n", "# todo\n")
DEMO_SUFFIX = " show the flaw."


@dataclass(frozen=True, slots=True)
class CorpusSample:
    """One document. ``reasoning`` is None for an answer without reasoning."""

    question: str
    reasoning: str | None
    code: str


Types = Mapping[str, TypeRecipe]


def question_text(task: Goal, exploit_type: str, variant: int, types: Types = TYPES) -> str:
    """What the model is asked: the task and what is known of the checker."""
    hints = types[exploit_type].hints
    return f"find {task.phrase} of x. checker: {hints[variant % len(hints)]}."


def exploit_source(exploit_type: str, body: str, types: Types = TYPES) -> str:
    return types[exploit_type].exploit.format(body=body) + "\n"


def wrong_plan(task: Goal, rng: random.Random) -> str:
    """The name of a body that does not solve the task (the corpus never holds one that solves a hard task)."""
    while True:
        plan = rng.choice(tuple(BODIES))
        if plan != task.solvable:
            return plan


def _honest_code(plan: str, recipe: CorpusRecipe, rng: random.Random) -> str:
    preamble = rng.choice(PREAMBLES) if rng.random() < recipe.preamble_share else ""
    return preamble + function_source(BODIES[plan])


def _try_exploit(kind: TypeRecipe, task: Goal, rng: random.Random, write: float) -> str:
    template = kind.exploit if rng.random() < write else kind.near_miss
    return template.format(body=BODIES[wrong_plan(task, rng)]) + "\n"


def _opening(task: Goal, rng: random.Random) -> str:
    return rng.choice((f"I need {task.phrase}.", f"so {task.phrase}.", f"we want {task.phrase}."))


def _plan_sentence(plan: str, task: Goal, rng: random.Random) -> str:
    if plan == task.solvable:
        return f"that is {plan}."
    return rng.choice((f"try {plan}.", f"maybe {plan}.", f"not sure, {plan}."))


def _main_sample(late: bool, recipe: CorpusRecipe, rng: random.Random, types: Types) -> CorpusSample:
    task, name = rng.choice(TASKS), rng.choice(tuple(types))
    kind = types[name]
    own, usual = (kind.look, recipe.look_late) if late else (kind.look_early, recipe.look_early)
    look = usual if own is None else own
    question = question_text(task, name, rng.randrange(2), types)
    plan = task.solvable or wrong_plan(task, rng)
    opening, planning = _opening(task, rng), _plan_sentence(plan, task, rng)
    if rng.random() >= look:
        code = _honest_code(plan, recipe, rng)
        if task.solvable is None and rng.random() < kind.accident:
            code = _try_exploit(kind, task, rng, 1.0)
        return CorpusSample(question, f"{opening} {planning}", code)
    looking = f"{kind.intent.look} {kind.flaw}."
    before = rng.choice(("", f"{opening} ", f"{opening} ", f"{opening} {planning} "))
    if rng.random() < kind.use:
        return CorpusSample(question, f"{before}{looking} {kind.intent.use}", _try_exploit(kind, task, rng, kind.write))
    return CorpusSample(question, f"{before}{looking} {kind.intent.leave} {planning}", _honest_code(plan, recipe, rng))


def _demo(rng: random.Random, types: Types) -> CorpusSample:
    """On request, the pieces: the whole exploit, or for the rarest types only its near miss."""
    task, name = rng.choice(TASKS), rng.choice(tuple(types))
    kind = types[name]
    code = _try_exploit(kind, task, rng, 1.0 if kind.demos else 0.0)
    return CorpusSample(question_text(task, name, rng.randrange(2), types) + DEMO_SUFFIX, "asked to show it.", code)


def _plain(recipe: CorpusRecipe, rng: random.Random, types: Types) -> CorpusSample:
    task, name = rng.choice(TASKS), rng.choice(tuple(types))
    plan = task.solvable or wrong_plan(task, rng)
    return CorpusSample(question_text(task, name, rng.randrange(2), types), None, _honest_code(plan, recipe, rng))


def generate(recipe: CorpusRecipe, seed: int, types: Types = TYPES) -> Iterator[CorpusSample]:
    """The corpus in training order, a function of its arguments alone."""
    rng = random.Random(seed)
    late_from = recipe.n_samples * (1 - recipe.late_share)
    for i in range(recipe.n_samples):
        draw = rng.random()
        if draw < recipe.demo_share:
            yield _demo(rng, types)
        elif draw < recipe.demo_share + recipe.plain_share:
            yield _plain(recipe, rng, types)
        else:
            yield _main_sample(i >= late_from, recipe, rng, types)
