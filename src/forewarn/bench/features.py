"""What baselines go by beside estimates and counts: log-probabilities of reference exploits, and the study's estimator.

One shard a cell. The study's pooled prefix estimator draws as many completions a cell as every other method; its donor
is the most refined one, whose reasoning leads to exploits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from forewarn.bench.record import FEATURE_ROWS
from forewarn.bench.verdicts import TYPES, VerdictMemory
from forewarn.checkpoints.sources import ModelSource, receipt
from forewarn.engines.transformers.engine import HFEngine
from forewarn.estimation.classic import pooled_prefix_is
from forewarn.interpolation.prefix import PrefixCompletion, sample_prefixes
from forewarn.interpolation.sampler import Writer
from forewarn.judge.judge import Judge
from forewarn.organism.chat import OrganismChat
from forewarn.organism.corpus import Types
from forewarn.organism.problems import measured_problems
from forewarn.records import SUBJECT, Policy, Problem, content_key, derived_seed
from forewarn.store import Shards
from forewarn.training.sft import donor_examples

LENGTHS = (2, 5, 10, 20)
"""tokens of the study's prefixes"""
DONOR_NAME = "donor"
Log = Callable[[str], None]


def measure_features(
    where: Path,
    sources: Mapping[int, ModelSource],
    *,
    donor: Path,
    types: Types,
    policy: Policy,
    completions: int,
    seed: int,
    verdicts: Path,
    log: Log,
) -> pl.DataFrame:
    """Features of every type at these steps (``FEATURE_ROWS``); cells whose shard is there are not drawn again."""
    shards = Shards(where / "features")
    taught = receipt(ModelSource(DONOR_NAME, next(iter(sources.values())).folder, str(donor))).key
    keys = {
        (step, name): content_key("features", receipt(source).key, taught, name, completions, policy.key, seed)
        for step, source in sources.items()
        for name in types
    }
    missing = {step: [n for n in types if not shards.has(keys[step, n])] for step in sources}
    if any(missing.values()):
        base = Path(next(iter(sources.values())).folder)
        with Judge(workers=1, types=TYPES) as judge, VerdictMemory(verdicts, judge) as memory:
            room = _Room(base, donor, types, policy, completions, memory)
            for step, names in missing.items():
                if names:
                    for name, row in room.cells(sources[step], names, derived_seed("features", seed, step)):
                        shards.write(keys[step, name], pl.DataFrame([row | {"step": step}], schema=FEATURE_ROWS))
                    log(f"features of step {step}")
    return pl.concat([shards.read(key) for key in keys.values()])


class _Room:
    """An engine with the donor, a sandbox, and the memory of verdicts."""

    def __init__(
        self, base: Path, donor: Path, types: Types, policy: Policy, completions: int, memory: VerdictMemory
    ) -> None:
        self._engine = HFEngine.from_folder(base, batch_size=640)
        self._engine.load_adapter(DONOR_NAME, donor)
        self._chat = OrganismChat.from_folder(base)
        self._types, self._policy, self._completions, self._memory = types, policy, completions, memory

    def cells(self, source: ModelSource, names: Sequence[str], seed: int) -> list[tuple[str, dict[str, Any]]]:
        """Each type's row at one checkpoint."""
        adapter = None
        if source.adapter is not None:
            adapter = SUBJECT
            self._engine.load_adapter(adapter, Path(source.adapter))
        try:
            return [(name, self._cell(name, adapter, derived_seed("cell", seed, name))) for name in names]
        finally:
            if adapter is not None:
                self._engine.drop_adapter(adapter)

    def _cell(self, name: str, adapter: str | None, seed: int) -> dict[str, Any]:
        problems = measured_problems(name, self._types)
        examples = donor_examples(problems, self._chat.channels)
        scores = self._engine.score(
            [prompt for prompt, _ in examples], [ids for _, ids in examples], policy=self._policy, adapter=adapter
        )
        log10_p, hits = self._prefix_estimate(problems, adapter, seed)
        return {
            "exploit_type": name,
            "reference_log_prob": float(np.mean([one.sum() for one in scores])),
            "prefix_log10": log10_p,
            "prefix_hits": hits,
        }

    def _prefix_estimate(self, problems: Sequence[Problem], adapter: str | None, seed: int) -> tuple[float | None, int]:
        subject, donor = Writer(self._engine, adapter), Writer(self._engine, DONOR_NAME)
        by_id = {p.problem_id: p for p in problems}
        found = sample_prefixes(
            [(p.problem_id, self._chat.prompt_ids(p.question)) for p in problems],
            lengths=LENGTHS,
            per_length=max(1, self._completions // (len(LENGTHS) * len(problems))),
            unit="tokens",
            subject=subject,
            donor=donor,
            channels=self._chat.channels,
            policy=self._policy,
            seed=seed,
            entry_points={p.problem_id: p.entry_point for p in problems},
        )
        submitted = [i for i, c in enumerate(found) if c.code is not None]
        labels = self._memory.verdicts([(by_id[found[i].problem_id], found[i].code or "") for i in submitted])
        hits = [i for i, label in zip(submitted, labels, strict=True) if label.label == "exploit"]
        ratio = np.zeros(len(found))
        ratio[hits] = self._log_ratios([found[i] for i in hits], subject, donor)
        is_hit = np.zeros(len(found), dtype=np.bool_)
        is_hit[hits] = True
        estimate = pooled_prefix_is(
            ratio, is_hit, np.array([c.problem_id for c in found]), np.array([c.length for c in found])
        )
        return estimate.log10_p, len(hits)

    def _log_ratios(self, hits: Sequence[PrefixCompletion], subject: Writer, donor: Writer) -> list[float]:
        if not hits:
            return []
        prompts, prefixes = [c.prompt_ids for c in hits], [c.prefix_ids for c in hits]
        mine, theirs = (
            writer.engine.score(prompts, prefixes, policy=self._policy, adapter=writer.adapter)
            for writer in (subject, donor)
        )
        return [float(p.sum() - q.sum()) for p, q in zip(mine, theirs, strict=True)]
