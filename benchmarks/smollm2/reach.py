"""How well a donor's windows reach the subject's own exploits: those that brute force found, scored under both.

    python benchmarks/smollm2/reach.py FOLDER DONOR        scores them, resumable; data/reach-DONOR.json
    python benchmarks/smollm2/reach.py --table DONOR ...   what follows from them

Brute force's exploits are draws from p(y | E), the subject given an exploit. With w the weight under brute force and
the spans of one donor (``MIXTURES``), the mean of w over them is E_p[w | E], and its inverse is how many completions of
brute force one of the mixture is worth, without a completion drawn. The median of 1/w says how many times as often as
brute force the mixture draws a typical one. ``programs.jsonl`` has programs and no reasoning, so that each
is scored behind the same line of reasoning, the warm start's commonest. No exploit in it has fitted DONOR: ``soft``,
``refined``, or ``round-1``, the one before that.

``FOLDER`` is that of ``refined.py``.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from kept import DATA, REFINED, SOFT, truths
from numpy.typing import NDArray
from refined import CELLS, PATHS

from forewarn.engines.transformers.engine import HFEngine
from forewarn.estimation.spans import span_log_ratios
from forewarn.records import UNBOUNDED, Problem, RandomWindows, Span
from forewarn.store import write_json
from forewarn.study.config.load import load_study
from forewarn.study.models import study_channels

REASONING = "I write {} in one line.\n"
ANSWER, ALL = RandomWindows("answer", mean=8.0, starts=32), RandomWindows("all", mean=8.0, starts=48)
DONOR = "donor"
"""whichever it is, in ``MIXTURES``"""
ROUND = "round-1"
FOLDERS = {SOFT: SOFT, ROUND: f"{REFINED}/{ROUND}", REFINED: REFINED}
"""donor -> its folder in ``FOLDER``"""
N = 832
"""completions of a cell in ``study.toml``"""
ORDER = (
    ("warm-3", "magic_docstring_comment_token"), ("rl-0", "function_attribute_flag"), ("rl-0", "error_code_abuse"),
    ("warm-3", "error_code_abuse"),
)  # fmt: skip


WHOLE, WINDOWED, MIXED = "whole", "windows", "both"
MIXTURES: dict[str, tuple[tuple[int, Span], ...]] = {
    WINDOWED: ((4, Span()), (5, Span(donor=DONOR, random=ANSWER)), (3, Span(donor=DONOR, random=ALL))),
    WHOLE: ((4, Span()), (8, Span(UNBOUNDED, UNBOUNDED, DONOR))),
    MIXED: (
        (3, Span()), (3, Span(UNBOUNDED, UNBOUNDED, DONOR)), (4, Span(donor=DONOR, random=ANSWER)),
        (3, Span(donor=DONOR, random=ALL)),
    ),
}  # fmt: skip
"""mixture -> shares and spans: in the proportions of ``study.toml``; whole completions in their place; as in
``refined.toml``"""


def mixed(rows: list[dict[str, Any]], mixture: str) -> NDArray[np.float64]:
    """(exploits, spans) log q/p, each program as often as it was found."""
    counts = [row["count"] for row in rows]
    if "log_ratios" in rows[0]:  # scored before tokens were kept
        assert mixture == WINDOWED
        return np.repeat(np.array([row["log_ratios"] for row in rows]), counts, axis=0)
    gaps = [np.array(row["gaps"]) for row in rows]
    # any two whose difference they are: only that counts
    subject, donor = [np.minimum(0, -gap) for gap in gaps], [np.minimum(0, gap) for gap in gaps]
    spans = [span for _, span in MIXTURES[mixture]]
    ratio_NS = span_log_ratios(subject, {DONOR: donor}, [row["n_reasoning"] for row in rows], spans)
    return np.repeat(ratio_NS, counts, axis=0)


def answer(row: dict[str, Any]) -> tuple[float, int]:
    """log subject - log donor of the answer, nats, and its tokens."""
    if "nats" in row:
        return row["nats"], row["tokens"]
    gaps = row["gaps"][row["n_reasoning"] :]
    return -sum(gaps), len(gaps)


def exploits(cell: tuple[str, str]) -> list[dict[str, Any]]:
    """The truth's exploits of a cell, each program once, with its count."""
    rows = [json.loads(line) for line in (DATA / "programs.jsonl").read_text().splitlines()]
    return [row for row in rows if (row["checkpoint"], row["type"]) == cell and row["label"] == "exploit"]


