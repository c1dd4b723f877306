"""Run folders: Parquet shards written whole and keyed by content, so that a re-run does only what is missing.

A shard is written to a temporary file, synced, and renamed; a kill at any moment loses at most the shard being
written. This module knows files and tables, not what the rows mean.
"""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import polars as pl

from forewarn.errors import StoreError
from forewarn.records import KEY_KIND


def write_whole(path: Path, data: bytes) -> None:
    """Write ``data`` so that ``path`` either holds all of it or what it held before (StoreError if it can't)."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    if os.path.exists(path) and not (path.is_file() or path.is_dir()):  # noqa: PTH110 - never raises
        raise StoreError(f"can't write {path}: is no regular file, and would be replaced by one; give another name")
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


def check_writable(path: Path) -> None:
    """Raise StoreError where ``write_whole`` couldn't write ``path``: before long work, not after it."""
    if os.path.exists(path) and not path.is_file():  # noqa: PTH110 - never raises
        raise StoreError(f"can't write {path}: is no regular file; give the name of a file")
    probe = path.with_name(f".{path.name}.{os.getpid()}.tmp")
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
    write_whole(path, (json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True) + "\n").encode())


def read_json(path: Path) -> object:
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise StoreError(f"{path} is missing; run the command that makes it, or give another folder") from None
    except (OSError, ValueError) as error:
        raise StoreError(f"can't read {path}: {error}; delete it and run the same command again") from None


def write_table(path: Path, table: pl.DataFrame) -> None:
    """Write one Parquet file whole."""
    buffer = io.BytesIO()
    table.write_parquet(buffer, compression="zstd")
    write_whole(path, buffer.getvalue())


def write_tables(folder: Path, tables: Mapping[str, pl.DataFrame]) -> None:
    """Write Parquet files (by name) so that ``folder``, which must not be there, holds all of them or is not there."""
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
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
    """The table in a Parquet file. ``remedy``: what to do about a damaged one. Raises StoreError."""
    try:
        return pl.read_parquet(path)
    except FileNotFoundError:
        raise StoreError(f"{path} is missing; run the command that makes it, or give another folder") from None
    except (OSError, pl.exceptions.PolarsError) as error:
        raise StoreError(f"can't read {path}: {error}; {remedy}") from None


def old_keys(root: Path) -> StoreError:
    """What to say of a run folder whose keys are those of earlier versions."""
    return StoreError(
        f"{root} is of an earlier version, whose keys were cut to 64 bits, so that one program could have another's "
        "verdict; run the study again in another folder"
    )


class Shards:
    """A folder of Parquet shards, each under a content key. Files that are no whole shard are never listed."""

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
    """``runs/<study>/``: the study as run, a manifest, and one folder of shards a stage."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def shards(self, stage: str) -> Shards:
        return Shards(self.root / stage)

    def claim(self, identity: Mapping[str, object]) -> None:
        """Take the folder for a study (its identifying settings), or raise StoreError where it holds another's."""
        path = self.root / "study.json"
        wanted = json.loads(json.dumps({**identity, "keys": KEY_KIND}, sort_keys=True, default=str))
        if self.root.exists() and not self.root.is_dir():
            raise StoreError(f"{self.root} is a file; give a new folder")
        if not path.exists():
            if self.root.exists() and any(self.root.iterdir()):
                raise StoreError(f"{self.root} is not empty and holds no study; give a new folder")
            write_json(path, wanted)
            return
        held = read_json(path)
        if held != wanted:
            if not isinstance(held, dict):
                raise StoreError(f"{path} holds no study settings; give another run folder or delete this one")
            if "keys" not in held:
                raise old_keys(self.root)
            differing = ", ".join(sorted(k for k in wanted.keys() | held.keys() if wanted.get(k) != held.get(k)))
            raise StoreError(
                f"{self.root} holds another study (it differs in {differing}); "
                "give another run folder or delete this one"
            )
