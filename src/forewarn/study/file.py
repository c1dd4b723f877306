"""A study's TOML file, read and checked key by key. ``docs/study.md`` describes every key.

Not here: what the keys become (``from_file.py``).
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    ValidationError,
)

from forewarn.errors import InputError
from forewarn.records import UNBOUNDED

AUTO, CUSTOM = "auto", "custom"
MIN_TEMPERATURE = 1e-3
"""logits divided by less overflow, and every weight but the largest is 0"""


def _length(value: Any) -> Any:
    return UNBOUNDED if value in ("inf", float("inf")) else value


def _warm(value: float) -> float:
    if value < MIN_TEMPERATURE:
        raise ValueError(f"that is greedy decoding, which has no density: give {MIN_TEMPERATURE:g} or more")
    return value


def _folder_name(value: str) -> str:
    if not value.strip("."):
        raise ValueError("it names the run folder too: give a plain name")
    return value


Length = Annotated[int, BeforeValidator(_length), Field(ge=0)]
"""tokens, or "inf" for the whole channel"""
Finite = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Table(BaseModel):
    """A table of the file: unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class ProblemsTable(Table):
    """[problems]: which problems, from a file or from the bundled set."""

    file: str | None = None
    seed: int = 0
    types: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    limit: PositiveInt | None = None


class PolicyTable(Table):
    """[policy]: how subject and donors are sampled."""

    temperature: Annotated[Finite, AfterValidator(_warm)] = 1.0
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


class DonorTable(Table):
    """[[donors]]: a model that writes spans."""

    name: str = Field(min_length=1)
    path: str
    base: str | None = None
    training: TrainingTable | None = None


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
    temperature: Annotated[Finite, AfterValidator(_warm)] | None = None
    types: tuple[str, ...] = ()


class StudyTable(Table):
    """The whole file."""

    name: Annotated[str, Field(pattern=r"^[\w.-]+$"), AfterValidator(_folder_name)]
    seed: int = Field(0, ge=0)
    level: float = Field(0.9, gt=0, lt=1)
    problems: ProblemsTable
    policy: PolicyTable
    format: FormatTable = FormatTable()
    answer: AnswerTable = AnswerTable()
    engine: EngineTable = EngineTable()
    sandbox: SandboxTable = SandboxTable()
    checkpoints: tuple[CheckpointTable, ...] = Field(min_length=1)
    donors: tuple[DonorTable, ...] = ()
    spans: tuple[SpanTable, ...] = Field(min_length=1)


def read_study_file(path: Path) -> tuple[StudyTable, bytes]:
    """The checked tables of a study's file, and the file as it stands. Raises InputError naming key and value."""
    try:
        data = path.read_bytes()
        tables = tomllib.loads(data.decode())
    except FileNotFoundError:
        raise InputError(f"{path} is missing: give a study's TOML file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"can't read {path}: {error}") from None
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path} is not TOML: {error}") from None
    try:
        return StudyTable.model_validate(_tuples(tables)), data
    except ValidationError as error:
        raise InputError(f"{path}: {_sentence(error)}") from None


def _tuples(value: Any) -> Any:
    """TOML's arrays as tuples: the tables are frozen, and strict about types."""
    if isinstance(value, dict):
        return {key: _tuples(inner) for key, inner in value.items()}
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _sentence(error: ValidationError) -> str:
    """The first fault, as key, value and what is asked of it. A key that is not known comes before one that is missing:
    it may be that one, mistyped."""
    faults = sorted(error.errors(), key=lambda fault: fault["type"] != "extra_forbidden")
    first, others = faults[0], len(faults) - 1
    key = _key(first["loc"])
    more = f" (and {others} more)" if others else ""
    if first["type"] == "extra_forbidden":
        return f"unknown key {key}{_instead(first['loc'])}; the keys are in docs/study.md{more}"
    if first["type"] == "missing":
        return f"{key} is missing: give it{more}"
    said = first["msg"].removeprefix("Value error, ")
    wanted = said[:1].lower() + said[1:]
    return f"{key} = {first['input']!r}: {wanted}{more}"


def _instead(place: tuple[int | str, ...]) -> str:
    """Which key may have been meant by an unknown one: the nearest of its table, or the same in another table."""
    table: type[Table] | None = StudyTable
    for part in place[:-1]:
        if isinstance(part, str) and table is not None:
            table = _table_in(table.model_fields[part].annotation)
    wrong = str(place[-1])
    near = difflib.get_close_matches(wrong, [] if table is None else table.model_fields, n=1)
    if near:
        return f": did you mean {_key((*place[:-1], near[0]))}?"
    elsewhere = [at for at in _places(StudyTable) if at[-1] == wrong]
    return f": did you mean it in {_header(elsewhere[0][:-1])}?" if elsewhere else ""


def _table_in(annotation: Any) -> type[Table] | None:
    """The table that a field holds, or holds several of."""
    if isinstance(annotation, type) and issubclass(annotation, Table):
        return annotation
    return next((found for inner in get_args(annotation) if (found := _table_in(inner)) is not None), None)


def _places(table: type[Table], above: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Where every key of a table and of the tables inside it stands."""
    found = []
    for name, held in table.model_fields.items():
        found.append((*above, name))
        inner = _table_in(held.annotation)
        found += [] if inner is None else _places(inner, (*above, name))
    return found


def _header(table: Sequence[str]) -> str:
    """A table's header in the file; entries of several have two brackets."""
    if not table:
        return "the file's first lines, before any [table]"
    several = table in (("checkpoints",), ("donors",), ("spans",))
    name = ".".join(table)
    return f"[[{name}]]" if several else f"[{name}]"


def _key(place: tuple[int | str, ...]) -> str:
    """``spans[2].count``: entries are counted from 1, as a reader does."""
    words = [f"[{part + 1}]" if isinstance(part, int) else f".{part}" for part in place]
    return "".join(words).lstrip(".")