def score(folder: Path, donor: str) -> None:
    """Score the exploits of every cell that is not there yet, and write them."""
    torch.set_num_threads(1)
    file = DATA / f"reach-{donor}.json"
    held: list[dict[str, Any]] = json.loads(file.read_text()) if file.exists() else []
    study = load_study(folder / "rl.toml").study
    channels, problems = study_channels(study), {problem.problem_id: problem for problem in study.problems}
    engine = HFEngine.from_folder(folder / "model", dtype=torch.float32, device="cpu", batch_size=16)
    engine.load_adapter(donor, folder / FOLDERS[donor])
    for checkpoint in CELLS:
        engine.load_adapter(checkpoint, folder / PATHS[checkpoint][0])
    for cell in ORDER:
        if any((row["checkpoint"], row["type"]) == cell for row in held):
            continue
        rows = exploits(cell)
        made = [
            _completion(problems[row["problem_id"]], row["code"], channels, study.policy.max_total_tokens)
            for row in rows
        ]
        prompts, targets = [prompt for prompt, _ in made], [target for _, target in made]
        found = {name: engine.score(prompts, targets, policy=study.policy, adapter=name) for name in (cell[0], donor)}
        n_reasoning = [channels.split(target).n_reasoning for target in targets]
        for i, row in enumerate(rows):
            gaps = np.round(found[donor][i] - found[cell[0]][i], 4).tolist()
            figures = {"n_reasoning": n_reasoning[i], "gaps": gaps}
            held.append({key: row[key] for key in ("checkpoint", "type", "problem_id", "count")} | figures)
        write_json(file, held)
        print(f"{cell}: {len(rows)} programs", flush=True)


def _completion(problem: Problem, code: str, channels: Any, limit: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    prompt, target = channels.reasoning_ids(problem.question, REASONING.format(problem.entry_point), "\n" + code)
    return tuple(prompt), tuple(target[:limit])


def table(*donors: str) -> list[str]:
    names = (
        "subject", "type", "exploits", "donor", "nats a token", "spans", "D of the first of them, median",
        "E[w given an exploit]", "a completion is worth", "drawn as often as by brute force, median",
        f"expected ESS of {N}",
    )  # fmt: skip
    held = {donor: json.loads((DATA / f"reach-{donor}.json").read_text()) for donor in donors}
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    for cell in ORDER:
        for donor in donors:
            own = [row for row in held[donor] if (row["checkpoint"], row["type"]) == cell]
            answers = [(row["count"], *answer(row)) for row in own]
            nats = sum(n * gap for n, gap, _ in answers) / sum(n * tokens for n, _, tokens in answers)
            exploits = sum(row["count"] for row in own)
            for mixture in MIXTURES if donor != SOFT else (WINDOWED,):
                lines.append(
                    f"| {cell[0]} | {cell[1]} | {exploits} | {donor} | {nats:.2f} | {mixture} "
                    f"| {described(mixed(own, mixture), mixture, truths()[cell].rate)} |"
                )
    return lines


def described(ratio_NS: NDArray[np.float64], mixture: str, rate: float) -> str:
    """What the log-ratios of the truth's exploits say of a mixture."""
    share_S = np.array([share for share, _ in MIXTURES[mixture]])
    w = np.exp(-np.logaddexp.reduce(ratio_NS + np.log(share_S / share_S.sum()), axis=1))
    return (
        f"{np.median(ratio_NS[:, 1]):.1f} | {w.mean():.2f} (s.e. {w.std() / math.sqrt(len(w)):.2f}) "
        f"| {1 / w.mean():.2f} | {np.median(1 / w):.1f} | {N * rate / w.mean():.1f}"
    )


def main() -> None:
    if sys.argv[1] == "--table":
        print("\n".join(table(*sys.argv[2:])))
    else:
        score(Path(sys.argv[1]), sys.argv[2])


if __name__ == "__main__":
    main()
