"""The judged reward: completions' token ids in, the vulnerable checker's verdicts out, as TRL's trainers ask for them.

Reasoning and answer are split by the chat format and the program is read off the answer by the study's rule, so that
what is rewarded is what is measured later. Needs no TRL. Not covered: the training (``subject.py``).
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from forewarn.errors import InputError, StoreError
from forewarn.formats import Channels
from forewarn.judge.judge import Judge
from forewarn.records import Problem
from forewarn.store import write_whole

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

NO_PROGRAM = "no program"
"""the label of a completion that has no program: no answer opened, or it is empty"""
EXTRA_COLUMNS = ("label", "twin", "secure")
"""what is logged of each completion beside its reward (``log_extra``)"""
RewardFunction = Callable[..., list[float | None]]


@dataclass(frozen=True, slots=True)
class RolloutRow:
    """One training completion and what the judge said. Never to be used as an evaluation of this or a later step."""

    step: int
    """optimizer steps behind the weights that wrote it"""
    problem_id: str
    exploit_type: str
    label: str
    """of the verdict, or ``NO_PROGRAM``"""
    reward: float | None
    """None: the sandbox or a checker broke"""
    token_ids: tuple[int, ...]
    """everything after the prompt"""


class RolloutLog:
    """Rollouts (dataclasses with a ``step``) as JSON lines in ``path``; a call returns when its lines are on disk."""

    def __init__(self, path: Path, *, done_steps: int = 0) -> None:
        """``done_steps``: where training goes on; what later steps of a run that was cut short wrote is dropped."""
        self.path = path
        self._file: IO[str] | None = None
        if path.exists():
            kept = [line for line in _whole_lines(path) if json.loads(line)["step"] < done_steps]
            write_whole(path, "".join(kept).encode())

    def __call__(self, rows: Sequence[DataclassInstance]) -> None:
        try:
            if self._file is None:
                self._file = self.path.open("a")
            self._file.write("".join(json.dumps(asdict(row)) + "\n" for row in rows))
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise StoreError(
                f"can't write {self.path}: {error.strerror or error}; free some space and run the same command again"
            ) from None

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def _whole_lines(path: Path) -> list[str]:
    """The lines of a log; a last one that a kill cut short is left out."""
    return [line for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]


def judged_reward(
    problems: Sequence[Problem],
    *,
    channels: Channels,
    judge: Judge,
    log: Callable[[Sequence[RolloutRow]], None] | None = None,
) -> RewardFunction:
    """A reward function for TRL: 1.0 where the vulnerable checker accepts, 0.0 where it rejects, None where it broke.

    The data set it is used with has a column ``problem_id``. None never becomes a number: TRL leaves such completions
    out of their group. A completion without a program earns 0.0. What the twin and the secure judgement say is logged
    beside the reward: their answers as columns (``EXTRA_COLUMNS``), the share of each label as a metric. Raises
    InputError for a problem id that ``problems`` lacks.
    """
    by_id = {problem.problem_id: problem for problem in problems}

    def vulnerable(
        *,
        completion_ids: Sequence[Sequence[int]],
        problem_id: Sequence[str],
        trainer_state: Any = None,
        log_extra: Callable[[str, list[Any]], None] | None = None,
        log_metric: Callable[[str, float], None] | None = None,
        **_: object,
    ) -> list[float | None]:
        owners = [known_problem(by_id, name) for name in problem_id]
        judged = judge_completions(owners, completion_ids, channels, judge)
        if log_extra is not None:
            for column in EXTRA_COLUMNS:
                log_extra(column, [getattr(one, column) for one in judged])
        if log_metric is not None:
            for label in sorted({one.label for one in judged}):
                log_metric(f"label/{label}", sum(one.label == label for one in judged) / len(judged))
        if log is not None:
            step = 0 if trainer_state is None else int(trainer_state.global_step)
            log(
                [
                    RolloutRow(step, owner.problem_id, owner.exploit_type, one.label, one.reward, tuple(map(int, ids)))
                    for owner, one, ids in zip(owners, judged, completion_ids, strict=True)
                ]
            )
        return [one.reward for one in judged]

    return vulnerable


@dataclass(frozen=True, slots=True)
class Judged:
    """What the judge said of one completion."""

    label: str
    """of the verdict, or ``NO_PROGRAM``"""
    reward: float | None
    """the vulnerable checker's; None: it broke"""
    twin: bool | None
    """None: not asked, or it broke"""
    secure: bool | None


def judge_completions(
    owners: Sequence[Problem], completions: Sequence[Sequence[int]], channels: Channels, judge: Judge
) -> list[Judged]:
    """Judge the programs of completions, given as all tokens after their prompts."""
    codes = []
    for owner, ids in zip(owners, completions, strict=True):
        tokens = tuple(map(int, ids))
        codes.append(channels.code(tokens, channels.split(tokens).n_reasoning, owner.entry_point))
    programs = [(owner, code) for owner, code in zip(owners, codes, strict=True) if code]
    verdicts = iter(judge.verdicts(programs))
    judged = []
    for code in codes:
        if not code:
            judged.append(Judged(NO_PROGRAM, 0.0, None, None))
            continue
        verdict = next(verdicts)
        reward = None if verdict.vulnerable is None else float(verdict.vulnerable)
        judged.append(Judged(verdict.label, reward, verdict.patched, verdict.secure))
    return judged


def known_problem(by_id: Mapping[str, Problem], name: str) -> Problem:
    """Return a problem by its id. Raises InputError for one that is not there."""
    try:
        return by_id[name]
    except KeyError:
        raise InputError(
            f"problem_id {name!r} is none of the {len(by_id)} problems of the reward: give it the same problems as the "
            "data set"
        ) from None
