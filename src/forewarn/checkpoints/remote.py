"""A training whose checkpoints are in object storage: whole ones are downloaded, by the same rules as in a folder.

A mirror below the run folder has every file of the training's folder: small ones as they are, large ones as empty files
of the right length, until their checkpoint bears its trainer's sign and nothing of it has changed between two listings.
Then they are downloaded, and checked as files in a folder are. Nothing is written to the storage.
"""

from __future__ import annotations

import fnmatch
import importlib
import os
import shutil
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from forewarn.checkpoints.layouts import Spot
from forewarn.checkpoints.places import spots_in, unmarked, unwritten
from forewarn.checkpoints.polls import files_signature
from forewarn.checkpoints.receipts import Signature
from forewarn.errors import InputError, StoreError, need_extra

SMALL = 1 << 20
"""bytes up to which a file is downloaded to tell what a folder is: markers, configurations, lists"""

Mark = tuple[object, ...]
"""what changes where a file in the storage does"""
Listing = Mapping[str, tuple[int, Mark]]
"""path below the training's folder -> (bytes, mark)"""

_FAULTS = (
    ("botocore.exceptions", "BotoCoreError"),
    ("botocore.exceptions", "ClientError"),
    ("aiohttp", "ClientError"),
    ("google.auth.exceptions", "GoogleAuthError"),
    ("azure.core.exceptions", "AzureError"),
)
"""(module, class) of what storages raise beside OSError"""


class StorageFault(Exception):  # noqa: N818  as ``EngineFault``: the storage broke, and nothing else did
    """The storage could not be listed or read; the next look may go through."""


def is_url(path: str) -> bool:
    """Whether a path names a place in a storage."""
    return "://" in path


