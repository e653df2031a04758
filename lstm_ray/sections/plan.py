"""The section of planning: what-ifs, decisions, and synthetic experience with its verdict."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from lstm_ray.sections.base import Section
from lstm_ray.sections.decision import DecisionConfig
from lstm_ray.sections.scenario import ScenarioConfig, ThresholdConfig


class SyntheticConfig(Section):
    """Synthetic sequences, and the retraining that shows whether they help."""

    kinds: list[Literal["rollouts", "jitter", "time_warp", "mixup", "recombine"]] | None = Field(
        default=None,
        min_length=1,
        description="where they come from: rollouts of the policy, noise, warped time, pairs mixed, or another time's "
        "deviations on a sequence's own season (recombine); none: rollouts to forecast, jitter for classes and labels",
    )
    fraction: float = Field(default=0.25, gt=0, lt=1, description="share of synthetic sequences in what is trained on")
    epochs: int = Field(default=5, gt=0, description="retraining passes, with and without them")
    seeds: int = Field(
        default=3,
        gt=0,
        description="retrainings with and without them, by seeds that both share: the more, the smaller a gain that is told "
        "from luck",
    )

    @model_validator(mode="after")
    def _kinds_differ(self) -> SyntheticConfig:
        kinds = self.kinds or []
        if twice := [kind for turn, kind in enumerate(kinds) if kind in kinds[:turn]]:
            raise ValueError(f"kinds names '{twice[0]}' twice; all kinds have the same share, so name each once")
        return self

    def require_fit(self, task: str, season: int) -> None:
        """Raises ValueError where a kind cannot be made for the task."""
        for kind in self.kinds or []:
            if task == "label" and kind != "jitter":
                raise ValueError(
                    f"plan.synthetic.kinds: {kind} would move values away from the labels of their steps (task 'label'); use "
                    "jitter, or leave kinds out"
                )
            if task == "classify" and kind in ("rollouts", "recombine"):
                why = "foretells targets" if kind == "rollouts" else "takes the season of a series as known"
                raise ValueError(
                    f"plan.synthetic.kinds: {kind} {why}, and a sequence to classify has none; use jitter, time_warp or mixup"
                )
            if kind == "recombine" and season < 2:
                raise ValueError(
                    f"plan.synthetic.kinds: recombine keeps a series' season, but window.season is {season}; set its steps, or "
                    "take recombine out"
                )


class PlanConfig(Section):
    """Simulated experience: what-ifs, decisions, and synthetic sequences that must prove themselves."""

    scenarios: list[ScenarioConfig] = Field(default=[], description="what-ifs rolled out beside the unchanged base")
    thresholds: list[ThresholdConfig] = Field(
        default=[], description="levels whose crossing is counted; none: each target's 95th percentile in training"
    )
    steps: int | None = Field(default=None, gt=0, description="length of a rollout; none: twice the horizon")
    origins: int = Field(default=48, gt=0, description="starting points, spread over each part they are drawn from")
    paths: int = Field(default=20, gt=0, description="sampled futures per origin and scenario")
    actors: int = Field(default=2, gt=0, description="Ray actors that hold the policy")
    decision: DecisionConfig | None = Field(
        default=None, description="actions to choose; none: nothing is decided (task: forecast)"
    )
    synthetic: SyntheticConfig | None = Field(
        default=SyntheticConfig(), description="synthetic experience; none: the policy stays as trained"
    )
