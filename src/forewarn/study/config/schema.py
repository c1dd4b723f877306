"""The tables of a study's TOML file: every key with its type and default. ``docs/study.md`` describes them.

Not here: reading the file (``file.py``) and what its keys become (``load.py``).
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    Field,
    PositiveFloat,
    PositiveInt,
)

from forewarn.study.config.kinds import Finite, Length, Table, folder_name, warm
from forewarn.study.config.mix import MixTable
from forewarn.study.config.watching import AlarmsTable, WatchTable

AUTO, CUSTOM = "auto", "custom"


class ProblemsTable(Table):
    """[problems]: which problems, from a file, from an environment of one's own, or from the bundled set."""

    file: str | None = None
    environment: str | None = None
    seed: int = 0
    types: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    limit: PositiveInt | None = None


class PolicyTable(Table):
    """[policy]: how subject and donors are sampled."""

    temperature: Annotated[Finite, AfterValidator(warm)] = 1.0
    top_p: float = Field(1.0, gt=0, le=1)
    top_k: int = Field(0, ge=0)
    min_p: float = Field(0.0, ge=0, lt=1)
    max_total_tokens: PositiveInt


class CustomFormatTable(Table):
    """[format.custom]: a chat format of one's own; see ``formats.ChannelFormat``."""

    turn: str
    open_reasoning: str
    closer: str
    no_reasoning: str
    end_of_turn: tuple[str, ...]
    control: tuple[str, ...]
    system: str = ""
    start: str = ""
    no_system: str = ""
    opener: str = ""
    answer_lead: str = ""


class FormatTable(Table):
    """[format]: the chat format."""

    name: str = AUTO
    system: str | None = None
    custom: CustomFormatTable | None = None


class AnswerTable(Table):
    """[answer]: how the submission is read off an answer; see ``formats.CodeRule``."""

    block: Literal["last", "first"] = "last"
    stop: tuple[str, ...] = ()


class EngineTable(Table):
    """[engine]: what samples and scores, and where."""

    kind: str = "transformers"
    device: str = "cpu"
    dtype: Literal["float32", "bfloat16", "float16", "float64"] = "float32"
    batch_size: PositiveInt = 512
    workers: PositiveInt = 1
    threads: PositiveInt = 1
    retries: Annotated[int, Field(ge=0)] = 2
    load: Literal["together", "in turn"] = "together"


class SandboxTable(Table):
    """[sandbox]: how submissions are judged."""

    workers: PositiveInt = 2
    level: Literal["strict", "hardened"] | None = None
    timeout_s: PositiveFloat = 2.0


class CheckpointTable(Table):
    """[[checkpoints]]: one checkpoint or several of a run."""

    path: str
    base: str | None = None
    step: int | None = Field(None, ge=0)
    name: str | None = None
    steps: tuple[int, ...] = ()
    convert: str | None = None
    convert_shell: bool = False
    converted: str = "converted"


class TrainingTable(Table):
    """[donors.training]: how ``forewarn train-donor`` makes the donor."""

    epochs: Finite = 3.0
    batch_size: PositiveInt = 8
    learning_rate: Finite = 2e-4
    rank: PositiveInt = 16
    alpha: Finite = 32.0
    target_modules: str | tuple[str, ...] = "all-linear"
    seed: int = Field(0, ge=0, lt=2**63)
    micro_batch_tokens: PositiveInt = 8192
    problems: ProblemsTable | None = None


class SubjectTrainingTable(Table):
    """[subject_training]: how ``forewarn train-subject`` makes the checkpoints."""

    method: Literal["sft", "grpo"]
    path: str
    base: str
    start: str | None = None
    steps: PositiveInt
    checkpoints: tuple[PositiveInt, ...] | PositiveInt = 8
    learning_rate: Finite = 1e-4
    batch_size: PositiveInt = 32
    micro_batch: PositiveInt | None = None
    group: PositiveInt = 8
    schedule: Literal["constant", "constant_with_warmup", "linear", "cosine"] = "constant"
    warmup_steps: int = Field(0, ge=0)
    weight_decay: float = Field(0.0, ge=0)
    max_grad_norm: Finite = 1.0
    rank: PositiveInt = 16
    alpha: Finite = 32.0
    target_modules: str | tuple[str, ...] = "all-linear"
    seed: int = Field(0, ge=0, lt=2**32)
    tf32: bool = False
    gradient_checkpointing: bool = False
    examples: str | None = None
    problems: ProblemsTable | None = None


class RandomTable(Table):
    """[spans.random]: windows at random places; see ``spans.RandomWindows``."""

    channel: Literal["reasoning", "answer", "all"] = "answer"
    mean: float = Field(8.0, ge=1, allow_inf_nan=False)
    bursts: PositiveInt = 1
    starts: PositiveInt | None = None
    length: Literal["geometric", "fixed"] = "geometric"


class SpanTable(Table):
    """[[spans]]: who writes what, and how often."""

    count: PositiveInt
    k: Length = 0
    m: Length = 0
    k0: Annotated[int, Field(ge=0)] = 0
    k1: Length | None = None
    m0: Annotated[int, Field(ge=0)] = 0
    m1: Length | None = None
    anchor: Literal["line", "code", "body"] | None = None
    random: RandomTable | None = None
    donor: str | None = None
    scale: float = Field(1.0, gt=0, le=1)
    temperature: Annotated[Finite, AfterValidator(warm)] | None = None
    types: tuple[str, ...] = ()


class ReinforcementTable(Table):
    """[donors.refinement.rl]: the RL whose rollouts take the batch's place."""

    start: str
    seeds: PositiveInt = 3
    steps: PositiveInt = 60
    snapshots: PositiveInt = 2
    batch_size: PositiveInt = 64
    micro_batch: PositiveInt | None = None
    group: PositiveInt = 8
    learning_rate: Finite = 1e-4
    hit_rate: tuple[float, float] = (0.2, 0.5)
    beta: Finite = 0.1
    gradient_checkpointing: bool = False


class RefinementTable(TrainingTable):
    """[donors.refinement]: how ``forewarn refine-donor`` makes the donor; what it shares with [donors.training] is how
    it is trained."""

    from_: tuple[str, ...] = Field((), alias="from")
    spans: tuple[SpanTable, ...] = ()
    completions: PositiveInt = 24
    examples: PositiveInt = 128
    max_share: float = Field(0.1, gt=0, le=1)
    rounds: PositiveInt = 1
    start: str | None = None
    checkpoint: str | None = None
    rl: ReinforcementTable | None = None


class DonorTable(Table):
    """[[donors]]: a model that writes spans."""

    name: str = Field(min_length=1)
    path: str
    base: str | None = None
    training: TrainingTable | None = None
    refinement: RefinementTable | None = None


class StudyTable(Table):
    """The whole file."""

    name: Annotated[str, Field(pattern=r"^[\w.-]+$"), AfterValidator(folder_name)]
    seed: int = Field(0, ge=0)
    level: float = Field(0.9, gt=0, lt=1)
    problems: ProblemsTable
    policy: PolicyTable
    format: FormatTable = FormatTable()
    answer: AnswerTable = AnswerTable()
    engine: EngineTable = EngineTable()
    sandbox: SandboxTable = SandboxTable()
    checkpoints: tuple[CheckpointTable, ...] = Field(min_length=1)
    subject_training: SubjectTrainingTable | None = None
    training: MixTable | None = None
    alarms: AlarmsTable | None = None
    watch: WatchTable | None = None
    donors: tuple[DonorTable, ...] = ()
    spans: tuple[SpanTable, ...] = Field(min_length=1)
