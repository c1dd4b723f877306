"""The models of a study in memory: engines by folder, adapters by name, and the checks that they belong together."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from forewarn.checkpoints.ends import model_ends
from forewarn.checkpoints.load import load_tokenizer
from forewarn.checkpoints.sources import ModelSource
from forewarn.engines.base import Engine
from forewarn.engines.in_turn import InTurn
from forewarn.engines.kind import EngineKind
from forewarn.engines.registry import DEFAULT_ENGINE, ENGINES, EngineSpec, open_engine
from forewarn.errors import EngineFault, InputError, ModelError
from forewarn.formats import Channels, bind
from forewarn.interpolation.sampler import Writer
from forewarn.records import SUBJECT
from forewarn.study.plan import Study

TOKENIZER = "tokenizer.json"
ROWS_A_LOAD = 16_384
"""completions drawn together where models are loaded in turn"""


def study_channels(study: Study) -> Channels:
    """The study's chat format on its models' common tokenizer.

    Raises ModelError where two models have different tokenizers (token ids would mean different things), where an
    adapter brings another one, where none has one, or where it lacks the format's reasoning channel.
    """
    first: tuple[str, Any] | None = None
    for source in (*study.checkpoints, *study.all_donors):
        if Path(source.folder).is_dir() and not (Path(source.folder) / TOKENIZER).exists():
            continue  # a bare checkpoint: its vocabulary size is checked when it is loaded
        if first is not None and first[0] == source.folder:
            continue
        tokenizer = load_tokenizer(source.folder)
        if first is None:
            first = (source.folder, tokenizer)
        elif tokenizer.get_vocab() != first[1].get_vocab():
            raise ModelError(
                f"{source.model_id} ({source.folder}) has another tokenizer than {first[0]}: "
                "subject and donors must share one; give a donor trained from the same base"
            )
    if first is None:
        raise ModelError(f"no model of the study has a tokenizer; save one in {study.checkpoints[0].folder}")
    _check_adapters(study, *first)
    # of all checkpoints, and no donor's: every span's turns end alike, and as the subject's do
    ends = model_ends(source.folder for source in study.checkpoints)
    return bind(study.channel_format, first[1], system=study.system, ends=ends, code_rule=study.code_rule)


def _check_adapters(study: Study, folder: str, tokenizer: Any) -> None:
    """Raise ModelError where an adapter's folder holds a tokenizer to which the models' token ids mean something else.

    Tokens added behind the vocabulary, as trainers do for padding, change no id.
    """
    ours = tokenizer.get_vocab()
    seen: set[bytes] = set()  # a run's checkpoints hold the same file again and again
    for source in (*study.checkpoints, *study.all_donors):
        if source.adapter is None or not (path := Path(source.adapter) / TOKENIZER).is_file():
            continue
        content = path.read_bytes()
        theirs = ours if content in seen else load_tokenizer(source.adapter).get_vocab()
        if any(theirs.get(token) != token_id for token, token_id in ours.items()):
            raise ModelError(
                f"the adapter of {source.model_id} ({source.adapter}) brings another tokenizer than {folder} has: give "
                "one trained with that tokenizer, or take its tokenizer files away if it was"
            )
        seen.add(content)


@dataclass(frozen=True, slots=True)
class Machine:
    """Where models run."""

    workers: int = 1
    """processes; 1: this one"""
    threads: int = 1
    """torch threads of each: more than one makes small models slower on a busy machine"""
    device: str = "cpu"
    batch_size: int = 512
    """most rows decoded together"""
    engine: str = DEFAULT_ENGINE
    """"transformers"; "vllm", in this process; or the URL of a vLLM server"""
    retries: int = 2
    """how often a task whose worker died is tried again in another; with one worker this process does the work, and
    its death is the study's"""
    engines: Mapping[str, EngineKind] = field(default_factory=lambda: ENGINES, repr=False)
    """the engines by name; one of your own goes beside them"""
    load: Literal["together", "in turn"] = "together"
    """whether the models of several folders are in memory together, or one after the other"""

    @property
    def spec(self) -> EngineSpec:
        return EngineSpec(
            self.engine,
            device=self.device,
            batch_size=self.batch_size,
            engines=self.engines,
            in_turn=self.load == "in turn",
        )

    @property
    def rows_at_once(self) -> int:
        """Completions that a worker is given together: many, where a model has to be loaded for them."""
        return self.batch_size if self.load == "together" else max(self.batch_size, ROWS_A_LOAD)

    def __post_init__(self) -> None:
        kind = self.spec.kind  # refuses an unknown engine
        if kind.one_worker and self.workers > 1:
            raise InputError(f"workers is {self.workers}: {kind.one_worker}; give 1")
        if self.retries < 0:
            raise InputError(f"retries is {self.retries}: give 0 or more")
        if self.workers < 1 or self.threads < 1 or self.batch_size < 1:
            raise InputError(
                f"workers {self.workers}, threads {self.threads}, batch_size {self.batch_size}: give 1 or more of each"
            )


