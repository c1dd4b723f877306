"""The models that a donor's RL asks for log-probabilities: the subject, adapters on the donor's base, and the model in
training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from forewarn.checkpoints.sources import ModelSource
from forewarn.engines.transformers.engine import HFEngine
from forewarn.records import Policy
from forewarn.study.models import Machine
from forewarn.training.donor_reward import LogProbs


class ReferenceModels:
    """Loads the subject and the donor's base once each; where they are one folder, once in all."""

    def __init__(self, base: Path, subject: ModelSource, policy: Policy, *, dtype: str, machine: Machine) -> None:
        self._policy = policy
        self._base = HFEngine.from_folder(base, dtype=getattr(torch, dtype), device=machine.device)
        self._names: dict[Path, str] = {}
        same = Path(subject.folder).resolve() == base.resolve()
        self._own = (
            self._base
            if same
            else HFEngine.from_folder(subject.folder, dtype=getattr(torch, dtype), device=machine.device)
        )
        self._subject_adapter = None
        if subject.adapter is not None:
            self._subject_adapter = "the subject"
            self._own.load_adapter(self._subject_adapter, Path(subject.adapter))

    def subject(self, prompts: Sequence[Sequence[int]], written: Sequence[Sequence[int]]) -> list[float]:
        """Log-probabilities under the subject, nats."""
        return self._summed(self._own, prompts, written, self._subject_adapter)

    def adapter(self, folder: Path) -> LogProbs:
        """Log-probabilities under an adapter on the donor's base."""
        if folder not in self._names:
            self._names[folder] = f"adapter {len(self._names)}"
            self._base.load_adapter(self._names[folder], folder)
        name = self._names[folder]
        return lambda prompts, written: self._summed(self._base, prompts, written, name)

    def start(self, folder: Path | None) -> LogProbs:
        """Log-probabilities under what training starts from: an adapter, or a fresh one, which changes nothing."""
        if folder is not None:
            return self.adapter(folder)
        return lambda prompts, written: self._summed(self._base, prompts, written, None)

    def module(self, model: Any) -> LogProbs:
        """Log-probabilities under ``model`` as it is at each call."""
        engine = HFEngine(model)
        return lambda prompts, written: self._summed(engine, prompts, written, None)

    def _summed(
        self, engine: HFEngine, prompts: Sequence[Sequence[int]], written: Sequence[Sequence[int]], adapter: str | None
    ) -> list[float]:
        scores = engine.score(prompts, written, policy=self._policy, adapter=adapter)
        return [float(score.sum()) for score in scores]
