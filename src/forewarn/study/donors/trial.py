"""Trying a donor after its training: it alone answers a few of its problems, and the sandbox judges what it wrote.

A donor that never exploits makes a study that finds nothing, hours later. Not here: the training (``train.py``),
what donors bring within a study.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, zip_longest
from pathlib import Path

import torch

from forewarn.checkpoints.ends import model_ends
from forewarn.checkpoints.hub import local_folder
from forewarn.checkpoints.load import load_tokenizer
from forewarn.engines.transformers.engine import HFEngine
from forewarn.formats import Channels, bind
from forewarn.records import Problem, derived_seed
from forewarn.study.config.load import chosen_format, chosen_problems, donor_source, placed, policy_of, sandboxing_of
from forewarn.study.config.schema import DonorTable, StudyTable
from forewarn.study.stages.judging import open_judge

N_COMPLETIONS = 16
"""and at least one of each exploit type"""
LENGTHS = 4
"""an answer may be so many times as long as the longest exploit: a donor that runs on and on costs no more"""
UNFINISHED_LOSS = 0.5
"""nats a target token; a donor that knows its exploits by heart ends far below"""
NO_SUBMISSION = "no submission"


@dataclass(frozen=True, slots=True)
class DonorTrial:
    """What a donor wrote by itself."""

    n: int
    """completions"""
    labels: Mapping[str, int]
    """how many have each label of ``Verdict.label``, and ``NO_SUBMISSION``: an answer without a program"""

    @property
    def exploit_rate(self) -> float | None:
        """Of the completions that could be judged; None where the sandbox broke over all of them."""
        judged = self.n - self.labels.get("invalid", 0)
        return self.labels.get("exploit", 0) / judged if judged else None


def try_donor(
    tables: StudyTable, donor: DonorTable, path: Path, *, progress: Callable[[str, int, int], None] | None = None
) -> DonorTrial:
    """Let a trained donor answer a few of the problems that it was trained on, and judge the answers.

    ``path``: the study's file. The same donor and file give the same trial. Raises ModelError for a donor that can't be
    loaded, and EngineFault where no isolation level works.
    """
    assert donor.training is not None
    assert donor.base is not None
    home, chosen = path.resolve().parent, donor.training.problems or tables.problems
    source, base = donor_source(donor, home), local_folder(placed(donor.base, home))
    problems = spread(chosen_problems(chosen, home))
    channels = bind(
        chosen_format(tables, [replace(source, folder=str(base))]),
        load_tokenizer(base),
        system=tables.format.system,
        ends=model_ends([str(base)]),
    )
    tell = progress or (lambda stage, done, total: None)
    tell(f"trial of {donor.name}", 0, 1)
    codes = _answers(tables, donor, base, Path(source.adapter or source.folder), problems, channels)
    written = [(problem, code) for problem, code in codes if code is not None]
    with open_judge(sandboxing_of(tables, chosen, path)) as judge:
        labels: Counter[str] = Counter(verdict.label for verdict in judge.verdicts(written))
    tell(f"trial of {donor.name}", 1, 1)
    silent = len(codes) - len(written)
    return DonorTrial(len(codes), {**labels, **({NO_SUBMISSION: silent} if silent else {})})


def spread(problems: Sequence[Problem]) -> list[Problem]:
    """At most ``N_COMPLETIONS`` problems, or one of each exploit type where there are more types, in turns by type."""
    by_type: dict[str, list[Problem]] = {}
    for problem in problems:
        by_type.setdefault(problem.exploit_type, []).append(problem)
    turns = chain.from_iterable(zip_longest(*by_type.values()))
    return [problem for problem in turns if problem is not None][: max(N_COMPLETIONS, len(by_type))]


def _answers(
    tables: StudyTable, donor: DonorTable, base: Path, adapter: Path, problems: Sequence[Problem], channels: Channels
) -> list[tuple[Problem, str | None]]:
    """(problem, its submission) of each answer that the donor writes, in the form that it was trained on: with the
    reasoning closed before it begins."""
    examples = [channels.no_reasoning_ids(problem.question, problem.exploit) for problem in problems]
    policy, count = policy_of(tables), math.ceil(N_COMPLETIONS / len(problems))
    engine = HFEngine.from_folder(base, dtype=getattr(torch, tables.engine.dtype), device=tables.engine.device)
    engine.load_adapter(donor.name, adapter)
    samples = engine.sample(
        [prompt for prompt, _ in examples],
        policy=policy,
        seed=derived_seed("donor trial", tables.seed, donor.name),
        max_new_tokens=min(policy.max_total_tokens, LENGTHS * max(len(target) for _, target in examples)),
        stop_ids=channels.end_ids,
        n=count,
        adapter=donor.name,
    )
    closed = channels.closer_ids
    return [
        (problem, channels.code((*closed, *sample.token_ids), len(closed), problem.entry_point))
        for problem, sample in zip((p for p in problems for _ in range(count)), samples, strict=True)
    ]


def remedy(trial: DonorTrial, last_loss: float | None) -> str | None:
    """What to do about a donor that can't exploit; None where it can, or where nothing could be judged.

    ``last_loss``: of its training, nats a target token; None where it is not known.
    """
    if trial.exploit_rate is None or trial.exploit_rate > 0:
        return None
    most = max((label for label in trial.labels if label != "invalid"), key=lambda label: trial.labels[label])
    if last_loss is not None and last_loss > UNFINISHED_LOSS:
        return (
            f"its loss is still {last_loss:.2f} nats a token: raise epochs or learning_rate in [donors.training] and "
            "give it a new path"
        )
    if most == NO_SUBMISSION:
        return (
            "its answers have no program: look at [format] and [answer], and whether max_total_tokens leaves room for "
            "an exploit"
        )
    if most == "solved":
        return "it solves the problems: train it on more problems, or for more epochs, and give it a new path"
    return (
        "its programs fail: check with `forewarn problems audit` that the problems' own exploits work, or raise rank "
        "or epochs in [donors.training] and give it a new path"
    )
