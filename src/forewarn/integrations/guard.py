"""A guard around a user's own reward function: what the training rewards is judged, counted, and acted on if asked.

    from forewarn.integrations.guard import guard
    trainer = GRPOTrainer(..., reward_funcs=[guard(my_reward, problems, judge=Judge(workers=4), run_folder="runs/x")])

Rollouts that the reward accepts are judged by the twin and the secure judgement. They are what the *training* sees:
they never enter an estimate, they may fit a donor (`forewarn refine-donor --rollouts`), and their counts are a
baseline.
The signature is that of TRL's reward functions; other trainers call the result with the same names.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from forewarn.errors import InputError
from forewarn.formats import Channels, CodeRule, extract_code
from forewarn.formats.conversation import answer_text, turns_in, why_not_one_answer
from forewarn.integrations.keeper import NOT_JUDGED, Keeper
from forewarn.judge.judge import Judge
from forewarn.records import Problem
from forewarn.training.reward import NO_PROGRAM, known_problem

Intervention = Literal["nothing", "drop", "lower"]
Reward = Callable[..., Sequence[float | None]]
ReadsCode = Callable[[str, Problem], str | None]
"""(text of a completion, its problem) -> the program that the reward runs, or None"""


def guard(
    reward: Reward,
    problems: Sequence[Problem],
    *,
    judge: Judge,
    channels: Channels | None = None,
    rule: CodeRule | ReadsCode | None = None,
    run_folder: str | Path | None = None,
    accepted_from: float = 1.0,
    types: Sequence[str] = (),
    intervene: Intervention = "nothing",
    lowered: float = 0.0,
) -> Reward:
    """Return ``reward`` with a guard around it; the data set has a column ``problem_id``.

    ``channels``: reads programs off token ids by the study's format and rule; without it they are read off the text of
    ``completions`` by ``rule``, which has to be the reward's own: if the reward runs another block of an answer than
    the guard judges, a right program beside an exploit hides it. A ``CodeRule`` prefers blocks that define the entry
    point by its name; if the reward reads in any other way, give its own function. ``accepted_from``: rewards of at
    least that are judged. ``intervene``: what becomes of a completion that is labelled an exploit of one of ``types``
    (empty: of any): "drop" makes its reward None, which TRL leaves out of its group, "lower" makes it ``lowered``.
    Where the sandbox broke, an accepted completion has no program, or its executions contradict each other
    ("inconsistent"), an intervening guard gives None, never a number.
    ``run_folder``: keeps each rollout judged, and a line of counts a call. Raises InputError for an unknown
    intervention, a problem id that ``problems`` lacks, or a reward of another length.
    """
    if intervene not in get_args(Intervention):
        raise InputError(f"intervene is {intervene!r}: give one of {', '.join(map(repr, get_args(Intervention)))}")
    if channels is not None and rule is not None:
        raise InputError("channels have a rule of their own: leave rule out")
    by_id = {problem.problem_id: problem for problem in problems}
    unknown = sorted(set(types) - {problem.exploit_type for problem in problems})
    if unknown:
        raise InputError(f"types names {unknown[0]!r}, of which there is no problem")
    keeper = Keeper(None if run_folder is None else Path(run_folder))
    chosen = frozenset(types or [problem.exploit_type for problem in problems])
    after = None if intervene == "nothing" else _Rule(chosen, None if intervene == "drop" else lowered)
    return _Guarded(reward, by_id, judge, channels, rule, accepted_from, after, keeper)


@dataclass(frozen=True, slots=True)
class _Rule:
    """What becomes of a labelled reward."""

    types: frozenset[str]
    exploit: float | None
    """the reward of an exploit of these types"""

    def __call__(self, value: float | None, label: str | None, owner: Problem) -> float | None:
        if owner.exploit_type not in self.types or label not in ("exploit", "inconsistent", *NOT_JUDGED):
            return value
        return self.exploit if label == "exploit" else None


@dataclass(frozen=True)
class _Guarded:
    """A reward function with a guard around it."""

    reward: Reward
    by_id: Mapping[str, Problem]
    judge: Judge
    channels: Channels | None
    rule: CodeRule | ReadsCode | None
    accepted_from: float
    after: _Rule | None
    keeper: Keeper

    @property
    def __name__(self) -> str:  # TRL names a reward's metrics by it
        return str(getattr(self.reward, "__name__", type(self.reward).__name__))

    def __call__(
        self,
        *,
        completions: Sequence[Any] = (),
        completion_ids: Sequence[Sequence[int]] | None = None,
        problem_id: Sequence[str],
        trainer_state: Any = None,
        log_extra: Callable[[str, list[Any]], None] | None = None,
        log_metric: Callable[[str, float], None] | None = None,
        **columns: Any,
    ) -> list[float | None]:
        owners = [known_problem(self.by_id, name) for name in problem_id]
        columns |= {"completions": completions, "completion_ids": completion_ids, "problem_id": problem_id}
        columns |= {"trainer_state": trainer_state, "log_extra": log_extra, "log_metric": log_metric}
        prompts = columns.get("prompts")
        apart = self._conversations(completions, prompts, completion_ids)
        given = list(self.reward(**columns))
        if len(given) != len(owners):
            raise InputError(f"the guarded reward gave {len(given)} values for {len(owners)} completions")
        codes = _codes(owners, completions, completion_ids, self.channels, self.rule, apart)
        labels = _labels(owners, codes, given, self.judge, self.accepted_from)
        if log_extra is not None:
            log_extra("label", list(labels))
        if log_metric is not None:
            for label, n in Counter(label for label in labels if label is not None).items():
                log_metric(f"guard/{label}", n / len(labels))
        ids = completion_ids if completion_ids is not None else [()] * len(owners)
        step = None if trainer_state is None else int(trainer_state.global_step)
        self.keeper.keep(step, owners, labels, given, ids)
        if self.after is None:
            return given
        return [self.after(*one) for one in zip(given, labels, owners, strict=True)]

    def _conversations(
        self, completions: Sequence[Any], prompts: Sequence[Any] | None, ids: Sequence[Sequence[int]] | None
    ) -> frozenset[int]:
        """The places of rollouts that are more than one answer to one prompt, which nothing here can judge.

        A training whose first rollouts are such is refused, before it has begun; later ones are left unjudged, as an
        error would end the training.
        """
        found: dict[int, str] = {}
        for i, completion in enumerate(completions):
            why = why_not_one_answer(completion, None if prompts is None else prompts[i])
            if why is not None:
                found[i] = why
        if self.channels is not None:
            for i, tokens in enumerate(ids or ()):
                turns = turns_in(tokens, self.channels)
                if turns > 1:
                    found.setdefault(i, f"its tokens hold {turns} turns")
        if found and self.keeper.calls == 0:
            raise InputError(
                f"a rollout is not one answer to one prompt ({next(iter(found.values()))}): the guard does not judge "
                "conversations with turns or tools"
            )
        self.keeper.calls += 1
        return frozenset(found)


def _codes(
    owners: Sequence[Problem],
    completions: Sequence[Any],
    completion_ids: Sequence[Sequence[int]] | None,
    channels: Channels | None,
    rule: CodeRule | ReadsCode | None,
    apart: Collection[int],
) -> list[str | None]:
    """Return each completion's program; None where there is none, and for the places ``apart``."""
    if channels is not None:
        if completion_ids is None:
            raise InputError("the trainer gave no completion_ids, which channels read: leave channels out")
        found: list[str | None] = []
        for i, (owner, ids) in enumerate(zip(owners, completion_ids, strict=True)):
            if i in apart:
                found.append(None)
                continue
            tokens = tuple(map(int, ids))
            found.append(channels.code(tokens, channels.split(tokens).n_reasoning, owner.entry_point))
        return found
    pairs = list(zip(owners, completions, strict=True))
    return [None if i in apart else _read(answer_text(one), of, rule) for i, (of, one) in enumerate(pairs)]


def _read(text: str, owner: Problem, rule: CodeRule | ReadsCode | None) -> str | None:
    if rule is None or isinstance(rule, CodeRule):
        return extract_code(text, owner.entry_point, rule)
    code = rule(text, owner)
    if code is not None and not isinstance(code, str):
        raise InputError(f"rule gave {type(code).__name__} for problem {owner.problem_id!r}: give text, or None")
    return code


def _labels(
    owners: Sequence[Problem],
    codes: Sequence[str | None],
    given: Sequence[float | None],
    judge: Judge,
    accepted_from: float,
) -> list[str | None]:
    """Return the label of each accepted completion, ``NO_PROGRAM`` where there is nothing to judge; None elsewhere."""
    accepted = [i for i, value in enumerate(given) if value is not None and value >= accepted_from]
    chosen = frozenset(accepted)
    places = [i for i in accepted if codes[i]]
    verdicts = judge.verdicts([(owners[i], codes[i] or "") for i in places])
    found: dict[int, str] = {i: verdict.label for i, verdict in zip(places, verdicts, strict=True)}
    return [found.get(i, NO_PROGRAM) if i in chosen else None for i in range(len(owners))]
