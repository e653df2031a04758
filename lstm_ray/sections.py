"""The sections of the YAML, one frozen model per stage. Each refuses what contradicts itself; opens no data."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Fraction = Annotated[float, Field(gt=0, lt=1)]
RESERVED = ("series", "time", "segment", "step")
"""Columns that segments have of their own, beside those of the table."""


class Section(BaseModel):
    """A part of the YAML: unknown keys are refused and values never change after loading."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class DataConfig(Section):
    """Where the table is and what its columns mean."""

    source: str | list[str] = Field(
        description="CSV, Parquet or Arrow files: a path, a glob, a URI that pyarrow opens, or a list of these; "
        "or a built-in example, 'example:NAME'"
    )
    series_id: list[str] = Field(default=[], description="columns that together name a series; none: one series")
    time: str = Field(description="column of time stamps")
    target: list[str] = Field(default=[], description="numeric columns to forecast; each is a channel")
    past: list[str] = Field(default=[], description="numeric columns known up to the origin")
    known: list[str] = Field(default=[], description="numeric columns known ahead over the horizon (plans, prices)")
    static: list[str] = Field(default=[], description="numeric columns constant within a series")
    label: str | None = Field(default=None, description="class of a whole sequence, constant in it (task: classify)")
    frequency: str | None = Field(
        default=None, description="grid step such as 15m, 1h, 1d; none: the commonest difference between time stamps"
    )

    @model_validator(mode="after")
    def _each_column_has_one_role(self) -> DataConfig:
        seen: dict[str, str] = {}
        roles = {"series_id": self.series_id, "time": [self.time], "target": self.target, "past": self.past}
        roles |= {"known": self.known, "static": self.static, "label": [self.label] if self.label else []}
        for role, columns in roles.items():
            for column in columns:
                if column in seen:
                    raise ValueError(f"column '{column}' is both {seen[column]} and {role}; give it one role")
                seen[column] = role
        for column in (*self.numeric, *roles["label"]):
            if column in RESERVED:
                raise ValueError(f"column '{column}' has a name that segments use themselves; rename it in the source")
        if self.source == []:
            raise ValueError("source is empty, found []; name at least one file")
        return self

    @property
    def columns(self) -> list[str]:
        """Every column that a role names, in role order."""
        label = [self.label] if self.label else []
        return [*self.series_id, self.time, *self.target, *self.past, *self.known, *self.static, *label]

    @property
    def numeric(self) -> list[str]:
        """The columns that must hold numbers."""
        return [*self.target, *self.past, *self.known, *self.static]


class ExploreConfig(Section):
    """What exploration looks at."""

    max_rows: int = Field(default=200_000, gt=0, description="rows looked at; more are sampled by whole series")
    max_lag_steps: int = Field(default=168, gt=0, description="longest lag of the correlations, in steps")
    outlier_deviations: float = Field(default=4.0, gt=0, description="robust deviations that make an outlier")


class PreprocessConfig(Section):
    """From the raw table to segments on a regular grid."""

    impute: Literal["forward", "linear"] = Field(
        default="forward", description="how short gaps are filled; 'forward' never looks ahead, 'linear' does"
    )
    max_gap_steps: int = Field(default=24, ge=0, description="a longer run of missing hours or values cuts the series")
    outliers: Literal["keep", "clip"] = Field(
        default="keep", description="'clip' limits values to outlier_deviations around the training part's mean"
    )
    outlier_deviations: float = Field(default=6.0, gt=0, description="limit of outliers: clip, in deviations")
    calendar: list[Literal["hour", "weekday", "month"]] = Field(
        default=["hour", "weekday"], description="cycles added as sine and cosine, known ahead"
    )
    engine: Literal["ray", "polars"] = Field(
        default="ray", description="'ray' spreads series over the cluster with Ray Data; 'polars' stays in this process"
    )


