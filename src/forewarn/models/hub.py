"""Model names to folders: a folder is itself, a hub name ``org/name`` or ``org/name@revision`` is its snapshot.

Works offline from the hub's cache. Everything else in this package deals in folders.
"""

from __future__ import annotations

import re
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from forewarn.errors import ModelError

_HUB_NAME = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?")
WANTED = ("*.json", "*.safetensors", "*.bin", "*.model", "*.txt", "*.jinja")
"""files of a snapshot that models, adapters and tokenizers are made of"""


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
    if found is None or not is_hub_name(str(name)):
        raise ModelError(f"{name} is neither a folder nor a hub name: give a folder, org/name, or org/name@revision")
    repo, revision = found["repo"], found["revision"]
    try:
        return Path(snapshot_download(repo, revision=revision, allow_patterns=list(WANTED)))
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
            f"{name} is no folder here, is not in the hub's cache, and can't be fetched ({reason}): "
            "give a folder, or fetch it first with `hf download`"
        ) from None
