"""The section of planning: what-ifs, decisions, and synthetic experience with its verdict."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from lstm_ray.sections.base import Fraction, Section


class ChangeConfig(Section):
    """A change to one input column over a stretch of time."""

    column: str = Field(description="target, past or known column that is changed")
    operation: Literal["shift", "scale", "set", "ramp", "shock", "replay", "missing", "noise"] = Field(
        description="shift, scale, set: add to, multiply or replace the values; ramp: add a line from nothing to the value "
        "over the stretch; shock: add the value at its first step, fading by half_life; replay: copy an earlier stretch; "
        "missing: nothing was measured, filled as preprocess fills; noise: add random values"
    )
    value: float | None = Field(
        default=None,
        description="amount in the column's units (scale: a factor; noise: a deviation); not for replay and missing",
    )
    steps: int | None = Field(
        default=None,
        gt=0,
        description="length of the stretch; none: all of history (target, past) or of the future (known)",
    )
    first: int | None = Field(
        default=None,
        description="first step of the stretch, counted from the origin (0: the origin, 1: the first step ahead, -23: a day of "
        "hours ends at the origin); none: it ends at the origin (target, past) or begins at 1 (known)",
    )
    between: tuple[str | int, str | int] | None = Field(
        default=None,
        description="two times of the data, both included, instead of first and steps: only what lies there changes, whatever "
        "the origin",
    )
    half_life: float | None = Field(
        default=None, gt=0, description="shock: steps after which half of it is left; none: it lasts one step"
    )
    source: str | int | None = Field(
        default=None,
        description="replay: time of the first step that is copied, of the same series; a whole number where times are stamps: "
        "that many steps before the stretch; none: a season before",
    )
    series: list[str] = Field(default=[], description="series that change; none: all")


class ScenarioConfig(ChangeConfig):
    """One what-if: a change to an input column, and others with it."""

    name: str = Field(description="name in tables and figures")
    also: list[ChangeConfig] = Field(default=[], description="changes made together with the first")


class ThresholdConfig(Section):
    """A level whose crossing is counted: exactly one of above and below."""

    target: str | None = Field(default=None, description="target column; none: the first")
    above: float | None = Field(default=None, description="crossed where any step of a path lies above")
    below: float | None = Field(default=None, description="crossed where any step of a path lies below")


class SumConfig(Section):
    """Bounds of an action's sum, over every ``steps`` steps counted from the first one planned."""

    steps: int = Field(gt=0, description="steps of one sum, such as 24 for a day of hours")
    low: float | None = Field(default=None, description="least sum")
    high: float | None = Field(default=None, description="largest sum")
    keep: bool = Field(
        default=False, description="the sum that the data holds, so that only its division over the steps changes"
    )


class ActionConfig(Section):
    """A quantity that the planner sets, at every step ahead."""

    name: str = Field(
        description="a data.known column, which the policy then reads as planned; or a name of its own, which the objective "
        "alone sees (such as what is ordered)"
    )
    low: float = Field(description="least value")
    high: float = Field(description="largest value")
    step: float | None = Field(default=None, gt=0, description="values are low plus a multiple of this; none: any")
    every: int = Field(default=1, gt=0, description="steps for which a value holds")
    max_change: float | None = Field(default=None, gt=0, description="largest change from one value to the next")
    sum: SumConfig | None = Field(default=None, description="bounds of sums over time")


class TermConfig(Section):
    """One term of the objective; its value is added over the steps ahead, in the units of weight times the column's."""

    kind: Literal["cost", "threshold", "track", "newsvendor", "own"] = Field(
        description="cost: price times the column; threshold: what lies above or below a level; track: squared distance from a "
        "reference; newsvendor: over-supply and under-supply of a target by an action; own: a function of yours"
    )
    column: str | None = Field(default=None, description="target or action that is judged; none: the first target")
    weight: float = Field(default=1.0, ge=0, description="factor of the term")
    price: float | str | None = Field(
        default=None, description="cost: price per unit, or the known column that holds it"
    )
    above: float | None = Field(default=None, description="threshold: what lies above this counts")
    below: float | None = Field(default=None, description="threshold: what lies below this counts")
    reference: float | str | None = Field(
        default=None, description="track: the value wanted, or the known column of it"
    )
    supply: str | None = Field(default=None, description="newsvendor: the action that meets the column's demand")
    over: float | None = Field(default=None, ge=0, description="newsvendor: cost of a unit too much")
    under: float | None = Field(default=None, ge=0, description="newsvendor: cost of a unit too little")
    function: str | None = Field(
        default=None,
        description="own: package.module:function(futures_WSC, actions_SA, known_SK) -> cost of each path [W]",
    )


class DecisionConfig(Section):
    """What is decided, what it should cost least, and how long to search."""

    actions: list[ActionConfig] = Field(min_length=1, description="what the planner sets")
    objective: list[TermConfig] = Field(min_length=1, description="terms whose sum is made small")
    cvar: Fraction | None = Field(
        default=None,
        description="judge by the mean of this worst share of paths (conditional value at risk); none: by the mean of all",
    )
    steps: int | None = Field(default=None, gt=0, description="steps planned; none: window.horizon")
    origins: int = Field(default=4, gt=0, description="moments of the validation part that are planned for")
    candidates: int = Field(default=48, gt=1, description="action sequences tried in each round of the search")
    rounds: int = Field(default=8, gt=0, description="rounds of the cross-entropy method")
    elites: Fraction = Field(default=0.15, description="share of a round's sequences that the next is drawn about")
    paths: int = Field(default=16, gt=1, description="sampled futures that each sequence is judged on")


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
    seeds: int = Field(default=3, gt=0, description="retrainings of each kind, by seeds that both share")


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
