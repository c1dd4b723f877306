"""Errors a user can act on: what is wrong, the offending value, the remedy. Bugs keep their traceback."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

from forewarn.text import printable_lines


class ForewarnError(Exception):
    """A mistake in the input or the surroundings. The command line prints it as one sentence and exits with 2.

    It quotes values of files, models and submissions, so its text is printable whoever shows it.
    """

    def __str__(self) -> str:
        return printable_lines(super().__str__())


class InputError(ForewarnError):
    """A value the user gave is unusable."""


class MissingExtraError(ForewarnError):
    """An optional dependency is not installed."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"{package} is not installed: pip install 'forewarn[{extra}]'")


EXTRA_OF = {
    **dict.fromkeys(("torch", "transformers", "peft", "safetensors", "tokenizers", "huggingface_hub"), "local"),
    **dict.fromkeys(("matplotlib", "altair", "vl_convert"), "report"),
    "datasets": "datasets",
    "trl": "train",
    "vllm": "vllm",
}
"""importable package -> the extra of ours that brings it"""


def need_extra(package: str, extra: str) -> None:
    """Raise MissingExtraError where ``package`` is not installed. Nothing is imported."""
    try:
        there = importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:
        there = False
    if not there:
        raise MissingExtraError(package, extra)


def as_missing_extra(error: ModuleNotFoundError) -> MissingExtraError | None:
    """The error of a failed import as a sentence that names the extra; None where the package is not one of those."""
    package = (error.name or "").split(".")[0]
    return MissingExtraError(package, EXTRA_OF[package]) if package in EXTRA_OF else None


class IncompleteError(ForewarnError):
    """Some of the work could not be done; the rest is done and kept. The command line exits with 4."""

    def __init__(self, message: str, cells: Sequence[object] = ()) -> None:
        """``cells``: the results of what could be done."""
        super().__init__(message)
        self.cells = tuple(cells)


class StoreError(ForewarnError):
    """The run folder can't be used: unwritable, full, damaged, or of another study."""


class ModelError(ForewarnError):
    """A model, tokenizer or adapter can't be loaded or doesn't fit the others."""


class HalfWrittenError(ModelError):
    """A model's files are missing, cut short or unreadable, as they are while they are being written or copied."""


class EngineFault(ForewarnError):  # noqa: N818  "fault" is the method's word: work it touches is invalid, not wrong
    """An engine or sandbox broke while working. It marks work invalid; it never becomes a verdict of "no"."""
