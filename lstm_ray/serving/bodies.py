"""What HTTP requests and answers look like, and their way to and from a policy's own types. Knows no server.

Legend: T steps, H horizon, C targets, Q quantiles.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from lstm_ray.data.schema import Schema
from lstm_ray.errors import InputError
from lstm_ray.model import levels
from lstm_ray.model.example import example
from lstm_ray.model.policy import Classification, Forecast, Labelling, Policy, SeriesInput
from lstm_ray.sections.base import Fraction
from lstm_ray.serving.explained import ASK, Explanation
from lstm_ray.serving.service import median

MAX_SERIES = 10_000
"""Of one request."""
MAX_STEPS = 100_000
"""Of one series."""
MAX_KEPT = 1_000
"""Times whose words are kept for the next answer."""
MAX_LEVELS = 99
"""Quantiles asked for at a time."""

FALLBACK = (
    "null: the policy's own answer. Else what is told in its place, which was not finite: seasonal naive, last value, training "
    "shares or training mean"
)
Name = Annotated[str, Field(max_length=200)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Values = Annotated[list[Number | None], Field(max_length=MAX_STEPS)]
"""null is a missing value; NaN and Infinity are no JSON and are refused."""
Time = Annotated[str, Field(max_length=40)]
Tick = Annotated[int, Field(ge=-(2**63), lt=2**63)]
Times = Annotated[list[Time], Field(max_length=MAX_STEPS)] | Annotated[list[Tick], Field(max_length=MAX_STEPS)]
TIMES_WORDS = "ISO 8601 (UTC where no offset is named), or whole numbers: one step apart, oldest first"


class Body(BaseModel):
    """Unknown fields are refused, and a number must be a number."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Record(BaseModel):
    """One step: its time, and the value of each input there under the input's name; null, or left out: missing."""

    model_config = ConfigDict(extra="allow", strict=True)
    __pydantic_extra__: dict[str, Number | None]

    time: Time | Tick


class FutureRecord(Record):
    """One step of the horizon; its time may be left out."""

    time: Time | Tick | None = None  # type: ignore[assignment]


class Series(Body):
    """One series as it is known now, in the data's own units: times and columns, or the same as records."""

    name: Name = Field(default="", description="named series are scored once POST /v1/observations brings the truth")
    times: Times | None = Field(default=None, description=TIMES_WORDS)
    columns: dict[Name, Values] | None = Field(
        default=None, description="every input of the policy at each of the times, oldest first; null where missing"
    )
    future: dict[Name, Values] = Field(
        default_factory=dict, description="known inputs over the horizon, where there are any"
    )
    records: list[Record] | None = Field(
        default=None, max_length=MAX_STEPS, description="instead of times and columns: one object for each step"
    )
    future_records: list[FutureRecord] | None = Field(
        default=None, max_length=MAX_STEPS, description="instead of future: one object for each step of the horizon"
    )
    static: dict[Name, Name] = Field(
        default_factory=dict, description="the word in each categorical column, where there are any"
    )

    @model_validator(mode="after")
    def _is_told_once(self) -> Series:
        if self.records is not None and (self.times is not None or self.columns is not None):
            raise ValueError("both records and times or columns were sent; send one of them")
        if self.records is None and (self.times is None or self.columns is None):
            raise ValueError("send 'times' and 'columns', or 'records'")
        if self.future and self.future_records is not None:
            raise ValueError("both future and future_records were sent; send one of them")
        return self


class ForecastRequest(Body):
    series: list[Series] = Field(min_length=1, max_length=MAX_SERIES)
    quantiles: Annotated[list[Annotated[Fraction, Field(strict=True)]], Field(max_length=MAX_LEVELS)] | None = Field(
        default=None,
        description="levels to return, any from the policy's lowest to its highest: exact where it learned a distribution, "
        "else between its own on straight lines over their normal scores; none: the policy's own",
    )
    explain: bool = ASK


class ClassifyRequest(Body):
    series: list[Series] = Field(min_length=1, max_length=MAX_SERIES)
    explain: bool = ASK


class LabelRequest(Body):
    series: list[Series] = Field(
        min_length=1, max_length=MAX_SERIES, description="every step that is sent gets a label"
    )
    explain: bool = ASK


class TargetAnswer(BaseModel):
    mean: list[float] = Field(
        description="of the distribution that the policy learned; where it learned quantiles, the integral of the quantile "
        "function through them, straight lines over normal scores; of a point forecast that itself"
    )
    median: list[float]
    quantiles: dict[str, list[float]] = Field(default={}, description="by level")


