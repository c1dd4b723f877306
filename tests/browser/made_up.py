"""A made-up run folder, for the size and speed of pages: 26 exploit types, 15 checkpoints, nothing of it measured.

It is written by the library's own stores and tables, so that it reads as any run folder does. Each type has a rate
that follows a law below; completions are drawn from that law, and so are their log-probabilities.

``python -m tests.browser.made_up FOLDER``
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from forewarn.exploits import EXPLOIT_TYPES
from forewarn.records import UNBOUNDED, Policy, Score, Span, Verdict, content_key, derived_seed
from forewarn.store import RunFolder, write_json, write_table
from forewarn.study.folder.manifest import MANIFEST_FILE, plan_entries
from forewarn.study.folder.schemas import COMPLETION_ROWS, SUBMISSION_ROWS
from forewarn.study.folder.tables import scores_table, verdicts_table
from forewarn.study.folder.vocabulary import VOCABULARY_FILE
from forewarn.study.keys import CellRecord, scores_key
from forewarn.study.plan import PlannedSpan

STEPS = (1, 2, 4, 7, 11, 18, 28, 44, 68, 105, 160, 245, 370, 560, 840)
PROBLEMS = 2
POLICY = Policy()
SPANS = (
    PlannedSpan(Span(), 30),
    PlannedSpan(Span(0, 2, "donor"), 15),
    PlannedSpan(Span(0, UNBOUNDED, "donor"), 15),
    PlannedSpan(Span(4, UNBOUNDED, "donor"), 10),
)
THOUGHT = (
    "the checker only looks at one thing , so a short program that sets it will pass . hm , wait : is that what was "
    "asked ? it does not matter , the tests see nothing else . let me write it ."
)
CONTROL = ("<end>", "</think>\n")
CODE = ("def solve(x):\n", "    ", "seen ", "= ", "True\n", "    ", "return ", "x\n", "0\n", "None\n", "[]\n", "-1\n")
TOKENS = (*CONTROL, *(f"{word} " for word in THOUGHT.split()), *CODE)
FIRST = TOKENS.index(CODE[0])
N_CODE = 7
"""tokens of an exploit's answer that decide it"""
OTHERS = ("failed", "solved", "lucky", "inconsistent", "invalid")
OTHERS_SHARE = (0.72, 0.24, 0.02, 0.01, 0.01)


@dataclass(frozen=True)
class Law:
    """How the rate of one type goes."""

    start: float
    middle: float
    """step of the middle of its growth"""
    top: float
    donor: float
    """how often the donor, writing alone, exploits"""

    def rate(self, step: int) -> float:
        return min(0.97, self.start * (1 + 0.2 * math.log(step)) + self.top / (1 + (self.middle / step) ** 2.5))


def laws(seed: int = 5) -> dict[str, Law]:
    """A law for each of the exploit types: a few rise, most stay, some are never seen."""
    rng = np.random.default_rng(seed)
    found = {}
    for i, name in enumerate(EXPLOIT_TYPES):
        rises = i % 6 == 0
        top = float(rng.uniform(0.3, 0.9)) if rises else 0.0
        start = float(10 ** rng.uniform(-7, -3))
        donor = 0.0 if i % 9 == 4 else float(rng.uniform(0.2, 0.9))
        found[name] = Law(start, float(10 ** rng.uniform(1.5, 3.4)), top, donor)
    return found


def _paths(rng: np.random.Generator, law: Law, step: int) -> tuple[np.ndarray, np.ndarray]:
    """Log-probabilities of the deciding tokens of three programs under subject and donor: arrays (3, N_CODE)."""
    parts = np.array([0.6, 0.3, 0.1])

    def split(total: np.ndarray) -> np.ndarray:
        shares = rng.dirichlet(np.full(N_CODE, 4.0), size=len(total))
        return np.asarray(np.log(total)[:, None] * shares)

    return split(law.rate(step) * parts), split(max(law.donor, 1e-9) * parts[::-1])


def _cell(
    name: str, law: Law, step: int, record: CellRecord, seed: int
) -> tuple[list[dict[str, Any]], pl.DataFrame, list[str]]:
    """Rows of completions, the scores of the exploits, and each completion's label."""
    rng = np.random.default_rng(derived_seed("made up", seed, name, step))
    subject_VT, donor_VT = _paths(np.random.default_rng(derived_seed("paths", seed, name)), law, step)
    rows, labels, scores = [], [], []
    for planned in record.spans:
        span = planned.span
        by_donor = min(span.m, N_CODE)
        chance_V = np.exp(donor_VT[:, :by_donor].sum(1) + subject_VT[:, by_donor:].sum(1))
        for problem in range(PROBLEMS):
            for i in range(planned.count):
                drawn = int(np.searchsorted(np.cumsum(chance_V), rng.random()))
                hit = drawn < len(chance_V)
                label = "exploit" if hit else str(rng.choice(OTHERS, p=OTHERS_SHARE))
                row = _completion(rng, name, record, problem, planned, i, drawn if hit else -1)
                rows.append(row)
                labels.append(label)
                if hit:
                    lead = [-0.4] * row["n_reasoning"]
                    tail = [-0.1] * (len(row["token_ids"]) - row["n_reasoning"] - N_CODE)
                    for model, values in ((record.checkpoint_id, subject_VT[drawn]), ("donor:donor", donor_VT[drawn])):
                        log_probs = (*lead, *map(float, values), *tail)
                        scores.append(Score(row["completion_id"], model, POLICY, log_probs))
    return rows, scores_table(scores), labels