class RemotePolls:
    """Looks at one run's folder in a storage, as ``polls.Polls`` does at a folder on disk."""

    def __init__(
        self,
        url: str,
        mirror: Path,
        *,
        without: Sequence[str] = (),
        known: Callable[[], Collection[str]] = tuple,
    ) -> None:
        """``mirror``: a folder for it alone; ``without``: globs of names that are never downloaded; ``known``: names of
        checkpoints that need not be downloaded unless they are written again from now on. Raises
        MissingExtraError or InputError where the storage can't be opened."""
        self._url, self._without = url.rstrip("/"), tuple(without)
        self._files, self._path = _opened(self._url)
        self._mirror = mirror / (PurePosixPath(self._path).name or "run")
        self._before: Listing = {}
        self._known, self._told = known, dict[str, Listing]()
        self._here: dict[str, Mark] = {}
        """what the mirror has in full"""

    def look(self) -> list[Spot]:
        """The checkpoints that are whole now and downloaded, ordered by step, without those that are known; one needs
        two looks at least.

        Raises StorageFault where the storage can't be read, StoreError where the mirror can't be written, and
        InputError where the folder holds two trainings.
        """
        now, before = self._list(), self._before
        self._before = now
        if not now:  # nothing is there yet, or a storage out of reach that says so with an empty list
            return []
        self._shape(now)
        spots = spots_in(self._mirror)
        lacking = unmarked(spots, watched=True)
        whole, known = [], self._known()
        for spot in spots:
            mine = self._inside(spot, now)
            if spot.name in known and self._told.setdefault(spot.name, mine) == mine:
                continue
            if spot.folder in lacking or mine != self._inside(spot, before):
                continue
            if spot.remote is None:
                self._download(mine)
                if self._inside(spot, self._list()) != mine:  # it changed under the download
                    self._here = {name: mark for name, mark in self._here.items() if name not in mine}
                    continue
                if unwritten(spot) is not None:
                    continue
            self._told[spot.name] = mine
            whole.append(spot)
        return whole

    def seen(self, spot: Spot) -> Signature:
        """The marks of a checkpoint's files in the mirror, which nobody else writes: those of the last look."""
        return files_signature(spot)

    def _list(self) -> Listing:
        try:
            self._files.invalidate_cache()
            found = self._files.find(self._path, detail=True)
            files = {name: info for name, info in sorted(found.items()) if info.get("type", "file") == "file"}
            told = {self._relative(name): self._size_of(name, info) for name, info in files.items()}
            return {name: one for name, one in told.items() if one is not None}
        except FileNotFoundError:  # nothing is there yet
            return {}
        except _faults() as error:
            raise self._fault("can't be listed", error) from None

    def _relative(self, name: str) -> str:
        stripped = self._files._strip_protocol(name)
        own = self._files._strip_protocol(self._path).rstrip("/")
        inner = PurePosixPath(stripped.removeprefix(own).lstrip("/"))
        if ".." in inner.parts or inner.is_absolute():
            raise InputError(f"{self._url} lists {name!r}, which is outside it: give another folder")
        return inner.as_posix()

    def _size_of(self, name: str, info: Mapping[str, Any]) -> tuple[int, Mark] | None:
        """The length and mark of a file; None where it was pruned since it was listed."""
        if info.get("size") is None:  # some storages tell sizes only of one file
            try:
                info = self._files.info(name)
            except FileNotFoundError:
                return None
        size = info.get("size")
        marks = (info.get(key) for key in ("ETag", "etag", "LastModified", "last_modified", "mtime", "created"))
        return int(size or 0), (size, *map(str, marks))

    def _inside(self, spot: Spot, listing: Listing) -> dict[str, tuple[int, Mark]]:
        start = f"{spot.folder.relative_to(self._mirror).as_posix()}/"
        return {name: held for name, held in listing.items() if name.startswith(start)}

    def _shape(self, now: Listing) -> None:
        """Give the mirror the files of a listing: small ones in full, large ones of the right length."""
        self._here = {name: mark for name, mark in self._here.items() if name in now and now[name][1] == mark}
        try:
            self._mirror.mkdir(parents=True, exist_ok=True)
            there = {path.relative_to(self._mirror).as_posix(): path for path in self._mirror.rglob("*")}
            for name, path in there.items():
                if path.is_file() and name not in now:
                    path.unlink()
                    self._prune(path.parent)
            for name, (size, _) in now.items():
                if name in self._here:
                    continue
                if size <= SMALL:
                    self._fetch(name, now[name][1])
                else:
                    self._hollow(name, size)
        except OSError as error:
            raise self._unwritable(error) from None

    def _prune(self, folder: Path) -> None:
        while folder != self._mirror and not any(folder.iterdir()):
            folder.rmdir()
            folder = folder.parent

    def _hollow(self, name: str, size: int) -> None:
        path = self._mirror / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file() and path.stat().st_size == size:
            return  # of a look before; what is in it does not count
        path.unlink(missing_ok=True)  # it may be linked to what was kept
        with open(path, "wb") as file:
            os.truncate(file.fileno(), size)

    def _download(self, mine: Listing) -> None:
        for name, (_, mark) in mine.items():
            left_out = any(fnmatch.fnmatch(PurePosixPath(name).name, glob) for glob in self._without)
            if name not in self._here and not left_out:
                self._fetch(name, mark)

    def _fetch(self, name: str, mark: Mark) -> None:
        """Download a file beside its place, and put it there whole."""
        path = self._mirror / name
        part = path.with_name(f".{path.name}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with self._files.open(f"{self._path.rstrip('/')}/{name}", "rb") as source, open(part, "wb") as target:
                shutil.copyfileobj(source, target, 1 << 24)
        except FileNotFoundError:  # pruned since it was listed
            part.unlink(missing_ok=True)
            return
        except _faults() as error:
            part.unlink(missing_ok=True)
            if isinstance(error, OSError) and error.filename in (str(path), str(part)):
                raise self._unwritable(error) from None
            raise self._fault(f"{name} can't be read", error) from None
        part.replace(path)
        self._here[name] = mark

    def _fault(self, what: str, error: BaseException) -> StorageFault:
        return StorageFault(f"{self._url} {what} ({type(error).__name__}: {error})")

    def _unwritable(self, error: OSError) -> StoreError:
        return StoreError(f"can't write {self._mirror}: {error.strerror or error}; free some space")


def _faults() -> tuple[type[BaseException], ...]:
    """What a storage may raise: OSError, and what the packages that are loaded have of their own."""
    own = [getattr(module, name) for where, name in _FAULTS if (module := sys.modules.get(where)) is not None]
    return (OSError, *own)


def _opened(url: str) -> tuple[Any, str]:
    need_extra("fsspec", "storage")
    core = importlib.import_module("fsspec.core")
    try:
        files, path = core.url_to_fs(url)
    except ImportError as error:  # fsspec says which package: "Install s3fs to access S3"
        raise InputError(f"{url} can't be read: {error}; install that package beside forewarn[storage]") from None
    except ValueError as error:
        raise InputError(f"{url} can't be read ({error}): give a folder, or a URL that fsspec knows") from None
    return files, str(path)
