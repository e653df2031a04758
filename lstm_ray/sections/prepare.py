"""The sections between a table and a network: explored, put on a grid, split and windowed."""

from __future__ import annotations

from datetime import date, datetime
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from lstm_ray.sections.base import Fraction, Section


def _as_written(value: Any) -> Any:
    """YAML reads a bare 2024-07-01 as a date and 100 as a number; both are kept as text."""
    if isinstance(value, date):
        return value.isoformat()
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Date = Annotated[str, BeforeValidator(_as_written)]
"""A time stamp or date (ISO 8601), or a whole number where time is one."""


class ExploreConfig(Section):
    """What exploration looks at."""

    max_rows: int = Field(default=200_000, gt=0, description="rows looked at; more are sampled by whole series")
    max_lag_steps: int = Field(default=168, gt=0, description="longest lag of the correlations, in steps")
    outlier_deviations: float = Field(default=4.0, gt=0, description="robust deviations that make an outlier")


class PreprocessConfig(Section):
    """From the raw table to segments on a regular grid."""

    impute: Literal["forward", "linear", "seasonal", "mean", "median", "zero", "constant"] = Field(
        default="forward",
        description="how short gaps are filled: the last value; a line between the neighbours; the value one window.season "
        "before; the series' mean or median; 0; or impute_value. What fills is marked, and the network sees the mark",
    )
    impute_value: float = Field(default=0.0, description="what impute: constant fills with, in the data's units")
    causal: bool = Field(
        default=True,
        description="filling looks at earlier steps alone (means and medians of what came before in the segment); false: means "
        "and medians of the series' training part (a served policy: of what is sent), 'linear' and 'seasonal' from what comes "
        "after too",
    )
    max_gap_steps: int = Field(default=24, ge=0, description="a longer run of missing hours or values cuts the series")
    outliers: Literal["keep", "clip", "mask"] = Field(
        default="keep",
        description="what the network reads in an outlier's place: 'clip' the nearest value within the limit, 'mask' a "
        "missing value, imputed and marked (known inputs, which are plans, are clipped); truth that is scored is never changed",
    )
    outlier_method: Literal["z", "iqr", "hampel"] = Field(
        default="z",
        description="how outliers are found: 'z' deviations around the training part's mean; 'iqr' quartile ranges beyond its "
        "quartiles; 'hampel' robust deviations around the median of the last outlier_steps steps, none where half of these are "
        "one value (Hampel 1974); known inputs have no such neighbours",
    )
    outlier_deviations: float = Field(
        default=6.0, gt=0, description="limit of outliers: in deviations, quartile ranges or robust deviations"
    )
    outlier_steps: int = Field(default=48, ge=5, description="steps that outlier_method: hampel looks back over")
    transform: Literal["auto", "none", "log", "log1p", "box_cox", "yeo_johnson"] = Field(
        default="auto",
        description="how targets are learned: 'log' as logarithms of value plus a small share of a typical one, 'log1p' of "
        "value plus 1, 'box_cox' (values above 0) and 'yeo_johnson' (of values in deviations) by powers from 0 to 2 "
        "fitted on the training part; inverted exactly; "
        "'auto': log where all are above 0 and the series' sizes differ tenfold or more (differences: model.difference)",
    )
    scale: Literal["standard", "robust", "minmax", "none"] = Field(
        default="standard",
        description="values are learned less their mean in deviations; less their median in (normal) quartile ranges; from 0 "
        "to 1 between the least and the greatest; or as they are. Statistics of the training part alone",
    )
    scale_by: Literal["column", "all", "series"] = Field(
        default="column",
        description="each column has its own statistics; one for all targets, one for all past and one for all known columns; "
        "or each series has its own for its targets (a series that training does not know: of the history that is sent; "
        "'auto' then takes no logarithms)",
    )
    calendar: list[Literal["hour", "weekday", "month"]] = Field(
        default=["hour", "weekday"], description="cycles added as sine and cosine, known ahead"
    )
    holidays: str | None = Field(
        default=None,
        description="country, or country and state, such as DE or US-NY: a known input is 1 on its public holidays (needs "
        "the extra 'holidays'; the policy carries the dates)",
    )
    engine: Literal["auto", "ray", "polars"] = Field(
        default="auto",
        description="'ray' spreads the table over the cluster with Ray Data; 'polars' prepares it whole in this process; "
        "'auto': by its size",
    )
    refit: bool = Field(
        default=True,
        description="files added to the source since the last run: true fits the scaler anew, false keeps it; either way "
        "only the new files are read",
    )

    @model_validator(mode="after")
    def _linear_looks_ahead(self) -> PreprocessConfig:
        if self.impute == "linear" and self.causal:
            raise ValueError(
                "impute 'linear' draws a line to the value after a gap, which causal: true forbids; set causal: false, or "
                "impute to forward"
            )
        return self

    @model_validator(mode="after")
    def _units_can_be_shared_as_asked(self) -> PreprocessConfig:
        if self.scale == "none" and self.scale_by != "column":
            raise ValueError(
                f"scale_by is {self.scale_by}, but scale none leaves values as they are; remove one of them"
            )
        if self.scale_by == "series" and self.transform in ("log", "box_cox", "yeo_johnson"):
            raise ValueError(
                f"transform is {self.transform}, which is fitted on all series together, and scale_by series needs each one's "
                "statistics of what it gives, from the same pass; use transform: log1p or none, or scale_by: column"
            )
        return self


