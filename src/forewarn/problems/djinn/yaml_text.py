"""YAML by PyYAML's safe loader without its dates (``2024-01-01`` stays text); a name given twice is an error."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from forewarn.errors import InputError
from forewarn.problems.djinn.values import integer_of, shortened

MANY = 4000
"""digits of an integer that PyYAML may not read"""


class _Loader(yaml.SafeLoader):
    """The safe loader without dates, strict about names given twice."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's own attribute
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_yaml_int(self, node: Any) -> Any:
        digits = str(node.value).replace("_", "").removeprefix("+")
        if len(digits) > MANY and digits.removeprefix("-").isdecimal() and not digits.lstrip("-").startswith("0"):
            return integer_of(digits)
        return super().construct_yaml_int(node)

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep=deep)
        except (LookupError, AttributeError, TypeError, ValueError, OverflowError):
            # PyYAML raises these for a tag that the text doesn't fit
            kind, text = node.tag.rpartition(":")[2], node.value if isinstance(node, yaml.ScalarNode) else "this"
            said = f"{shortened(text)!r} is not of type {kind}"
            raise yaml.constructor.ConstructorError(None, None, said, node.start_mark) from None

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        pairs = node.value if isinstance(node, yaml.MappingNode) else []  # the loader itself rejects any other node
        names = [key.value for key, _ in pairs if isinstance(key, yaml.ScalarNode)]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise yaml.constructor.ConstructorError(None, None, f"{twice!r} occurs twice", node.start_mark)
        return super().construct_mapping(node, deep=deep)


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)


def from_yaml(text: str, path: Path) -> Any:
    """Return the value of YAML text. Raises ``InputError`` naming ``path``."""
    try:
        return yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, LookupError, AttributeError, TypeError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: is not YAML of plain data: {' '.join(str(error).split())}") from None


def as_yaml(row: Mapping[str, Any], path: Path) -> bytes:
    """Return a row as YAML. Raises ``InputError`` naming ``path`` and the problem."""
    try:
        return yaml.safe_dump(dict(row), sort_keys=False, width=120).encode()
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise InputError(f"{path}, problem {row['id']!r}: YAML can't store it: {error}") from None
