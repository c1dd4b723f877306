"""Weights in a trainer's own form, made into a model folder by the user's own converter command.

The command is a template: ``{source}`` is where the shards are (or the address of weights elsewhere), ``{target}`` the
folder to write, ``{checkpoint}`` the checkpoint's folder, ``{step}`` and ``{name}`` its own. It is split into arguments
before anything is filled in, and run without a shell unless the user asks for one: no path is read as a command.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from forewarn.checkpoints.layouts import Spot
from forewarn.checkpoints.layouts.base import is_model
from forewarn.checkpoints.polls import files_signature
from forewarn.checkpoints.receipts import check_files
from forewarn.errors import InputError, ModelError, StoreError
from forewarn.records import content_key

OWN = "auto"
"""the command that stands for the trainer's own converter"""
FIELDS = ("source", "target", "checkpoint", "step", "name")
_FIELD = re.compile(r"(?<!\$)\{([a-z]+)\}")
"""not a shell's ${variable}, and no {} of another program"""
_LAST_CHARACTERS = 300


@dataclass(frozen=True, slots=True)
class Converter:
    """How weights are converted, and where the converted models are kept."""

    command: str
    """a template, or ``OWN``"""
    into: Path
    """a folder of models, each kept under its checkpoint's name"""
    shell: bool = False
    """whether the command is a line for /bin/sh; what is filled in is quoted for it"""

    def __post_init__(self) -> None:
        if self.command == OWN:
            return
        unknown = [name for name in _FIELD.findall(self.command) if name not in FIELDS]
        known = ", ".join(f"{{{name}}}" for name in FIELDS)
        if unknown:
            raise InputError(f"the converter names {{{unknown[0]}}}: it may name {known}")
        if "{target}" not in self.command:
            raise InputError(f"the converter {self.command!r} does not use {{target}}, the folder to write")
        try:
            shlex.split(self.command)
        except ValueError as error:
            raise InputError(f"the converter {self.command!r} can't be split into arguments: {error}") from None


def arguments(spot: Spot, converter: Converter, target: Path) -> list[str]:
    """The program and its arguments for a checkpoint. Raises InputError where no converter of its trainer is known."""
    values = {
        "source": spot.source,
        "target": str(target),
        "checkpoint": str(spot.folder),
        "step": str(spot.step),
        "name": spot.name,
    }
    if converter.command == OWN:
        if not spot.layout.convert:
            raise InputError(f"no converter of {spot.layout.title} is known: give a command in place of {OWN!r}")
        return [_filled(part, values) for part in spot.layout.convert]
    if converter.shell:
        return ["/bin/sh", "-c", _filled(converter.command, {name: shlex.quote(v) for name, v in values.items()})]
    return [_filled(part, values) for part in shlex.split(converter.command)]


def _filled(template: str, values: Mapping[str, str]) -> str:
    # one pass: what is filled in is never looked through again
    return _FIELD.sub(lambda match: values[match[1]], template)


def converted(spot: Spot, converter: Converter) -> Path:
    """The checkpoint as a model folder: made by the command, or kept from an earlier time.

    The folder is there whole or not at all. Raises ModelError where the command fails or leaves no whole model,
    StoreError where nothing can be written.
    """
    key = content_key(converter.command, converter.shell, str(spot.source), files_signature(spot))
    name = re.sub(r"[^\w.-]", "_", spot.name)
    final = converter.into / f"{name}-{key[:16]}"
    if final.is_dir():
        return final
    try:
        converter.into.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix=f".{name}.unfinished-", dir=converter.into))
    except OSError as error:
        raise StoreError(f"can't write {converter.into}: {error.strerror or error}; give another folder") from None
    try:
        target = unfinished / "model"
        _run(arguments(spot, converter, target), spot)
        if not is_model(target):
            raise ModelError(
                f"the converter of {spot.name} left no model in its {{target}}: it has to write config.json (or an "
                "adapter's adapter_config.json) and weights there"
            )
        check_files(target)
        target.rename(final)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return final


def _run(command: list[str], spot: Spot) -> None:
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")
    except OSError as error:
        raise InputError(
            f"the converter {command[0]!r} can't be run ({error.strerror}): give one that is there"
        ) from None
    if done.returncode:
        said = " ".join((done.stderr.strip() or done.stdout.strip()).split())[-_LAST_CHARACTERS:]
        raise ModelError(
            f"the converter of {spot.name} ended with status {done.returncode}: {said or 'it printed nothing'}; "
            f"it was run as {shlex.join(command)}"
        )