class SeriesAnswer(BaseModel):
    name: str
    times: list[str] | list[int]
    targets: dict[str, TargetAnswer]
    warnings: list[str]
    fallback: str | None = Field(default=None, description=FALLBACK)
    explanation: Explanation | None = Field(default=None, description="where the request asks for one: explain")


class ClassAnswer(BaseModel):
    name: str
    label: str = Field(description="the most probable class")
    probabilities: dict[str, float]
    warnings: list[str]
    fallback: str | None = Field(default=None, description=FALLBACK)
    explanation: Explanation | None = Field(default=None, description="where the request asks for one: explain")


class StepsAnswer(BaseModel):
    name: str
    times: list[str] | list[int]
    labels: list[str] | list[float] = Field(description="of each step, its most probable class, or its value")
    probabilities: dict[str, list[float]] = Field(default={}, description="of each class at each step")
    warnings: list[str]
    fallback: str | None = Field(default=None, description=FALLBACK)
    explanation: Explanation | None = Field(default=None, description="where the request asks for one: explain")


class ForecastAnswer(BaseModel):
    policy: str = Field(description="version of the policy that answered")
    forecasts: list[SeriesAnswer]


class ClassifyAnswer(BaseModel):
    policy: str
    classifications: list[ClassAnswer]


class LabelAnswer(BaseModel):
    policy: str
    labellings: list[StepsAnswer]


class Readiness(BaseModel):
    status: str
    policy: str
    warning: str | None = Field(
        default=None, description="what is lost while predictions go on; left out where nothing is"
    )


class RefusedItem(BaseModel):
    loc: list[str | int] = Field(
        description="where the fault is, from 'body', 'header', 'path' or 'method' down; or empty"
    )
    msg: str = Field(description="what is wrong, and what to do")


class Refused(BaseModel):
    detail: list[RefusedItem]


def to_inputs(series: Sequence[Series], schema: Schema | None = None) -> list[SeriesInput]:
    """A request's series as the policy takes them.

    Raises InputError where the times of ``future_records`` do not follow the last one before them; without a schema they
    cannot be told.
    """
    return [_to_input(one, schema, f"series '{one.name or index}'") for index, one in enumerate(series)]


def _to_input(series: Series, schema: Schema | None, where: str) -> SeriesInput:
    times, columns, future = series.times, series.columns, series.future
    if series.records is not None:
        times = [record.time for record in series.records]  # type: ignore[assignment]
        columns = _columns(series.records)
    assert times is not None, "one of both is sent"
    assert columns is not None, "one of both is sent"
    if series.future_records is not None:
        future = _columns(series.future_records)
        _require_following(series.future_records, times, schema, where)
    return SeriesInput(times, _arrays(columns), _arrays(future), series.name, series.static)


def _columns(records: Sequence[Record]) -> dict[str, list[float | None]]:
    """What a record leaves out is missing there."""
    rows: list[dict[str, float | None]] = [record.__pydantic_extra__ for record in records]
    return {name: [row.get(name) for row in rows] for name in dict.fromkeys(name for row in rows for name in row)}


def _require_following(
    records: Sequence[FutureRecord], times: Sequence[str] | Sequence[int], schema: Schema | None, where: str
) -> None:
    told = [record.time for record in records]
    if schema is None or not times or all(time is None for time in told):
        return
    if None in told:
        raise InputError(f"{where}, future_records: some have a time and some have none; give one to each, or to none")
    found = ticks([*times[-1:], *told], schema, f"{where}, future_records")
    wanted = found[0] + schema.step * np.arange(1, len(found))
    if (wrong := np.flatnonzero(found[1:] != wanted)).size:
        following = time_words(schema.of_ticks(wanted[wrong[:1]]), schema)[0]
        raise InputError(
            f"{where}, future_records: '{told[wrong[0]]}' is given where the step of '{following}' belongs; send the steps "
            "after the last one measured, in order"
        )


def names(series: Sequence[Series]) -> list[str]:
    """What the answer calls them: unnamed ones by their number."""
    return [s.name or str(i) for i, s in enumerate(series)]


def chosen_quantiles(asked: Sequence[float] | None, policy: Policy) -> list[float]:
    """Levels to return. Raises InputError for one outside those that the policy forecasts."""
    own = policy.quantiles
    if asked is None:
        return own if len(own) > 1 else []
    levels.require_between(asked, own)
    return list(asked)


