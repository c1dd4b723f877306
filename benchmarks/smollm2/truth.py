"""Brute-force exploit rates of a study's checkpoints: the truth that its estimates are held against.

    python benchmarks/smollm2/truth.py draw  STUDY.toml FOLDER    samples, on the study's device
    python benchmarks/smollm2/truth.py judge STUDY.toml FOLDER    judges what was drawn, also while it is being drawn
    python benchmarks/smollm2/truth.py table STUDY.toml FOLDER    rates.json and programs.jsonl of what is judged

A cell is a checkpoint and an exploit type. Its first chunk, the pilot, only fixes how much is drawn of it, about 20/p
completions, and is not a part of its rate, so that the rate's interval is that of a number fixed beforehand. Where
nothing else was drawn, the pilot is what the cell is counted by, and the table says so. A chunk is a function of
(study's seed, weights, type, its number). Everything can be stopped at any time and goes on from there.
"""

from __future__ import annotations

import argparse
import io
import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from forewarn.checkpoints.sources import ModelSource, receipt
from forewarn.engines.transformers.engine import HFEngine
from forewarn.estimation.bounds import clopper_pearson
from forewarn.formats import Channels
from forewarn.judge.judge import Judge
from forewarn.records import Problem, derived_seed
from forewarn.store import read_json, write_json, write_whole
from forewarn.study.config.load import LoadedStudy, load_study
from forewarn.study.models import study_channels

LEVEL = 0.9
HITS_WANTED = 20
RARE, COMMON, LOWEST = 1e-3, 1e-1, 2e-4
PILOT = 0
POLL_S = 0.5
DONE = "drawn.json"


@dataclass(frozen=True, slots=True)
class Cell:
    """A checkpoint and an exploit type."""

    checkpoint: ModelSource
    exploit_type: str

    @property
    def name(self) -> str:
        return f"{self.checkpoint.model_id}-{self.exploit_type}"


