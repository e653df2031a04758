"""The sections of the YAML, one frozen model per stage. Each refuses what contradicts itself; opens no data."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from lstm_ray.errors import nearest

Fraction = Annotated[float, Field(gt=0, lt=1)]
FORECAST_LOSSES, CLASS_LOSSES = ("mae", "mse", "huber"), ("cross_entropy", "focal")
OWN_LOSS = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
"""A loss of the user's: package.module:function."""
RESERVED = ("series", "time", "segment", "step")
"""Columns that segments have of their own, beside those of the table."""
OWN_TIME = "step"
"""The time column of sources that have none: wide tables and *.ts files."""


class Section(BaseModel):
    """A part of the YAML: unknown keys are refused and values never change after loading."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class DataConfig(Section):
    """Where the table is and what its columns mean."""

    source: str | list[str] = Field(
        description="CSV, Parquet or Arrow files: a path, a glob, a URI that pyarrow opens, a http(s) address, or a list of "
        "these; [TRAIN.ts, TEST.ts] with sequences to classify; or a built-in example, 'example:NAME'"
    )
    series_id: list[str] = Field(default=[], description="columns that together name a series; none: one series")
    layout: Literal["long", "wide"] = Field(
        default="long",
        description="'long': a row per series and time; 'wide': a row per series, its name first and then its values in "
        "order, the files of a list continuing one another (files of classified sequences, *.ts, say so themselves)",
    )
    time: str | None = Field(default=None, description="column of time stamps; none: the rows of a series are in order")
    target: list[str] = Field(default=[], description="numeric columns to forecast; each is a channel")
    past: list[str] = Field(default=[], description="numeric columns known up to the origin")
    known: list[str] = Field(default=[], description="numeric columns known ahead over the horizon (plans, prices)")
    static: list[str] = Field(default=[], description="numeric columns constant within a series")
    categorical: list[str] = Field(
        default=[], description="text columns constant within a series, each learned as an embedding"
    )
    label: str | None = Field(default=None, description="class of a whole sequence, constant in it (task: classify)")
    frequency: str | None = Field(
        default=None, description="grid step such as 15m, 1h, 1d; none: the commonest difference between time stamps"
    )

    @model_validator(mode="after")
    def _each_column_has_one_role(self) -> DataConfig:
        seen: dict[str, str] = {}
        roles = {"series_id": self.series_id, "time": [self.time] if self.time else [], "target": self.target}
        roles |= {"past": self.past, "known": self.known, "static": self.static, "categorical": self.categorical}
        roles |= {"label": [self.label] if self.label else []}
        for role, columns in roles.items():
            for column in columns:
                if column in seen:
                    raise ValueError(f"column '{column}' is both {seen[column]} and {role}; give it one role")
                seen[column] = role
        for column in (*self.numeric, *self.categorical, *roles["label"]):
            if column in RESERVED:
                raise ValueError(f"column '{column}' has a name that segments use themselves; rename it in the source")
        if self.source == []:
            raise ValueError("source is empty, found []; name at least one file")
        if self.frequency and not self.time:
            raise ValueError(f"frequency is {self.frequency}, but without data.time steps are counted; remove it")
        return self

    @model_validator(mode="after")
    def _the_source_can_fill_its_roles(self) -> DataConfig:
        if self.layout == "wide":
            others = [*self.past, *self.known, *self.static, *self.categorical, *([self.label] if self.label else [])]
            if others or len(self.target) > 1 or len(self.series_id) > 1 or self.time not in (None, OWN_TIME):
                found = others or [c for c in (*self.target[1:], *self.series_id[1:], self.time) if c]
                raise ValueError(
                    f"layout 'wide' holds a name and values in every row, nothing else, found a role for {found}; leave "
                    "series_id and time out and make up one name for the target"
                )
        is_ts = [_suffix(source) == ".ts" for source in self._sources]
        if any(is_ts):
            if not all(is_ts) or len(is_ts) > 2:
                raise ValueError(f"source {self._sources}: give one .ts file, or the training and then the test file")
            if self.layout == "wide" or self.target or self.known or self.static or self.categorical:
                raise ValueError("a .ts file has dimensions (data.past) and a label alone; leave the other roles out")
        return self

    @property
    def _sources(self) -> list[str]:
        return [self.source] if isinstance(self.source, str) else self.source

    @property
    def is_ts(self) -> bool:
        """The source is sequences to classify in *.ts files, which say themselves what they hold."""
        return any(_suffix(source) == ".ts" for source in self._sources)

    @property
    def has_own_test(self) -> bool:
        """The source tells which sequences are the test part: those of a second .ts file."""
        return self.is_ts and len(self._sources) == 2

    @property
    def awaits_roles(self) -> bool:
        """Roles left empty are filled in when the source is opened, which has not happened yet."""
        return (self.is_ts or self.layout == "wide") and self.time is None

    @property
    def columns(self) -> list[str]:
        """Every column that a role names, in role order."""
        time, label = ([name] if name else [] for name in (self.time, self.label))
        return [*self.series_id, *time, *self.numeric, *self.categorical, *label]

    @property
    def numeric(self) -> list[str]:
        """The columns that must hold numbers."""
        return [*self.target, *self.past, *self.known, *self.static]


def _suffix(source: str) -> str:
    """How a path or address ends, without a query; lower case."""
    return PurePosixPath(source.partition("?")[0] if "://" in source else source).suffix.lower()


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
    transform: Literal["auto", "none", "log"] = Field(
        default="auto",
        description="'log': targets, 0 and above, are learned as logarithms; 'auto': so where all are above 0 and the series' "
        "sizes differ tenfold or more",
    )
    calendar: list[Literal["hour", "weekday", "month"]] = Field(
        default=["hour", "weekday"], description="cycles added as sine and cosine, known ahead"
    )
    engine: Literal["ray", "polars"] = Field(
        default="ray", description="'ray' spreads series over the cluster with Ray Data; 'polars' stays in this process"
    )


class SplitConfig(Section):
    """Chronological parts. Fractions of the time axis, or counts of steps where the value is an integer.

    Where the source has a test file of its own, train and validation share the training file, in their proportion.
    """

    train: int | Fraction | None = Field(
        default=0.7, gt=0, description="training part: fraction, or number of steps; none: all that the others leave"
    )
    validation: int | Fraction = Field(default=0.15, gt=0, description="validation part: fraction, or number of steps")
    test: int | Fraction | None = Field(default=None, gt=0, description="test part, as above; none: all that is left")
    gap_steps: int = Field(default=0, ge=0, description="steps left out between the parts")

    @model_validator(mode="after")
    def _parts_fit_and_agree(self) -> SplitConfig:
        parts = [part for part in (self.train, self.validation, self.test) if part is not None]
        if len({type(part) for part in parts}) > 1:
            raise ValueError(f"train, validation and test must be all fractions or all step counts, found {parts}")
        if self.train is None and self.test is None:
            raise ValueError("train and test are both none, so nothing says where to cut; give one of them")
        if isinstance(self.validation, float):
            total = sum(parts)
            if total > 1 + 1e-9:
                raise ValueError(f"the parts add up to {total:g} of the data; lower them")
        return self


class WindowConfig(Section):
    """The geometry of a window: how much is seen, how much is predicted."""

    history: int = Field(default=168, gt=0, description="steps the model sees")
    horizon: int = Field(default=24, gt=0, description="steps it must predict (task: forecast)")
    patch: int = Field(default=24, gt=0, description="steps that one LSTM step reads; 1 is the classic LSTM")
    stride: int = Field(
        default=1, gt=0, description="steps between the windows that teach; history + horizon: none overlap"
    )
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
    members: int | None = Field(
        default=None,
        gt=0,
        description="networks of each kind, trained side by side and averaged; none: 1 to forecast, 3 to classify",
    )
    dropout: float = Field(default=0.5, ge=0, lt=1, description="share of LSTM outputs dropped in training")
    bidirectional: bool = Field(default=False, description="read the window both ways (task: classify)")
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
        "mean_deviation, one by the mean of half the history and without a linear map, and validation says who answers",
    )
    normalisation_steps: int | None = Field(
        default=None, gt=0, description="trailing steps the level is measured over; none: the history"
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
        description="linear map from the whole history, past the LSTM: a ridge in closed form, fixed ('residual': the LSTM "
        "learns what it misses), or 'trained' further; 'average': trained, and half the forecast is the ridge's where "
        "validation prefers that",
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


class AugmentConfig(Section):
    """Random changes to training sequences as they are read; each is off at 0."""

    jitter: float = Field(default=0.0, ge=0, description="deviation of noise added to inputs, in training deviations")
    scaling: float = Field(default=0.0, ge=0, description="deviation of the factor each sequence is multiplied by")
    magnitude_warp: float = Field(
        default=0.0, ge=0, description="deviation of a smooth curve that multiplies a sequence"
    )
    time_warp: float = Field(default=0.0, ge=0, lt=1, description="deviation of the speed at which a sequence runs")
    window_slice: float = Field(
        default=0.0, ge=0, lt=1, description="largest share cut off before stretching to length"
    )
    masking: float = Field(default=0.0, ge=0, lt=1, description="share of history steps hidden, in runs")
    mixup: float = Field(default=0.0, ge=0, description="alpha of the Beta distribution that mixes pairs of sequences")


class TrainConfig(Section):
    """How weights are found."""

    loss: str | None = Field(
        default=None,
        description="mae, mse, huber; cross_entropy, focal; or your own package.module:function. none: mae to forecast "
        "(pinball with quantiles, likelihood with a distribution), cross_entropy to classify",
    )
    huber_delta: float = Field(default=1.0, gt=0, description="error, in training deviations, where huber turns linear")
    focal_gamma: float = Field(default=2.0, ge=0, description="how much focal discounts what is already right")
    class_weights: Literal["none", "balanced"] | dict[str, float] = Field(
        default="none", description="weight of each class in the loss; 'balanced': by how rare it is in training"
    )
    optimiser: Literal["adamw", "adam", "sgd"] = Field(default="adamw", description="sgd has Nesterov momentum 0.9")
    schedule: Literal["one_cycle", "cosine", "plateau", "constant"] = Field(
        default="one_cycle", description="learning rate over training; 'plateau' halves it when validation stalls"
    )
    learning_rate: float = Field(default=4e-3, gt=0, description="peak of the schedule")
    weight_decay: float = Field(default=1e-2, ge=0, description="decoupled with adamw, an L2 penalty with adam and sgd")
    clip_norm: float = Field(default=1.0, gt=0, description="largest norm of a gradient step")
    batch: int = Field(default=32, gt=0, description="sequences per optimiser step, over all workers together")
    accumulate: int = Field(default=1, gt=0, description="parts a batch is read in, one after another, to save memory")
    weight_averaging: float | None = Field(
        default=0.99,
        gt=0,
        lt=1,
        description="decay of the moving average of weights that is kept; none: the weights as is",
    )
    origins: int = Field(
        default=24, gt=0, description="origins that teach in one sequence, a patch apart; 1: a window at a time"
    )
    truncate_steps: int | None = Field(
        default=None,
        gt=0,
        description="steps that gradients flow back through (truncated BPTT); none: the whole sequence",
    )
    max_epochs: int | None = Field(
        default=None,
        gt=0,
        description="passes over the training windows at most; none: 6 to 24, more where these are few",
    )
    patience: int | None = Field(
        default=None,
        gt=0,
        description="epochs without a better validation loss before stopping; none: 8, or a third of many",
    )
    min_improvement: float = Field(
        default=0.0, ge=0, lt=1, description="share by which validation loss must fall to count as better"
    )
    augment: AugmentConfig = AugmentConfig()
    workers: int | tuple[int, int] = Field(
        default=0,
        description="0: in this process; N: Ray Train with N processes (DDP); [min, max]: as many as there are",
    )
    threads: int = Field(default=1, gt=0, description="CPU threads of each training process")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        default="auto", description="auto: bfloat16 autocast on a GPU, float32 on a CPU"
    )
    read: Literal["auto", "memory", "stream"] = Field(
        default="auto", description="'memory': segments stay in each worker; 'stream': batches come from Ray Data tasks"
    )

    @model_validator(mode="after")
    def _loss_is_one(self) -> TrainConfig:
        known = (*FORECAST_LOSSES, *CLASS_LOSSES)
        if self.loss is not None and self.loss not in known and not OWN_LOSS.fullmatch(self.loss):
            raise ValueError(
                f"loss '{self.loss}' is neither known nor a package.module:function{nearest(self.loss, known)}"
            )
        if isinstance(self.class_weights, dict) and (wrong := [w for w in self.class_weights.values() if w <= 0]):
            raise ValueError(f"class_weights must be above 0, found {wrong[0]:g}; leave a class out to weigh it 1")
        return self

    @model_validator(mode="after")
    def _parts_of_a_batch_hold_sequences(self) -> TrainConfig:
        if self.accumulate > self.batch:
            raise ValueError(
                f"accumulate {self.accumulate} exceeds batch {self.batch}, so a part would hold no sequence; lower it"
            )
        return self

    @model_validator(mode="after")
    def _workers_are_a_count_or_a_range(self) -> TrainConfig:
        low, high = self.workers if isinstance(self.workers, tuple) else (self.workers, self.workers)
        if low < 0 or (isinstance(self.workers, tuple) and not 1 <= low <= high):
            raise ValueError(f"workers must be 0 or more, or [min, max] with 1 <= min <= max, found {self.workers}")
        return self


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