class SplitConfig(Section):
    """Chronological parts. Fractions of the time axis, or counts of steps where the value is an integer."""

    train: int | Fraction = Field(default=0.7, gt=0, description="training part: fraction, or number of steps")
    validation: int | Fraction = Field(default=0.15, gt=0, description="validation part: fraction, or number of steps")
    test: int | Fraction | None = Field(default=None, gt=0, description="test part, as above; none: all that is left")
    gap_steps: int = Field(default=0, ge=0, description="steps left out between the parts")

    @model_validator(mode="after")
    def _parts_fit_and_agree(self) -> SplitConfig:
        parts = [part for part in (self.train, self.validation, self.test) if part is not None]
        if len({type(part) for part in parts}) > 1:
            raise ValueError(f"train, validation and test must be all fractions or all step counts, found {parts}")
        if isinstance(self.train, float):
            total = sum(parts)
            if total > 1 + 1e-9 or (self.test is None and total >= 1):
                raise ValueError(f"the parts add up to {total:g} of the data and leave nothing to test on; lower them")
        return self


class WindowConfig(Section):
    """The geometry of a window: how much is seen, how much is predicted."""

    history: int = Field(default=168, gt=0, description="steps the model sees")
    horizon: int = Field(default=24, gt=0, description="steps it must predict (task: forecast)")
    patch: int = Field(default=24, gt=0, description="steps that one LSTM step reads; 1 is the classic LSTM")
    season: int = Field(default=24, gt=0, description="steps of one season: the seasonal naive's lag and MASE's scale")

    @model_validator(mode="after")
    def _patch_divides_history(self) -> WindowConfig:
        if self.history % self.patch:
            nearby = max(self.patch, round(self.history / self.patch) * self.patch)
            raise ValueError(
                f"patch {self.patch} does not divide history {self.history}; set history to {nearby} or change patch"
            )
        return self


class ModelConfig(Section):
    """The network."""

    hidden: int = Field(default=128, gt=0, description="width of the LSTM state")
    layers: int = Field(default=1, gt=0, description="LSTM layers")
    dropout: float = Field(default=0.3, ge=0, lt=1, description="share of LSTM outputs dropped in training")
    bidirectional: bool = Field(default=False, description="read the window both ways (task: classify)")
    residual: bool = Field(default=False, description="each layer after the first adds to its input")
    attention: bool = Field(default=False, description="causal self-attention over the LSTM's outputs")
    normalisation: Literal["none", "last", "mean", "mean_deviation"] = Field(
        default="mean", description="level (and scale) taken out at each origin, from the steps before it alone"
    )
    normalisation_steps: int | None = Field(
        default=None, gt=0, description="trailing steps the level is measured over; none: the history"
    )
    quantiles: list[Fraction] = Field(default=[], description="quantiles forecast beside the median, ascending")
    pooling: Literal["last", "mean", "max"] = Field(default="mean", description="sequence summary (task: classify)")

    @model_validator(mode="after")
    def _quantiles_ascend_through_the_median(self) -> ModelConfig:
        if self.quantiles and (0.5 not in self.quantiles or sorted(set(self.quantiles)) != self.quantiles):
            raise ValueError(f"quantiles must ascend and hold 0.5, found {self.quantiles}; such as [0.1, 0.5, 0.9]")
        return self


class TrainConfig(Section):
    """How weights are found."""

    loss: Literal["mae", "mse", "cross_entropy"] | None = Field(
        default=None, description="none: mae to forecast (pinball where there are quantiles), cross_entropy to classify"
    )
    learning_rate: float = Field(default=2e-3, gt=0, description="peak of the one-cycle schedule")
    weight_decay: float = Field(default=1e-2, ge=0, description="AdamW's decoupled decay")
    clip_norm: float = Field(default=1.0, gt=0, description="largest norm of a gradient step")
    batch: int = Field(default=32, gt=0, description="sequences per optimiser step, over all workers together")
    origins: int = Field(default=24, gt=0, description="origins that teach in one sequence, a patch apart")
    max_epochs: int = Field(default=30, gt=0, description="passes over the training windows at most")
    patience: int = Field(default=8, gt=0, description="epochs without a better validation loss before stopping")
    workers: int = Field(default=0, ge=0, description="0: in this process; N: Ray Train with N processes (DDP)")
    threads: int = Field(default=1, gt=0, description="CPU threads of each training process")


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