class ModelRoom:
    """Loads models when they are first asked for. One subject is kept at a time, donors for good."""

    def __init__(self, study: Study, engine: EngineSpec) -> None:
        self.channels = study_channels(study)
        self._study = study
        self._spec = engine
        self._engines: dict[str, Engine] = {}
        self._turns = InTurn(self._open) if engine.in_turn else None
        self._subject: ModelSource | None = None
        self._vocab_size: int | None = None
        self._loaded: set[tuple[str, str]] = set()

    def subject(self, checkpoint: ModelSource) -> Writer:
        """The subject at a checkpoint; the one before it is forgotten."""
        if self._subject is not None and self._subject != checkpoint:
            self._forget(self._subject)
        self._subject = checkpoint
        return self._writer(checkpoint, SUBJECT, 1.0)

    def donor(self, key: str, model_id: str, scale: float) -> Writer:
        """A donor under its ``donor_key``."""
        source = next(donor for donor in self._study.all_donors if donor.model_id == model_id)
        return self._writer(source, key, scale)

    def _writer(self, source: ModelSource, name: str, scale: float) -> Writer:
        engine = self._engine(source.folder, source.model_id)
        if source.adapter is None:
            return Writer(engine)
        if (source.folder, name) not in self._loaded:
            engine.load_adapter(name, Path(source.adapter), scale=scale)
            self._loaded.add((source.folder, name))
        return Writer(engine, name)

    def close(self) -> None:
        """Stop what engines run beside this process, and take from servers what was loaded there. Goes through where
        an engine breaks: what was measured must not be lost for it."""
        for engine in self._engines.values():
            _close(engine)
        self._engines.clear()
        self._loaded.clear()
        self._subject = None

    def _engine(self, folder: str, model_id: str) -> Engine:
        if folder not in self._engines:
            engine = self._open(folder) if self._turns is None else self._turns.engine(folder)
            self._engines[folder] = engine  # before it may be refused: what was started has to be stopped
            if self._vocab_size is None:
                self._vocab_size = engine.vocab_size
            if engine.vocab_size != self._vocab_size:
                raise ModelError(
                    f"{model_id} ({folder}) has {engine.vocab_size} tokens in its vocabulary where the study's other "
                    f"models have {self._vocab_size}; give models of one family"
                )
        return self._engines[folder]

    def _open(self, folder: str) -> Engine:
        sources = (*self._study.checkpoints, *self._study.all_donors)
        adapters = [Path(s.adapter) for s in sources if s.folder == folder and s.adapter is not None]
        return open_engine(self._spec, folder, dtype=self._study.dtype, adapters=adapters)

    def _forget(self, source: ModelSource) -> None:
        if source.adapter is not None:
            self._engines[source.folder].drop_adapter(SUBJECT)
            self._loaded.discard((source.folder, SUBJECT))
        elif all(donor.folder != source.folder for donor in self._study.all_donors) and not any(
            c.folder == source.folder for c in self._study.checkpoints if c != source
        ):
            _close(self._engines.pop(source.folder))


def _close(engine: Engine) -> None:
    stop = getattr(engine, "close", None)
    if stop is not None:
        with suppress(EngineFault, RuntimeError, OSError):
            stop()
