"""A YAML file and overrides to a Config. Knows text; the meaning of fields is config.py's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from lstm_ray.config import Config, parse
from lstm_ray.errors import InputError
from lstm_ray.space import require_searchable


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
        tree = yaml.load(text, _OnceLoader)
    except yaml.YAMLError as error:
        raise InputError(f"'{path}' is not valid YAML: {error}") from None
    if not isinstance(tree, dict):
        raise InputError(f"'{path}' must hold keys and values, found {type(tree).__name__}")
    for override in overrides:
        _apply(tree, override)
    config = parse(tree)
    require_searchable(config)
    return config


class _OnceLoader(yaml.SafeLoader):
    """Safe YAML in which a key written twice is a mistake, where PyYAML would keep the last in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        if twice := sorted({key for key in keys if keys.count(key) > 1}):
            raise yaml.YAMLError(f"key '{twice[0]}' is written twice{node.start_mark}; keep one")
        return super().construct_mapping(node, deep)


def _apply(tree: dict[str, Any], override: str) -> None:
    path, equals, text = override.partition("=")
    if not equals or not path:
        raise InputError(f"--set {override!r}: expected section.field=value, such as --set train.workers=2")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
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