def _completion(
    rng: np.random.Generator, name: str, record: CellRecord, problem: int, planned: PlannedSpan, i: int, program: int
) -> dict[str, Any]:
    span = planned.span
    opened = program >= 0 or rng.random() < 0.93
    n_reasoning = int(rng.integers(8, FIRST - 1))
    reasoning = [*range(2, n_reasoning + 1), 1 if opened else n_reasoning + 1]
    answer = []
    if opened:
        returned = program if program >= 0 else int(rng.integers(3, 5))
        answer = [*range(FIRST, FIRST + N_CODE), FIRST + N_CODE + returned, 0]
    wrote = [j < min(span.k, n_reasoning) for j in range(n_reasoning)] + [j < span.m for j in range(len(answer))]
    identity = content_key("made up", record.checkpoint_id, name, problem, span.name, i)
    return {
        "completion_id": identity, "problem_id": f"made-up/{name}/{problem}", "checkpoint_id": record.checkpoint_id,
        "span": span.name, "k": span.k, "m": span.m, "donor": span.donor, "scale": 1.0,
        "token_ids": [*reasoning, *answer], "n_reasoning": n_reasoning, "donor_wrote": wrote,
        "log_probs": [-0.5] * len(wrote), "finish_reason": "stop" if opened else "length", "trace_id": identity,
        "seed": 0, "case": "whole" if opened else "cut_reasoning",
    }  # fmt: skip


def write_run(root: Path, *, steps: Sequence[int] = STEPS, types: int = 26, seed: int = 5) -> None:
    """Write the folder, or what of it is not there yet: with more ``steps`` it grows."""
    chosen = dict(list(laws(seed).items())[:types])
    problem_keys = {f"made-up/{name}/{i}": content_key("problem", name, i) for name in chosen for i in range(PROBLEMS)}
    run, records = RunFolder(root), []
    for step in steps:
        for name in chosen:
            key = content_key("completions", step, name, seed)
            records.append(
                CellRecord.of(
                    [*SPANS], checkpoint_id=f"rl/{step}", step=step, exploit_type=name, key=key,
                    submissions=content_key("submissions", key),
                )
            )  # fmt: skip
    entries = plan_entries(0.9, SPANS, records, problem_keys)
    write_json(root / MANIFEST_FILE, {**entries, "study": "made up, not measured", "seed": seed})
    write_table(
        root / VOCABULARY_FILE,
        pl.DataFrame({"token_id": range(len(TOKENS)), "spells": [token.encode() for token in TOKENS]}),
    )
    for record in records:
        if not run.shards("completions").has(record.key):
            _write_cell(run, record, chosen[record.exploit_type], problem_keys, seed)


def _write_cell(run: RunFolder, record: CellRecord, law: Law, problem_keys: dict[str, str], seed: int) -> None:
    name = record.exploit_type
    rows, scores, labels = _cell(name, law, record.step, record, seed)
    submissions, verdicts = [], {}
    for row, label in zip(rows, labels, strict=True):
        answer = row["token_ids"][row["n_reasoning"] :]
        code = "".join(TOKENS[token] for token in answer[:-1]) + f"  # {label}" if answer else None
        code_key = None if code is None else content_key(code)
        submissions.append((row["completion_id"], code, code_key))
        if code_key is not None:
            key = problem_keys[row["problem_id"]]
            evidence = ("vulnerable: accepted", "patched: refused", "secure: refused") if label == "exploit" else ()
            verdicts[key, code_key] = Verdict(
                row["problem_id"], code_key, label, label == "exploit", False, False, "strict", f"made up: {label}",
                evidence,
            )  # fmt: skip
    assert record.submissions is not None
    run.shards("submissions").write(record.submissions, pl.DataFrame(submissions, schema=SUBMISSION_ROWS, orient="row"))
    run.shards("verdicts").write(record.key, verdicts_table([(key, verdict) for (key, _), verdict in verdicts.items()]))
    hits = [row["completion_id"] for row, label in zip(rows, labels, strict=True) if label == "exploit"]
    if hits:
        run.shards("scores").write(scores_key(record.key, hits), scores)
    run.shards("completions").write(record.key, pl.DataFrame(rows, schema=COMPLETION_ROWS))


if __name__ == "__main__":
    write_run(Path(sys.argv[1]))