class SplitConfig(Section):
    """Chronological parts: fractions of the time axis, counts of steps (integers), or dates. Whole series, where asked.

    Where the source has a test file of its own, train and validation share the training file, in their proportion.
    """

    train: int | Fraction | None = Field(
        default=0.7,
        gt=0,
        description="training part: fraction, or number of steps (by: order: of series); none: all that the others leave",
    )
    validation: int | Fraction = Field(default=0.15, gt=0, description="validation part: fraction, or number of steps")
    test: int | Fraction | None = Field(
        default=None, gt=0, description="test part, as above; what it leaves is unused; none: all that is left"
    )
    validation_from: Date | None = Field(
        default=None,
        description="first time of the validation part, such as 2024-07-01 (on the clock of data.time_zone; a whole number "
        "where time is one), in place of train, validation and test; needs test_from",
    )
    test_from: Date | None = Field(default=None, description="first time of the test part")
    until: Date | None = Field(
        default=None,
        description="time at which the last part ends; what comes after is left unused, and fractions are of what comes "
        "before; none: to the end",
    )
    gap_steps: int = Field(default=0, ge=0, description="steps left out between the parts")
    by: Literal["time", "order", "group"] = Field(
        default="time",
        description="'time': parts follow one another; 'order': the first series (sequences) train, the last test; 'group': "
        "series are dealt by a seeded hash of split.group, so that a group lies in one part",
    )
    group: str | None = Field(
        default=None,
        description="column, constant in a series, whose values are kept together (by: group); none: each series alone",
    )
    folds: int | None = Field(
        default=None,
        ge=2,
        description="rolling origins (by: time): the axis before the test part gives so many folds, each with validation, as "
        "long as split.validation, right after a training part that grows; their boundaries are written, and split.fold "
        "trains on one",
    )
    fold: int | None = Field(
        default=None, ge=0, description="which fold, from 0, gives the training and the validation part; none: the last"
    )

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

    @model_validator(mode="after")
    def _dates_stand_alone_and_in_order(self) -> SplitConfig:
        dates = {name: value for name in DATES if (value := getattr(self, name)) is not None}
        for name, value in dates.items():
            if not (value.removeprefix("-").isdigit() or _is_iso(value)):
                raise ValueError(f"{name} is '{value}', which is no time; write an ISO date such as 2024-07-01")
        if (self.validation_from is None) != (self.test_from is None):
            given, other = DATES[:2] if self.validation_from else (DATES[1], DATES[0])
            raise ValueError(f"{given} is {dates[given]}, but {other} is missing; dates cut the parts only together")
        if self.validation_from:
            for name in ("train", "validation", "test"):
                if (value := getattr(self, name)) != type(self).model_fields[name].default:
                    raise ValueError(
                        f"{name} is {value} and validation_from {self.validation_from}; cut by fractions, by counts or by "
                        "dates: remove one"
                    )
        for (one, early), (two, late) in pairwise(dates.items()):
            if not _is_before(early, late):
                raise ValueError(f"{one} {early} is not before {two} {late}; write times of one kind, in order")
        return self

    @model_validator(mode="after")
    def _series_are_dealt_by_fractions(self) -> SplitConfig:
        if self.by != "time":
            for name in (*DATES, "gap_steps", "folds", "fold"):
                if value := getattr(self, name):
                    raise ValueError(
                        f"{name} is {value}, but by: {self.by} deals whole series, at all times; remove it"
                    )
        if self.group and self.by != "group":
            raise ValueError(f"group is '{self.group}', but parts are cut by {self.by}; set by: group or remove it")
        if self.by == "group" and not isinstance(self.validation, float):
            raise ValueError(
                f"validation is {self.validation}, but by: group deals series by shares; give train, validation and test as "
                "fractions"
            )
        if self.fold is not None and self.fold >= (self.folds or 0):
            what = f"there are {self.folds}, numbered from 0" if self.folds else "folds is missing"
            raise ValueError(f"fold is {self.fold}, but {what}; set folds to at least {self.fold + 1}")
        return self


DATES = ("validation_from", "test_from", "until")


def _is_iso(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def _is_before(early: str, late: str) -> bool:
    """Whether two times are of one kind and in order; whether a stamp with a zone precedes one without is not known yet."""
    numbers = [text.removeprefix("-").isdigit() for text in (early, late)]
    if any(numbers):
        return all(numbers) and int(early) < int(late)
    first, second = datetime.fromisoformat(early), datetime.fromisoformat(late)
    return (first.tzinfo is None) != (second.tzinfo is None) or first < second


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
    season: int = Field(
        default=24,
        gt=0,
        description="steps of one season: the seasonal naive's lag, MASE's scale, and impute: seasonal",
    )
    lags: list[int] = Field(
        default=[],
        description="targets so many steps before, as known inputs beside the history, such as 168; each at least the horizon "
        "(nearer ones lie in the history)",
    )

    @model_validator(mode="after")
    def _patch_divides_history(self) -> WindowConfig:
        if self.history % self.patch:
            nearby = max(self.patch, round(self.history / self.patch) * self.patch)
            raise ValueError(
                f"patch {self.patch} does not divide history {self.history}; set history to {nearby} or change patch"
            )
        return self

    @model_validator(mode="after")
    def _lags_are_known_by_the_origin(self) -> WindowConfig:
        if near := [lag for lag in self.lags if lag < self.horizon]:
            raise ValueError(
                f"lags {near} are less than horizon {self.horizon}: a step of the horizon would read another one's future; "
                f"use lags of {self.horizon} or more (nearer values lie in the history)"
            )
        if len(set(self.lags)) < len(self.lags):
            raise ValueError(f"lags {self.lags} name one twice; leave it out")
        return self
