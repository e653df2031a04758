"""The sections of the data: where it is, how it is explored, put on a grid, split and windowed. Opens none of it."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Literal

from pydantic import Field, model_validator

from lstm_ray.sections.base import Fraction, Section

RESERVED = ("series", "time", "segment", "step")
"""Columns that segments have of their own, beside those of the table."""
OWN_TIME = "step"
"""The time column of sources that have none: wide tables and *.ts files."""


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
    label: str | None = Field(
        default=None,
        description="class of a whole sequence, constant in it (task: classify); or class or value of every step, empty where "
        "nobody told it (task: label)",
    )
    label_kind: Literal["auto", "class", "value"] = Field(
        default="auto",
        description="what a step's label is (task: label); 'auto': text, true and false, and at most 20 different whole "
        "numbers are classes, other numbers are values",
    )
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
        if self.label_kind != "auto" and not self.label:
            raise ValueError(
                f"label_kind is {self.label_kind}, but no column is named in label; name it or remove this"
            )
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
            if self.label_kind != "auto":
                raise ValueError(f"label_kind is {self.label_kind}, but the label of a .ts file is a class; remove it")
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
    horizon: int = Field(default=24, gt=0, description="steps it must predict (task: forecast; unused by others)")
    patch: int = Field(
        default=24,
        gt=0,
        description="steps that one LSTM step reads; 1 is the classic LSTM. With task: label it also answers for all of them, "
        "so a step's label may be told from up to patch - 1 steps after it; 1: from none",
    )
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
