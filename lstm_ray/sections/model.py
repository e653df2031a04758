"""The section of the network."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from lstm_ray.sections.base import Fraction, Section


class ModelConfig(Section):
    """The network."""

    hidden: int = Field(default=128, gt=0, description="width of the LSTM state")
    layers: int = Field(default=1, gt=0, description="LSTM layers")
    members: int | None = Field(
        default=None,
        gt=0,
        description="networks of each kind, trained side by side and averaged; none: 1 to forecast, 3 to classify or label",
    )
    dropout: float = Field(default=0.5, ge=0, lt=1, description="share of LSTM outputs dropped in training")
    bidirectional: bool = Field(
        default=False,
        description="read the window both ways (task: classify); a step's label (task: label) is then told from steps after it "
        "too, as far as its sequence reaches, and from those before and at it alone if false",
    )
    residual: bool = Field(default=False, description="each layer after the first adds to its input")
    attention: bool = Field(default=False, description="causal self-attention over the LSTM's outputs")
    layer_norm: bool = Field(default=False, description="normalise each layer's outputs over their width")
    forget_bias: float = Field(default=1.0, description="bias the forget gates start from; 1 remembers by default")
    recurrent_init: Literal["orthogonal", "uniform"] = Field(
        default="orthogonal", description="how recurrent weights start"
    )
    channels: Literal["shared", "joint"] = Field(
        default="shared", description="'shared': each target is read alone by the same weights; 'joint': all at once"
    )
    normalisation: Literal["auto", "none", "last", "mean", "mean_deviation"] = Field(
        default="auto",
        description="level (and scale) taken out at each origin, from the steps before it alone; 'auto': two networks, one by "
        "mean_deviation, one by the mean of half the history and without a linear map; both answer, unless one alone is "
        "clearly better on validation",
    )
    normalisation_steps: int | None = Field(
        default=None, gt=0, description="trailing steps the level is measured over; none: the history"
    )
    difference: int | None = Field(
        default=None,
        gt=0,
        description="the network reads and forecasts changes against so many steps before (1, or a season; less than the "
        "history), which are added up again exactly; normalisation then takes out no level, mean_deviation scales by the "
        "changes' own size, and a linear map stays one of values; none: values themselves (task: forecast)",
    )
    quantiles: list[Fraction] = Field(default=[], description="quantiles forecast beside the median, ascending")
    distribution: Literal["gaussian", "student_t", "negative_binomial"] | None = Field(
        default=None, description="learn the parameters of a distribution by likelihood; quantiles are read from it"
    )
    output: Literal["identity", "relu", "softplus", "sigmoid", "tanh"] = Field(
        default="identity",
        description="bound of the forecast in the target's own units: relu and softplus above 0, sigmoid 0 to 1, tanh -1 to 1",
    )
    linear: Literal["none", "trained", "residual", "average"] = Field(
        default="average",
        description="what is solved beside the LSTM; to forecast, a linear map from the whole history: a ridge in closed form, "
        "fixed ('residual': the LSTM learns what it misses), or 'trained' further; 'average': trained, and the plain ridge on "
        "the history less its last value is averaged in as a forecaster of its own, unless validation is clearly better "
        "without; to classify, 'average' or 'none': a ridge on what fixed convolutions count (MiniRocket)",
    )
    pooling: Literal["last", "mean", "max", "attention"] = Field(
        default="max", description="sequence summary (task: classify)"
    )

    @model_validator(mode="after")
    def _quantiles_ascend_through_the_median(self) -> ModelConfig:
        if self.quantiles and (0.5 not in self.quantiles or sorted(set(self.quantiles)) != self.quantiles):
            raise ValueError(f"quantiles must ascend and hold 0.5, found {self.quantiles}; such as [0.1, 0.5, 0.9]")
        return self

    @model_validator(mode="after")
    def _a_distribution_keeps_its_own_bounds(self) -> ModelConfig:
        if self.distribution and self.output != "identity":
            raise ValueError(
                f"output is {self.output}, but distribution {self.distribution} says itself where values lie; remove one "
                "of them (negative_binomial forecasts counts from 0 on)"
            )
        return self
