"""The section of the stage that judges a policy."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import Field

from lstm_ray.sections.base import Fraction, Section

Damage = Literal[
    "missing",
    "blocks",
    "noise",
    "outliers",
    "level",
    "scale",
    "irregular",
    "shorter",
    "longer",
    "inputs",
    "later",
    "unseen",
]
"""What can be done to a history before the policy reads it."""
DAMAGES: tuple[Damage, ...] = get_args(Damage)


class BacktestConfig(Section):
    """The same recipe over several stretches of time and several seeds."""

    folds: int = Field(
        default=3,
        gt=0,
        description="rolling origins (Tashman 2000): stretches as long as the test part, each right before the next, of which "
        "the last is the test part; training and validation part move along, with the split's gaps",
    )
    refit: bool = Field(
        default=True,
        description="train (and fit scaler and baselines) anew before each stretch; false: once, before the oldest, and answer "
        "all of them",
    )
    seeds: int = Field(default=1, gt=0, description="policies trained for each stretch, from seed on")


class EvaluateConfig(Section):
    """What the test part is asked, once."""

    batch: int = Field(default=512, gt=0, description="windows predicted at a time")
    workers: int = Field(
        default=0,
        ge=0,
        description="Ray actors that share the windows of forecasts, and the backtest's trainings; 0: this process. Numbers do "
        "not depend on it; sequences to classify and steps to label are told in this process",
    )
    predictions: bool = Field(
        default=True, description="write every forecast (class, label) of the test part to evaluate/predictions/"
    )
    conformal: Literal["split", "none"] = Field(
        default="split",
        description="how intervals are calibrated on the validation part: split (conformalized quantile regression, Romano "
        "et al. 2019: each quantile by itself, by target and step ahead, in widths of the forecast), or none: as the network "
        "gives them",
    )
    statistical_windows: int = Field(
        default=100,
        ge=0,
        description="test windows, drawn from the whole test part, that AutoETS and Theta are fitted to, each anew "
        "(statsforecast, in the extra 'baselines'); of several targets or a season of more than 24 steps so many fewer, for a "
        "fit takes about 0.1 s; 0: none",
    )
    damage: list[Damage] = Field(
        default=list(DAMAGES),
        description="robustness: what is done to the inputs; those that do not apply are left out",
    )
    missing: list[Fraction] = Field(
        default=[0.1, 0.3, 0.5],
        description="robustness: shares of the steps that are missing, at random or in one block",
    )
    noise: list[Annotated[float, Field(gt=0)]] = Field(
        default=[0.1, 0.3, 1.0], description="robustness: noise added, in training deviations"
    )
    robustness_windows: int = Field(default=512, gt=0, description="test windows the robustness checks use")
    explain: Literal["permutation", "gradients", "none"] = Field(
        default="permutation",
        description="what the policy relies on: by shuffling an input or a stretch of its past (Breiman 2001), or by "
        "integrated gradients too (Sundararajan et al. 2017; captum, in the extra 'explain')",
    )
    backtest: BacktestConfig | None = Field(
        default=None, description="how the scores spread over time and seeds; trains one policy for each fold and seed"
    )
    groups: list[str] = Field(
        default=[],
        description="columns, constant in a series (data.series_id, static, categorical), by whose values errors are told; "
        "gaps between groups are flagged",
    )
    max_gap: float = Field(
        default=1.25, gt=1, description="error of the worst group over that of all from which it is flagged"
    )
