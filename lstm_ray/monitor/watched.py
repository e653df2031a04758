"""What a monitor must know of the policy that it watches, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lstm_ray.sections.operate import MonitorConfig

if TYPE_CHECKING:
    from lstm_ray.model.policy import Policy


@dataclass(frozen=True)
class Watched:
    """One policy."""

    version: str
    task: str
    targets: list[str]
    columns: list[str]
    """Of rows: targets first, then past and known inputs."""
    classes: list[str]
    step: int
    """Length of a step in ticks."""
    reference: Mapping[str, Any]
    """What training and validation looked like: ``facts["reference"]`` of the bundle, or empty."""
    validation: Mapping[str, float]
    """Metrics of the validation part."""
    settings: MonitorConfig = field(default_factory=MonitorConfig)
    horizon: int = 1
    is_time: bool = True
    """Whether ticks are microseconds since 1970."""
    coverage: float | None = None
    """What the outermost quantiles of a forecast are to hold; None where there is one quantile alone."""


def watched(policy: Policy) -> Watched:
    """What a monitor must know of a policy."""
    schema, facts = policy.schema, policy.facts
    targets = [schema.label] if schema.label else schema.target
    return Watched(
        version=policy.version,
        task=policy.config.task,
        targets=targets,
        columns=[*targets, *schema.past, *schema.known],
        classes=schema.classes,
        step=schema.step,
        reference=facts.get("reference", {}),
        validation=facts.get("validation", {}),
        settings=policy.config.monitor,
        horizon=policy.config.window.horizon if policy.config.task == "forecast" else 1,
        is_time=schema.is_time,
        coverage=policy.quantiles[-1] - policy.quantiles[0] if has_interval(policy) else None,
    )


def has_interval(policy: Policy) -> bool:
    """Whether a policy tells how sure it is of a value."""
    return policy.config.task == "forecast" and len(policy.quantiles) > 1
