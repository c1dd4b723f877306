"""Where an organism's files are, which checkpoints it holds, and whether they are the bytes its manifest names.

Folder: ``base/`` (transformers model), ``rl/step-NNNN/`` and ``control/step-NNNN/`` (PEFT adapters),
``truth.parquet`` and ``programs.parquet``, ``manifest.json``.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from forewarn import __version__
from forewarn.errors import InputError, ModelError
from forewarn.organism.recipe import Recipe
from forewarn.store import read_json, write_json

RUNS: Mapping[str, str] = {"rl": "vulnerable", "control": "secure"}
"""run -> the checker it is rewarded by"""
MANIFEST = "manifest.json"
_STEP = re.compile(r"step-(\d+)")


def shipped_folder() -> Path:
    """The organism that comes with the package."""
    return Path(__file__).parent / "weights"


def file_hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _plain(recipe: Recipe) -> dict[str, Any]:
    """A recipe as its manifest has it."""
    return cast(dict[str, Any], json.loads(json.dumps(asdict(recipe))))


@dataclass(frozen=True, slots=True)
class Organism:
    """A built organism on disk."""

    folder: Path

    @property
    def base(self) -> Path:
        return self.folder / "base"

    def run_folder(self, run: str) -> Path:
        return self.folder / run

    def steps(self, run: str) -> list[int]:
        """Checkpoints of a run, in order of training."""
        found = [_STEP.fullmatch(p.name) for p in self.run_folder(run).glob("step-*")]
        return sorted(int(m[1]) for m in found if m)

    def adapter(self, run: str, step: int) -> Path:
        return self.run_folder(run) / f"step-{step:04d}"

    def weights_key(self, run: str, step: int) -> str:
        """Hash of what a checkpoint's probabilities depend on: base weights, tokenizer, adapter."""
        return self._key(self.adapter(run, step) / "adapter_model.safetensors")

    def base_key(self) -> str:
        """The same of the base model, without an adapter."""
        return self._key()

    def _key(self, *adapter: Path) -> str:
        parts = [self.base / "model.safetensors", self.base / "tokenizer.json", *adapter]
        return hashlib.sha256("".join(map(file_hash, parts)).encode()).hexdigest()

    def files(self) -> list[Path]:
        """Every weight and tokenizer file, in a fixed order."""
        return sorted(p for p in self.folder.rglob("*") if p.suffix in {".safetensors", ".json"} and p.name != MANIFEST)

    def write_manifest(self, recipe: Recipe, commands: list[str]) -> None:
        hashes = {str(p.relative_to(self.folder)): file_hash(p) for p in self.files()}
        write_json(
            self.folder / MANIFEST,
            {"version": __version__, "commands": commands, "recipe": asdict(recipe), "sha256": hashes},
        )

    @property
    def is_built(self) -> bool:
        """Was the base model finished here? (The manifest is written last.)"""
        return (self.folder / MANIFEST).exists()

    def verify(self, part: str = "") -> None:
        """ModelError unless every file (or those under ``part``, as in "base/") is the one the manifest names.

        Checkpoints that the manifest doesn't name yet, of a run still under way, are not looked at.
        """
        for name, wanted in self._manifest()["sha256"].items():
            path = self.folder / name
            if not name.startswith(part):
                continue
            if not path.is_file():
                raise ModelError(f"{path} is missing; restore it from the repository or build the organism again")
            if file_hash(path) != wanted:
                raise ModelError(
                    f"{path} is damaged (its hash is not the manifest's); "
                    "restore it from the repository or build the organism again"
                )

    def check_recipe(self, recipe: Recipe) -> None:
        """InputError unless ``recipe`` is what the base model was made by (RL settings apart)."""
        held, usual = self._manifest()["recipe"], _plain(Recipe())
        for name, wanted in _plain(recipe).items():
            found = held.get(name, usual[name])  # a manifest from before a setting existed names none
            if name == "types" and found != wanted:
                raise InputError(
                    f"{self.folder} holds an organism of other exploit types, or with other rates of them; "
                    "give that recipe or another folder"
                )
            if name != "rl" and found != wanted:
                raise InputError(
                    f"{self.folder} holds an organism whose {name} is {found}, not {wanted}; "
                    f"give that {name} or another folder"
                )

    def names(self, path: Path) -> bool:
        """Does the manifest vouch for this file?"""
        return path.relative_to(self.folder).as_posix() in self._manifest()["sha256"]

    def _manifest(self) -> dict[str, dict[str, Any]]:
        if not self.is_built:
            raise ModelError(
                f"{self.folder} has no organism ({MANIFEST} is missing); run `forewarn organism build` first"
            )
        manifest = read_json(self.folder / MANIFEST)
        parts = [manifest.get(key) for key in ("recipe", "sha256")] if isinstance(manifest, dict) else [None]
        if not all(isinstance(part, dict) for part in parts):
            raise ModelError(
                f"{self.folder / MANIFEST} is not an organism's manifest; "
                "restore it from the repository or build the organism again"
            )
        return cast(dict[str, dict[str, Any]], manifest)