def forecast_answer(name: str, forecast: Forecast, policy: Policy, quantiles: Sequence[float]) -> SeriesAnswer:
    """One series' forecast as JSON holds it, with the quantiles of these levels."""
    own, values_HCQ, median_HC = policy.quantiles, forecast.values_HCQ, median(forecast, policy)
    mean_HC = levels.mean(values_HCQ, own) if forecast.mean_HC is None else forecast.mean_HC
    targets = {}
    for c, target in enumerate(policy.schema.target):
        named = {f"{level:.10g}": _at(forecast, level, own)[:, c].tolist() for level in quantiles}
        targets[target] = TargetAnswer(mean=mean_HC[:, c].tolist(), median=median_HC[:, c].tolist(), quantiles=named)
    return SeriesAnswer(
        name=name,
        times=time_words(forecast.times, policy.schema),
        targets=targets,
        warnings=forecast.warnings,
        fallback=forecast.fallback,
    )


def _at(forecast: Forecast, level: float, own: Sequence[float]) -> NDArray:
    """[H, C]"""
    if level in own:
        found: NDArray = forecast.values_HCQ[..., own.index(level)]
        return found
    if level in forecast.more:
        return forecast.more[level]
    return levels.between(forecast.values_HCQ, own, [level])[..., 0]


def class_answer(name: str, found: Classification, policy: Policy) -> ClassAnswer:
    """One sequence's classification as JSON holds it."""
    classes = policy.schema.classes
    return ClassAnswer(
        name=name,
        label=classes[int(found.probabilities.argmax())],
        probabilities=dict(zip(classes, found.probabilities.tolist(), strict=True)),
        warnings=found.warnings,
        fallback=found.fallback,
    )


def steps_answer(name: str, found: Labelling, policy: Policy) -> StepsAnswer:
    """One series' labels as JSON holds them."""
    classes, answer_LA = policy.schema.classes, found.answer_LA
    labels: list[Any] = [classes[k] for k in answer_LA.argmax(axis=1)] if classes else answer_LA[:, 0].tolist()
    probabilities = dict(zip(classes, answer_LA.T.tolist(), strict=True)) if classes else {}
    times = time_words(found.times, policy.schema)
    return StepsAnswer(
        name=name,
        times=times,
        labels=labels,
        probabilities=probabilities,
        warnings=found.warnings,
        fallback=found.fallback,
    )


def time_words(times: NDArray, schema: Schema) -> list[Any]:
    """ISO 8601 in UTC (on the data's own clock without a zone), or the integers."""
    if times.dtype.kind != "M":
        return list(times.tolist())
    zone = "" if schema.on_own_clock else "Z"
    if len(times) > MAX_KEPT:
        return _written(times, zone)
    return list(_kept_words(times.astype("datetime64[us]").tobytes(), zone))


@lru_cache(maxsize=64)
def _kept_words(times: bytes, zone: str) -> list[str]:
    """Series that are asked about together end together, mostly."""
    return _written(np.frombuffer(times, "datetime64[us]"), zone)


def _written(times: NDArray, zone: str) -> list[str]:
    whole = bool((times == times.astype("datetime64[s]")).all())
    return [f"{text}{zone}" for text in np.datetime_as_string(times, unit="s" if whole else "us")]


def ticks(times: Sequence[str] | Sequence[int], schema: Schema, where: str) -> NDArray:
    """Times as int64 ticks. Raises InputError where one is none, or they do not ascend."""
    try:
        if schema.has_dates:
            stamps = [datetime.fromisoformat(str(time)) for time in times]
            moved = [s.astimezone(UTC) if s.tzinfo and not schema.on_own_clock else s for s in stamps]
            found = schema.ticks(np.asarray([s.replace(tzinfo=None) for s in moved], dtype="datetime64[us]"))
        else:
            found = np.asarray(times, dtype=np.int64)
    except (ValueError, TypeError, OverflowError) as error:
        raise InputError(f"{where}, times: {error}; send ISO 8601 in UTC, or whole numbers") from None
    if (np.diff(found) <= 0).any():
        raise InputError(f"{where}, times do not ascend; send each time once, oldest first")
    return found


def example_request(policy: Policy) -> dict[str, Any]:
    """The body of a request for the policy's example series."""
    item = example(policy)
    plain = {
        part: {name: np.asarray(values).tolist() for name, values in columns.items()}
        for part, columns in (("columns", item.columns), ("future", item.future))
    }
    series: dict[str, Any] = {"name": item.name, "times": time_words(np.asarray(item.times), policy.schema), **plain}
    if item.static:
        series["static"] = dict(item.static)
    return {"series": [{key: value for key, value in series.items() if value}]}


def _arrays(columns: dict[str, Values]) -> dict[str, NDArray]:
    """null becomes NaN."""
    return {name: np.asarray(values, dtype=np.float64) for name, values in columns.items()}
