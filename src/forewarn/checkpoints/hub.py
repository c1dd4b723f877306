"""Model names to folders: a folder is itself, a hub name ``org/name`` or ``org/name@revision`` is its snapshot.

Works offline from the hub's cache. Everything else in this package deals in folders.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from forewarn.errors import ModelError, need_extra

_HUB_NAME = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?")
_TOP = "."
SETTINGS = ("*.json", "*.model", "*.txt", "*.jinja")
"""files of a snapshot that configurations and tokenizers are made of"""
WEIGHTS = (
    ("model.safetensors", "model*.safetensors", "pytorch_model.bin", "pytorch_model*.bin"),
    ("adapter_model.safetensors", "adapter_model.bin"),
)
"""weights of models and of adapters by the names that transformers and PEFT look for, in that order: the first that is
there is a whole set"""
WANTED = (*SETTINGS, "model*.safetensors", "adapter_model.safetensors")
"""what is asked for where the files of a repository can't be listed"""
COPIES = frozenset({"original", "metal", "onnx", "openvino", "gguf", "coreml"})
"""folders of a repository that hold its model once more, in another program's format"""


def is_hub_name(name: str, home: Path = Path()) -> bool:
    """Is ``name`` a model on the hub, and not a path from ``home`` (``runs/train`` beside a folder ``runs``)?"""
    return _HUB_NAME.fullmatch(name) is not None and not (home / name.split("/")[0]).exists()


def local_folder(name: str | Path) -> Path:
    """The folder that holds the model ``name``: itself, or the hub's snapshot, downloaded where it is not here yet.

    Raises ModelError where there is neither.
    """
    if Path(name).is_dir():
        return Path(name)
    found = _HUB_NAME.fullmatch(str(name))
    if found is not None and not is_hub_name(str(name)):
        first, rest = str(name).split("/", 1)
        raise ModelError(
            f"{name} is read as a path because {first} exists here, but {first} has no folder {rest}: give a "
            f"folder, or, if a hub name is meant, work where nothing is called {first}"
        )
    if found is None:
        raise ModelError(f"{name} is neither a folder nor a hub name: give a folder, org/name, or org/name@revision")
    need_extra("huggingface_hub", "local")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    repo, revision = found["repo"], found["revision"]
    try:
        return Path(snapshot_download(repo, revision=revision, allow_patterns=_patterns(repo, revision)))
    except RevisionNotFoundError:
        raise ModelError(
            f"{repo} has no revision {revision!r} on the hub: give a branch, tag or commit of it"
        ) from None
    except GatedRepoError:
        raise ModelError(
            f"{repo} is gated on the hub: accept its terms there and log in with `hf auth login`"
        ) from None
    except (RepositoryNotFoundError, HFValidationError):
        raise ModelError(f"{name} is neither a folder here nor a model on the hub that you may read") from None
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelError(
            f"{name} is not a folder here, is not in the hub's cache, and can't be fetched ({reason}): "
            "give a folder, or fetch it first with `hf download`"
        ) from None


def _patterns(repo: str, revision: str | None) -> list[str]:
    """What to fetch of a repository: the files' own names, or ``WANTED`` where nobody can list them."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        files = HfApi().list_repo_files(repo, revision=revision)
    except (HfHubHTTPError, HFValidationError, OSError):  # the cache may hold it; if not, the download says why
        return list(WANTED)
    return [glob.escape(file) for file in wanted_files(files)]


def wanted_files(files: Sequence[str]) -> list[str]:
    """The files of a repository that make a model, each weight once.

    A model at the top is what the repository's name means: its folders (checkpoints of its training, copies in other
    formats) are left out. A repository without one is a trainer's output, of which each folder's model is wanted.
    """
    folders: dict[str, list[str]] = {}
    for file in files:
        folders.setdefault(str(PurePosixPath(file).parent), []).append(file)
    if top := _weights(folders.get(_TOP, ())):
        return _settings(folders[_TOP]) + top
    wanted = []
    for folder, inside in folders.items():
        if not COPIES & set(PurePosixPath(folder).parts):
            wanted += _settings(inside) + _weights(inside)
    return wanted


def _weights(files: Sequence[str]) -> list[str]:
    """Of one folder's files, the first set of weights that is there, of a model and of an adapter."""
    names = {PurePosixPath(file).name: file for file in files}
    found = []
    for kinds in WEIGHTS:
        sets = ([file for name, file in names.items() if fnmatchcase(name, kind)] for kind in kinds)
        found += next(filter(None, sets), [])
    return found


def _settings(files: Sequence[str]) -> list[str]:
    return [file for file in files if any(fnmatchcase(file, kind) for kind in SETTINGS)]
