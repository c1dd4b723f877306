"""Run folders: Parquet shards written whole and keyed by content, so that a re-run computes only what is missing.

A shard is written to a temporary file, synced, and renamed; a kill at any moment loses at most the shard being
written. This module handles files and tables, and does not know what the rows mean.
"""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from fnmatch import fnmatch
from pathlib import Path

import polars as pl

from forewarn.errors import StoreError
from forewarn.records import KEY_KIND


def write_whole(path: Path, data: bytes) -> None:
    """Write ``data`` so that ``path`` has either all of it or its old content. Raises StoreError if it can't."""
    temporary = path.with_name(f".{path.name}.{threading.get_native_id()}.tmp")
    if os.path.exists(path) and not (path.is_file() or path.is_dir()):  # noqa: PTH110 - never raises
        raise StoreError(f"can't write {path}: it is not a regular file and would be replaced; give another name")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):  # the folder itself may be what's wrong
            temporary.unlink(missing_ok=True)
        raise _unwritable(path, error) from None


def keep_whole(path: Path, data: bytes) -> None:
    """As ``write_whole``, but a file that holds ``data`` already stays untouched: its time says when it changed."""
    try:
        if path.read_bytes() == data:
            return
    except OSError:
        pass
    write_whole(path, data)


def check_writable(path: Path) -> None:
    """Raise StoreError if ``write_whole`` couldn't write ``path``; call it before long work."""
    if os.path.exists(path) and not path.is_file():  # noqa: PTH110 - never raises
        raise StoreError(f"can't write {path}: it is not a regular file; give the name of a file")
    probe = path.with_name(f".{path.name}.{threading.get_native_id()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise _unwritable(path, error) from None


def _unwritable(path: Path, error: OSError) -> StoreError:
    remedy = "free some space" if error.errno == errno.ENOSPC else "give a writable folder"
    return StoreError(f"can't write {path}: {error.strerror or error}; {remedy} and run the same command again")


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: Path, value: object) -> None:
    keep_whole(path, (json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True) + "\n").encode())


def read_json(path: Path) -> object:
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise StoreError(f"{path} is missing; run the command that makes it, or give another folder") from None
    except (OSError, ValueError) as error:
        raise StoreError(f"can't read {path}: {error}; delete it and run the same command again") from None


def write_table(path: Path, table: pl.DataFrame, *, write: Callable[[Path, bytes], None] = write_whole) -> None:
    """Write one Parquet file whole. ``write``: ``keep_whole`` leaves one that holds the same table untouched."""
    buffer = io.BytesIO()
    table.write_parquet(buffer, compression="zstd")
    write(path, buffer.getvalue())


def write_tables(folder: Path, tables: Mapping[str, pl.DataFrame]) -> None:
    """Write Parquet files (by name) to a new ``folder``, so that it has either all of them or does not exist."""
    temporary = folder.with_name(f".{folder.name}.{threading.get_native_id()}.tmp")
    try:
        for name, table in tables.items():
            write_table(temporary / name, table)
        temporary.replace(folder)
        _sync_folder(folder.parent)
    except OSError as error:
        raise _unwritable(folder, error) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


RUN_REMEDY = "delete it and run the same command again"


def read_table(path: Path, *, remedy: str = RUN_REMEDY) -> pl.DataFrame:
    """Read the table in a Parquet file. ``remedy``: advice for a damaged file. Raises StoreError."""
    try:
        return pl.read_parquet(path)
    except FileNotFoundError:
        raise StoreError(f"{path} is missing; run the command that makes it, or give another folder") from None
    except (OSError, pl.exceptions.PolarsError) as error:
        raise StoreError(f"can't read {path}: {error}; {remedy}") from None


def old_keys(root: Path) -> StoreError:
    """Make the error for a run folder whose keys are from an earlier version."""
    return StoreError(
        f"{root} was made by an earlier version, whose keys were cut to 64 bits, so that one program could get "
        "another's verdict; run the study again in another folder"
    )


BEFORE_A_STUDY = (
    "watch.json", "checkpoints", "alerts.jsonl", "events.jsonl", "inline.log", "rollouts*.jsonl",
    "rollout_counts*.jsonl", ".*.tmp", "storage",
)  # fmt: skip
"""globs of what a watcher, or a callback or a guard in the training, writes into a run folder before the first
checkpoint is measured"""


class Shards:
    """A folder of Parquet shards, each under a content key. Incomplete files are never listed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, key: str) -> Path:
        return self.folder / f"{key}.parquet"

    def has(self, key: str) -> bool:
        return self.path(key).exists()

    def write(self, key: str, table: pl.DataFrame) -> None:
        write_table(self.path(key), table)

    def read(self, key: str) -> pl.DataFrame:
        return read_table(self.path(key))

    def keys(self) -> Iterator[str]:
        yield from sorted(p.stem for p in self.folder.glob("*.parquet") if not p.name.startswith("."))


class RunFolder:
    """``runs/<study>/``: the study as run, a manifest, and one folder of shards per stage."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def shards(self, stage: str) -> Shards:
        return Shards(self.root / stage)

    def claim(self, identity: Mapping[str, object]) -> None:
        """Take the folder for a study, given its identifying settings. Raises StoreError if it is another study's."""
        path = self.root / "study.json"
        wanted = json.loads(json.dumps({**identity, "keys": KEY_KIND}, sort_keys=True, default=str))
        if self.root.exists() and not self.root.is_dir():
            raise StoreError(f"{self.root} is a file; give a new folder")
        if not path.exists():
            if self.root.exists() and any(
                not any(fnmatch(inner.name, glob) for glob in BEFORE_A_STUDY) for inner in self.root.iterdir()
            ):
                raise StoreError(f"{self.root} is not empty and does not contain a study; give a new folder")
            write_json(path, wanted)
            return
        held = read_json(path)
        if held != wanted:
            if not isinstance(held, dict):
                raise StoreError(f"{path} has no study settings; give another run folder or delete this one")
            if "keys" not in held:
                raise old_keys(self.root)
            differing = ", ".join(sorted(k for k in wanted.keys() | held.keys() if wanted.get(k) != held.get(k)))
            raise StoreError(
                f"{self.root} contains another study (it differs in {differing}); "
                "give another run folder or delete this one"
            )
