"""Whether clients of one policy can go on with another. Knows what policy.json says of both, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from lstm_ray.errors import InputError
from lstm_ray.model.stored import POLICY, Files, version


def require_fit(present: Files, new: Files, force: bool = False) -> None:
    """Raises InputError where clients of the present policy could not go on as they are with the new one."""
    if not force and (found := breaks(*(json.loads(files[POLICY]) for files in (present, new)))):
        raise InputError(
            f"clients of policy {version(present)[:12]} would break: policy {version(new)[:12]} {'; it '.join(found)}. Add "
            "--force where they are ready for that, or serve it beside, with a port of its own"
        )


def breaks(present: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What requests that the present policy answers would lack or find changed with the new one, in words; empty: nothing."""
    found = []
    for words, of in _SAME.items():
        before, after = of(present), of(new)
        if before != after:
            found.append(f"has the {words} {_told(after)}, not {_told(before)}")
    if lost := set(_quantiles(present)) - set(_quantiles(new)):
        found.append(f"tells no quantiles {_told(sorted(lost))}")
    before, after = _history(present), _history(new)
    if after > before:
        found.append(f"reads at least {after} steps of history, not {before}")
    return found


def _of_schema(name: str) -> Any:
    return lambda policy: policy["schema"].get(name)


def _horizon(policy: Mapping[str, Any]) -> Any:
    return policy["config"]["window"].get("horizon") if policy["config"].get("task", "forecast") == "forecast" else None


def _history(policy: Mapping[str, Any]) -> int:
    window = policy["config"]["window"]
    return int(window["history"] + max(window.get("lags") or [0]))


def _quantiles(policy: Mapping[str, Any]) -> list[float]:
    return policy["config"]["model"].get("quantiles") or [0.5]


_SAME = {
    "task": lambda policy: policy["config"].get("task", "forecast"),
    "target": _of_schema("target"),
    "past inputs": _of_schema("past"),
    "known inputs": _of_schema("known"),
    "categorical columns": lambda policy: sorted(policy["schema"].get("categories", {})),
    "classes": _of_schema("classes"),
    "label": _of_schema("label"),
    "step": _of_schema("step"),
    "horizon": _horizon,
}
"""What must be the same, under its name."""


def _told(value: Any) -> str:
    return ", ".join(map(str, value)) or "none" if isinstance(value, list) else str(value)