class Truth:
    """A study's cells, and what is drawn and judged of them in a folder."""

    def __init__(self, path: Path, folder: Path, per_problem: int) -> None:
        self.loaded: LoadedStudy = load_study(path)
        self.study, self.folder, self.per_problem = self.loaded.study, folder, per_problem
        self.channels: Channels = study_channels(self.study)
        self.cells = [Cell(cell.checkpoint, cell.exploit_type) for cell in self.study.cells()]
        (folder / "draws").mkdir(parents=True, exist_ok=True)
        (folder / "judged").mkdir(exist_ok=True)

    def problems(self, cell: Cell) -> Sequence[Problem]:
        return self.study.problems_of(cell.exploit_type)

    @property
    def chunk_size(self) -> int:
        return len(self.problems(self.cells[0])) * self.per_problem

    def drawn(self, cell: Cell, chunk: int) -> Path:
        return self.folder / "draws" / f"{cell.name}-{chunk:04d}.npz"

    def judged(self, cell: Cell, chunk: int) -> Path:
        return self.folder / "judged" / f"{cell.name}-{chunk:04d}.json"

    def rows(self, cell: Cell, chunk: int) -> Iterator[tuple[Problem, tuple[int, ...]]]:
        """The completions of a chunk with their problems."""
        with np.load(self.drawn(cell, chunk)) as held:
            ids, lengths = held["ids"], held["lengths"]
        ends = np.cumsum(lengths)
        owners = [problem for problem in self.problems(cell) for _ in range(len(lengths) // len(self.problems(cell)))]
        for owner, end, length in zip(owners, ends.tolist(), lengths.tolist(), strict=True):
            yield owner, tuple(ids[end - length : end].tolist())


class Sampler:
    """The engine of one model folder at a time; checkpoints that are adapters of one base share it."""

    def __init__(self, truth: Truth, batch: int) -> None:
        self._device, self._batch = truth.loaded.machine.device, batch
        self._dtype = getattr(torch, truth.study.dtype)
        self._folder: str | None = None
        self._engine: HFEngine | None = None

    def of(self, source: ModelSource) -> HFEngine:
        if self._engine is None or source.folder != self._folder:
            self._engine = None  # two models at once may be more than the memory holds
            self._engine = HFEngine.from_folder(
                source.folder, dtype=self._dtype, device=self._device, batch_size=self._batch
            )
            self._folder = source.folder
        return self._engine


def sample(truth: Truth, sampler: Sampler, cell: Cell, chunk: int) -> float:
    """Draw one chunk and write it; seconds it took."""
    began = time.monotonic()
    source = cell.checkpoint
    engine = sampler.of(source)
    if source.adapter is not None:
        engine.load_adapter("subject", Path(source.adapter))
    try:
        drawn = engine.sample(
            [truth.channels.prompt_ids(problem.question) for problem in truth.problems(cell)],
            policy=truth.study.policy,
            seed=derived_seed("truth", truth.study.seed, receipt(source).key, cell.exploit_type, chunk),
            max_new_tokens=truth.study.policy.max_total_tokens,
            stop_ids=truth.channels.end_ids,
            n=truth.per_problem,
            adapter=None if source.adapter is None else "subject",
        )
    finally:
        if source.adapter is not None:
            engine.drop_adapter("subject")
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        ids=np.concatenate([np.array(one.token_ids, dtype=np.uint32) for one in drawn]),
        lengths=np.array([len(one.token_ids) for one in drawn], dtype=np.uint16),
    )
    write_whole(truth.drawn(cell, chunk), buffer.getvalue())
    return time.monotonic() - began


def draw(truth: Truth, batch: int, until: float, most: int) -> None:
    """Pilots of all cells, then what the plan asks for, cell by cell in turn."""
    torch.set_num_threads(truth.loaded.machine.threads)
    sampler = Sampler(truth, batch)
    seconds: list[float] = []
    for cell in truth.cells:
        if not truth.drawn(cell, PILOT).exists() and time.time() < until:
            seconds.append(sample(truth, sampler, cell, PILOT))
            print(f"pilot of {cell.name}: {truth.chunk_size / seconds[-1]:.0f} completions/s", flush=True)
    rate = truth.chunk_size / float(np.median(seconds)) if seconds else 1.0
    plan = read_plan(truth, until, rate, most)
    if plan is None:
        print("time is up before all pilots are judged; the same command goes on from here", flush=True)
        return
    for cell, chunk in in_turn(truth, plan):
        if time.time() >= until:
            print("time is up; the same command goes on from here", flush=True)
            break
        if not truth.drawn(cell, chunk).exists():
            sample(truth, sampler, cell, chunk)
    else:
        write_json(truth.folder / DONE, {"chunks": sum(plan.values())})


def in_turn(truth: Truth, plan: dict[str, int]) -> Iterator[tuple[Cell, int]]:
    """The planned chunks, an equal share of every cell first, so that a stop leaves all of them some."""
    named = {cell.name: cell for cell in truth.cells}
    shares = sorted((chunk / count, name, chunk) for name, count in plan.items() for chunk in range(1, count + 1))
    for _, name, chunk in shares:
        yield named[name], chunk


def read_plan(truth: Truth, until: float, rate: float, most: int) -> dict[str, int] | None:
    """Chunks wanted of each cell, by the pilots; fixed once and then kept. None: the time was over before."""
    file = truth.folder / "plan.json"
    if file.exists():
        held = read_json(file)
        assert isinstance(held, dict)
        return {str(name): int(count) for name, count in held["chunks"].items()}
    while not all(truth.judged(cell, PILOT).exists() for cell in truth.cells):
        if time.time() >= until:
            return None
        time.sleep(POLL_S)
    pilots = {cell.name: hits(truth, cell, PILOT) for cell in truth.cells}
    budget = min(float(most), rate * max(0.0, until - time.time()))
    chunks = planned(pilots, truth.chunk_size, budget)
    write_json(file, {"pilot_hits": pilots, "completions_a_second": rate, "budget": budget, "chunks": chunks})
    print(f"plan: {json.dumps(chunks)}", flush=True)
    return chunks


def planned(pilots: dict[str, int], chunk: int, budget: float) -> dict[str, int]:
    """Chunks of each cell: cells between ``RARE`` and ``COMMON`` first, then rarer ones, the cheapest first.

    A cell with one or two pilot hits may be rare or rarer, and is drawn as if it were at ``LOWEST`` to be sure.
    """
    wanted: list[tuple[int, float, str, int]] = []
    for name, found in pilots.items():
        rate = found / chunk
        if found == 0 or rate > COMMON * 2:
            continue
        assumed = rate if rate >= RARE else max(LOWEST, min(rate, RARE) / 2)
        count = max(1, -(-int(HITS_WANTED / assumed) // chunk))
        wanted.append((0 if rate >= RARE else 1, float(count), name, count))
    plan: dict[str, int] = {}
    frequent = [entry for entry in sorted(wanted) if entry[0] == 0]
    rare = [entry for entry in sorted(wanted) if entry[0] == 1]
    # two rare cells before the many common ones take all the time
    for _, _, name, count in [*frequent[:6], *rare[:3], *frequent[6:], *rare[3:]]:
        if (sum(plan.values()) + count) * chunk <= budget:
            plan[name] = count
    return plan


def hits(truth: Truth, cell: Cell, chunk: int) -> int:
    return int(labels(truth, cell, chunk)["exploit"])


def labels(truth: Truth, cell: Cell, chunk: int) -> Counter[str]:
    held = read_json(truth.judged(cell, chunk))
    assert isinstance(held, dict)
    return Counter(held["labels"])


def judge(truth: Truth, kinds: Sequence[str], until: float, wait: bool) -> None:
    """Judge what is drawn of some exploit types; with ``wait``, until drawing has ended."""
    cells = [cell for cell in truth.cells if not kinds or cell.exploit_type in kinds]
    box = truth.loaded.sandboxing
    with Judge(workers=box.workers, level=box.level, timeout_s=box.timeout_s, types=box.types) as judging:
        while True:
            done = (truth.folder / DONE).exists()  # before looking: what is drawn meanwhile is seen the next time
            waiting = [item for item in drawn_chunks(truth, cells) if not truth.judged(*item).exists()]
            for cell, chunk in waiting:
                if time.time() >= until:
                    return
                judge_chunk(truth, judging, cell, chunk)
            if time.time() >= until or (not waiting and (done or not wait)):
                return
            if not waiting:
                time.sleep(POLL_S)


def drawn_chunks(truth: Truth, cells: Sequence[Cell], stage: str = "draws") -> list[tuple[Cell, int]]:
    """What is drawn, or judged. Pilots first, since the plan waits for them."""
    named = {cell.name: cell for cell in cells}
    found = []
    for path in (truth.folder / stage).iterdir():
        name, _, chunk = path.stem.rpartition("-")
        if name in named:
            found.append((int(chunk), name))
    return [(named[name], chunk) for chunk, name in sorted(found)]


def judge_chunk(truth: Truth, judging: Judge, cell: Cell, chunk: int) -> None:
    completions = Counter((owner.problem_id, ids) for owner, ids in truth.rows(cell, chunk))
    owners = {problem.problem_id: problem for problem in truth.problems(cell)}
    programs: Counter[tuple[str, str]] = Counter()
    found: Counter[str] = Counter()
    for (name, ids), count in completions.items():
        code = truth.channels.code(ids, truth.channels.split(ids).n_reasoning, owners[name].entry_point)
        if code:
            programs[name, code] += count
        else:
            found["no program"] += count
    verdicts = judging.verdicts([(owners[name], code) for name, code in programs])
    accepted: list[dict[str, Any]] = []
    for ((name, code), count), verdict in zip(programs.items(), verdicts, strict=True):
        found[verdict.label] += count
        if verdict.label != "failed":
            accepted.append({"problem_id": name, "code": code, "label": verdict.label, "count": count})
    write_json(
        truth.judged(cell, chunk),
        {"n": completions.total(), "distinct": len(programs), "labels": dict(found), "programs": accepted},
    )


def counted(truth: Truth, cell: Cell) -> list[int]:
    """The judged chunks that make up a cell's rate: all but the pilot, or the pilot alone where nothing else is there.

    A pilot's number was fixed beforehand too. But where others were drawn on and this one was not, because it had few
    hits, its count is rather low than high: ``rates.json`` says which cells are counted by their pilot.
    """
    chunks = [chunk for _, chunk in drawn_chunks(truth, [cell], "judged")]
    return [chunk for chunk in chunks if chunk != PILOT] or chunks


def table(truth: Truth) -> None:
    """Rates of all cells with their intervals, and the programs that were accepted or broke, with their counts."""
    rates, rows = [], []
    for cell in truth.cells:
        found: Counter[str] = Counter()
        programs: Counter[tuple[str, str, str]] = Counter()
        chunks = counted(truth, cell)
        for chunk in chunks:
            held = read_json(truth.judged(cell, chunk))
            assert isinstance(held, dict)
            found.update(held["labels"])
            for one in held["programs"]:
                programs[one["problem_id"], one["code"], one["label"]] += one["count"]
        n = found.total()
        interval = clopper_pearson(found["exploit"], n, level=LEVEL) if n else None
        identity = {"checkpoint": cell.checkpoint.model_id, "step": cell.checkpoint.step, "type": cell.exploit_type}
        pilot = dict(labels(truth, cell, PILOT)) if truth.judged(cell, PILOT).exists() else None
        rates.append(
            identity
            | {"n": n, "hits": found["exploit"], "rate": found["exploit"] / n if n else None, "interval": interval}
            | {"labels": dict(sorted(found.items())), "pilot": pilot, "counted_by_pilot": chunks == [PILOT]}
            | {"weights": receipt(cell.checkpoint).key}
        )
        rows += [
            identity | {"problem_id": name, "label": label, "count": count, "code": code}
            for (name, code, label), count in sorted(programs.items())
        ]
    write_json(truth.folder / "rates.json", {"level": LEVEL, "cells": rates})
    write_whole(truth.folder / "programs.jsonl", "".join(json.dumps(row) + "\n" for row in rows).encode())
    for row in rates:
        shown = (
            "not drawn" if row["rate"] is None else f"{row['hits']} of {row['n']}: {row['rate']:.2e} {row['interval']}"
        )
        print(f"{row['checkpoint']:>16} {row['type']:32} {shown}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("verb", choices=("draw", "judge", "table"))
    parser.add_argument("study", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--per-problem", type=int, default=256, help="completions of each problem in a chunk")
    parser.add_argument("--batch", type=int, default=4096, help="rows decoded together")
    parser.add_argument("--until", type=float, default=float("inf"), help="when to stop, in seconds since 1970")
    parser.add_argument("--most", type=int, default=10**9, help="most completions of all cells together, pilots aside")
    parser.add_argument("--types", nargs="*", default=(), help="judge these exploit types alone")
    parser.add_argument("--wait", action="store_true", help="judge until drawing has ended")
    given = parser.parse_args()
    truth = Truth(given.study, given.folder, given.per_problem)
    if given.verb == "draw":
        draw(truth, given.batch, given.until, given.most)
    elif given.verb == "judge":
        judge(truth, given.types, given.until, given.wait)
    else:
        table(truth)


if __name__ == "__main__":
    main()
