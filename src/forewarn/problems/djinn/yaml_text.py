"""YAML as text, by PyYAML's safe loader less its dates (``2024-01-01`` stays text); a name given twice is an error."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from forewarn.errors import InputError


class _Loader(yaml.SafeLoader):
    """The safe loader, less dates, and strict about names given twice."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's own attribute
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise yaml.constructor.ConstructorError(None, None, f"{twice!r} is there twice", node.start_mark)
        return super().construct_mapping(node, deep=deep)


def from_yaml(text: str, path: Path) -> Any:
    """The value of YAML text. Raises ``InputError`` naming ``path``."""
    try:
        return yaml.load(text, Loader=_Loader)
    except (LookupError, AttributeError, TypeError) as error:  # PyYAML's own, of a tag that its text doesn't fit
        said = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputError(f"{path}: is no YAML of plain data: a value doesn't fit its tag ({said})") from None
    except (yaml.YAMLError, ValueError, RecursionError, OverflowError) as error:
        raise InputError(f"{path}: is no YAML of plain data: {' '.join(str(error).split())}") from None


def as_yaml(row: Mapping[str, Any], path: Path) -> bytes:
    """A row as YAML. Raises ``InputError`` naming ``path`` and the problem."""
    try:
        return yaml.safe_dump(dict(row), sort_keys=False, width=120).encode()
    except (yaml.YAMLError, RecursionError) as error:
        raise InputError(f"{path}, problem {row['id']!r}: YAML can't hold it: {error}") from None
