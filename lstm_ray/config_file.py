"""A YAML file and overrides to a Config. Knows text; the meaning of fields is config.py's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from lstm_ray.config import Config, parse
from lstm_ray.errors import InputError
from lstm_ray.space import require_searchable

MOST_CHARACTERS, MOST_VALUES, MOST_DEEP = 500_000, 100_000, 100
"""Of a config's text, of the values in it with aliases written out, and how deep they lie in one another: no run needs more."""
MOST_WORDS = 500
NOT_YAML = (yaml.YAMLError, ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError)
"""What PyYAML raises for texts: its own error, and whatever its readers of tags and dates stumble over."""


def load(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Read a YAML file, apply ``section.field=value`` overrides and validate, the space of a search too.

    Raises InputError that names the key, the value found and the fix.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot read the config '{path}': {error.strerror}; name an existing YAML file") from None
    except UnicodeDecodeError as error:
        raise InputError(f"'{path}' is no UTF-8 text ({error.reason}); name a YAML file") from None
    try:
        tree = _plain(text)
    except NOT_YAML as error:
        raise InputError(f"'{path}' is not valid YAML: {_short(error)}") from None
    if not isinstance(tree, dict):
        raise InputError(f"'{path}' must hold keys and values, found {type(tree).__name__}")
    for override in overrides:
        _apply(tree, override)
    config = parse(tree)
    require_searchable(config)
    return config


def _plain(text: str) -> Any:
    """The plain values in a YAML text. Raises NOT_YAML."""
    if len(text) > MOST_CHARACTERS:
        raise yaml.YAMLError(f"it has {len(text):,} characters, and a config at most {MOST_CHARACTERS:,}")
    return yaml.load(text, _OnceLoader)


def _short(error: Exception) -> str:
    """In words that a terminal can hold."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    words = str(error) if isinstance(error, yaml.YAMLError) else f"a value is not what it is written as ({error})"
    return words if len(words) <= MOST_WORDS else f"{words[:MOST_WORDS]} ..."


class _OnceLoader(yaml.SafeLoader):
    """Safe YAML in which a key written twice is a mistake, where PyYAML would keep the last in silence, and in which no alias
    makes a small text a large or endless one."""

    def get_single_data(self) -> Any:
        node = self.get_single_node()
        if node is None:
            return None
        _require_small(node, {}, 0)
        return self.construct_document(node)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = Counter(key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode))
        if twice := sorted(key for key, times in keys.items() if times > 1):
            raise yaml.YAMLError(f"key '{twice[0]}' is written twice{node.start_mark}; keep one")
        return super().construct_mapping(node, deep)


def _require_small(node: yaml.Node, size: dict[int, int], depth: int) -> int:
    """Values that a node comes to, its aliases written out. Raises YAMLError where it holds itself or is too large."""
    if (known := size.get(id(node))) is not None:
        if not known:
            raise yaml.YAMLError(f"an alias stands within what it names{node.start_mark}; write it out")
        return known
    if depth > MOST_DEEP:
        raise yaml.YAMLError(f"it is nested more than {MOST_DEEP} deep{node.start_mark}")
    size[id(node)] = 0
    inner = node.value if isinstance(node, yaml.CollectionNode) else []
    below = [part for one in inner for part in (one if isinstance(one, tuple) else (one,))]
    found = 1 + sum(_require_small(one, size, depth + 1) for one in below)
    if found > MOST_VALUES:
        raise yaml.YAMLError(f"it comes to more than {MOST_VALUES:,} values{node.start_mark}; use fewer aliases")
    size[id(node)] = found
    return found


def _apply(tree: dict[str, Any], override: str) -> None:
    path, equals, text = override.partition("=")
    if not equals or not path:
        raise InputError(f"--set {override!r}: expected section.field=value, such as --set train.workers=2")
    try:
        value = _plain(text)
    except NOT_YAML:
        raise InputError(f"--set {override!r}: '{text}' is not a YAML value") from None
    *parents, last = path.split(".")
    for parent in parents:
        inner = tree.setdefault(parent, {})
        if inner is None:
            inner = tree[parent] = {}
        if not isinstance(inner, dict):
            raise InputError(f"--set {override!r}: '{parent}' holds {inner!r}, which has no fields")
        tree = inner
    tree[last] = value
