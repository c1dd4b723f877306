"""Errors a user can act on: each names what is wrong, the offending value and the remedy. Bugs keep their traceback."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

from forewarn.text import printable_lines


class ForewarnError(Exception):
    """A mistake in the input or the environment. The command line prints it as one sentence and exits with 2.

    The message quotes values of files, models and submissions, so it is made printable here.
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
    "matplotlib": "report",
    "datasets": "datasets",
    "trl": "train",
    "vllm": "vllm",
    "tensorboardX": "tensorboard",
    "fsspec": "storage",
    **{name: name for name in ("wandb", "trackio", "mlflow")},
}
"""importable package -> the forewarn extra that installs it"""


def need_extra(package: str, extra: str) -> None:
    """Raise MissingExtraError if ``package`` is not installed; this does not import it."""
    try:
        there = importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:
        there = False
    if not there:
        raise MissingExtraError(package, extra)


def as_missing_extra(error: ModuleNotFoundError) -> MissingExtraError | None:
    """Turn a failed import into an error that names the extra; None if the package does not belong to one."""
    package = (error.name or "").split(".")[0]
    return MissingExtraError(package, EXTRA_OF[package]) if package in EXTRA_OF else None


class IncompleteError(ForewarnError):
    """Some of the work could not be done; the rest is done and saved. The command line exits with 4."""

    def __init__(self, message: str, cells: Sequence[object] = ()) -> None:
        """``cells``: the results of the finished work."""
        super().__init__(message)
        self.cells = tuple(cells)


class StoreError(ForewarnError):
    """The run folder can't be used: it is unwritable, full, damaged, or belongs to another study."""


class ModelError(ForewarnError):
    """A model, tokenizer or adapter can't be loaded or doesn't fit the others."""


class HalfWrittenError(ModelError):
    """A model's files are missing, cut short or unreadable, as they are while they are being written or copied."""


class EngineFault(ForewarnError):  # noqa: N818  "fault" is the method's term: affected work is invalid, not wrong
    """An engine or sandbox broke while working. Affected work is invalid; this never becomes a verdict of "no"."""
