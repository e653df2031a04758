"""The sections of the stages that use a trained policy: plan, tune, evaluate, deploy."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from lstm_ray.sections.base import Fraction, Section


class ScenarioConfig(Section):
    """One what-if: a change to an input column."""

    name: str = Field(description="name in tables and figures")
    column: str = Field(description="target, past or known column that is changed")
    operation: Literal["shift", "scale", "set"] = Field(description="add to, multiply or replace the values")
    value: float = Field(description="amount: in the column's units for shift and set, a factor for scale")
    steps: int | None = Field(
        default=None, gt=0, description="newest steps of history that change (known columns: of the future); none: all"
    )
    series: list[str] = Field(default=[], description="series that change; none: all")


class PlanConfig(Section):
    """Simulated experience: rollouts, synthetic sequences and whether training on them helps."""

    scenarios: list[ScenarioConfig] = Field(default=[], description="what-ifs rolled out beside the unchanged base")
    steps: int | None = Field(default=None, gt=0, description="length of a rollout; none: twice the horizon")
    origins: int = Field(default=48, gt=0, description="starting points, spread over each part they are drawn from")
    paths: int = Field(default=20, gt=0, description="sampled futures per origin and scenario")
    actors: int = Field(default=2, gt=0, description="Ray actors that hold the policy")
    synthetic_fraction: float = Field(default=0.25, gt=0, lt=1, description="share of synthetic sequences in a batch")
    epochs: int = Field(default=5, gt=0, description="retraining passes, with and without the synthetic sequences")


class SpaceConfig(Section):
    """The values a tuned field may take: exactly one of these."""

    choice: list[Any] | None = Field(default=None, description="one of a list")
    uniform: tuple[float, float] | None = Field(default=None, description="between two numbers")
    loguniform: tuple[float, float] | None = Field(default=None, description="between two, evenly in the logarithm")

    @model_validator(mode="after")
    def _is_one_range(self) -> SpaceConfig:
        given = [name for name in ("choice", "uniform", "loguniform") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"give exactly one of choice, uniform, loguniform; found {given or 'none'}")
        for name in ("uniform", "loguniform"):
            bounds = getattr(self, name)
            if bounds and not (bounds[0] < bounds[1] and (name == "uniform" or bounds[0] > 0)):
                raise ValueError(
                    f"{name} needs [low, high] with low < high (loguniform: above 0), found {list(bounds)}"
                )
        if self.choice is not None and not self.choice:
            raise ValueError("choice needs at least one value, found []")
        return self


class TuneConfig(Section):
    """The search for better settings, from the trained weights where shapes allow."""

    trials: int = Field(default=6, gt=0, description="settings tried")
    max_epochs: int = Field(default=8, gt=0, description="training passes of a trial at most")
    grace_epochs: int = Field(default=2, gt=0, description="passes before ASHA may stop a trial")
    concurrency: int = Field(default=2, gt=0, description="trials at the same time, bounded by the cluster's CPUs")
    space: dict[str, SpaceConfig] = Field(
        default={
            "train.learning_rate": SpaceConfig(loguniform=(3e-4, 5e-3)),
            "train.weight_decay": SpaceConfig(choice=[0.0, 0.01, 0.1]),
            "model.dropout": SpaceConfig(choice=[0.1, 0.3, 0.5]),
            "model.hidden": SpaceConfig(choice=[64, 128]),
        },
        description="config fields, as section.field, and the values they may take; model and train fields alone",
    )


class EvaluateConfig(Section):
    """What the test part is asked, once."""

    batch: int = Field(default=512, gt=0, description="windows predicted at a time")
    missing: list[Fraction] = Field(default=[0.1, 0.3, 0.5], description="robustness: shares of history removed")
    noise: list[float] = Field(default=[0.1, 0.3, 1.0], description="robustness: noise added, in training deviations")
    robustness_windows: int = Field(default=512, gt=0, description="test windows the robustness checks use")


class DeployConfig(Section):
    """The served policy."""

    host: str = Field(default="127.0.0.1", description="address the server binds to; loopback unless you mean it")
    port: int = Field(default=8000, ge=0, le=65535, description="HTTP port; 0: any free one")
    replicas: int = Field(default=1, gt=0, description="Ray Serve replicas")
    max_ongoing_requests: int = Field(default=64, gt=0, description="requests a replica holds before it queues")
    max_body_bytes: int = Field(default=1_000_000, gt=0, description="larger requests are refused")
    load_seconds: float = Field(default=2.0, gt=0, description="length of the short load test")
    load_connections: int = Field(default=8, gt=0, description="clients of the short load test")
    token_file: str | None = Field(
        default=None, description="file whose content is the bearer token; needed to bind beyond loopback"
    )
