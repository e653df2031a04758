"""What HTTP requests and answers look like, and their way to and from a policy's own types. Knows no server.

Legend: T steps, H horizon, C targets, Q quantiles.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from lstm_ray.data.schema import Schema
from lstm_ray.errors import InputError, nearest
from lstm_ray.model.example import example
from lstm_ray.model.policy import Classification, Forecast, Labelling, Policy, SeriesInput
from lstm_ray.sections.scenario import ChangeConfig, ScenarioConfig
from lstm_ray.serving.service import median

MAX_SCENARIOS = 16
"""What-ifs in one request: each costs a prediction of every series."""

MAX_CHANGES = 16
"""Changes made together with a scenario's first."""

Name = Annotated[str, Field(max_length=200)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Values = list[Number | None]
"""null is a missing value; NaN and Infinity are no JSON and are refused."""
Times = Annotated[list[str] | list[int], Field(description="ISO 8601 in UTC, or whole numbers, one step apart")]


class Body(BaseModel):
    """Unknown fields are refused, and a number must be a number."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Series(Body):
    """One series as it is known now, in the data's own units."""

    name: Name = Field(default="", description="named series are scored once POST /v1/observations brings the truth")
    times: Times
    columns: dict[Name, Values] = Field(description="every input of the policy at each of the times, oldest first")
    future: dict[Name, Values] = Field(default={}, description="known inputs over the horizon, where there are any")
    static: dict[Name, Name] = Field(default={}, description="the word in each categorical column, where there are any")


class ForecastRequest(Body):
    series: list[Series] = Field(min_length=1)
    quantiles: list[Number] | None = Field(default=None, description="those of the policy's to return; none: all")


class ClassifyRequest(Body):
    series: list[Series] = Field(min_length=1)


class LabelRequest(Body):
    series: list[Series] = Field(min_length=1, description="every step that is sent gets a label")


class Change(ChangeConfig):
    """A change to an input, made together with others."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)


class Scenario(ScenarioConfig):
    """A change to an input, and others with it, as in the YAML's plan.scenarios; steps are counted from the last one sent."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)

    also: list[Change] = Field(default=[], max_length=MAX_CHANGES, description="changes made together with the first")


class WhatIfForecast(ForecastRequest):
    scenarios: list[Scenario] = Field(min_length=1, max_length=MAX_SCENARIOS)


class WhatIfClassify(ClassifyRequest):
    scenarios: list[Scenario] = Field(min_length=1, max_length=MAX_SCENARIOS)


class WhatIfLabel(LabelRequest):
    scenarios: list[Scenario] = Field(min_length=1, max_length=MAX_SCENARIOS)


class ObservedSeries(Body):
    name: Name = Field(min_length=1, description="as the requests named it")
    times: Times
    columns: dict[Name, Values] = Field(description="measured targets")


class ObservedClass(Body):
    name: Name = Field(min_length=1, description="as the requests named it")
    label: str = Field(description="the true class")


class ObservedSteps(Body):
    name: Name = Field(min_length=1, description="as the requests named it")
    times: Times
    labels: list[Name | None] | list[Number | None] = Field(description="the true class or value of each step")


class Observations(Body):
    series: list[ObservedSeries] = Field(min_length=1)


class ObservedClasses(Body):
    series: list[ObservedClass] = Field(min_length=1)


class ObservedLabels(Body):
    series: list[ObservedSteps] = Field(min_length=1)


class TargetAnswer(BaseModel):
    median: list[float]
    quantiles: dict[str, list[float]] = {}


class SeriesAnswer(BaseModel):
    name: str
    times: list[str] | list[int]
    targets: dict[str, TargetAnswer]
    warnings: list[str]


class ClassAnswer(BaseModel):
    name: str
    label: str = Field(description="the most probable class")
    probabilities: dict[str, float]
    warnings: list[str]


class StepsAnswer(BaseModel):
    name: str
    times: list[str] | list[int]
    labels: list[str] | list[float] = Field(description="of each step, its most probable class, or its value")
    probabilities: dict[str, list[float]] = Field(default={}, description="of each class at each step")
    warnings: list[str]


class ForecastAnswer(BaseModel):
    policy: str = Field(description="version of the policy that answered")
    forecasts: list[SeriesAnswer]


class ClassifyAnswer(BaseModel):
    policy: str
    classifications: list[ClassAnswer]


class LabelAnswer(BaseModel):
    policy: str
    labellings: list[StepsAnswer]


class ScenarioForecast(BaseModel):
    name: str
    forecasts: list[SeriesAnswer]
    difference: list[dict[str, list[float]]] = Field(description="scenario minus base: each series' median by target")


class ScenarioClassification(BaseModel):
    name: str
    classifications: list[ClassAnswer]
    difference: list[dict[str, float]] = Field(description="scenario minus base: each series' probability by class")


class ScenarioLabelling(BaseModel):
    name: str
    labellings: list[StepsAnswer]
    difference: list[dict[str, list[float]]] = Field(
        description="scenario minus base: each series' probabilities by class, or its values under the label's name"
    )


class WhatIfForecastAnswer(BaseModel):
    policy: str
    base: list[SeriesAnswer]
    scenarios: list[ScenarioForecast]


class WhatIfClassifyAnswer(BaseModel):
    policy: str
    base: list[ClassAnswer]
    scenarios: list[ScenarioClassification]


class WhatIfLabelAnswer(BaseModel):
    policy: str
    base: list[StepsAnswer]
    scenarios: list[ScenarioLabelling]


class ObservationsAnswer(BaseModel):
    scored: int = Field(description="predicted values that the observations were held against")


class RefusedItem(BaseModel):
    loc: list[str | int]
    msg: str


class Refused(BaseModel):
    detail: list[RefusedItem]


def to_inputs(series: Sequence[Series]) -> list[SeriesInput]:
    """A request's series as the policy takes them."""
    return [SeriesInput(s.times, _arrays(s.columns), _arrays(s.future), s.name, s.static) for s in series]


def names(series: Sequence[Series]) -> list[str]:
    """What the answer calls them: unnamed ones by their number."""
    return [s.name or str(i) for i, s in enumerate(series)]


def chosen_quantiles(asked: Sequence[float] | None, policy: Policy) -> list[int]:
    """Positions of the quantiles to return. Raises InputError for one that the policy does not forecast."""
    own = policy.quantiles
    for value in asked or ():
        if value not in own:
            raise InputError(f"quantile {value} is not forecast by this policy; ask for some of {own}")
    return [own.index(value) for value in (own if asked is None else asked)]


def forecast_answer(name: str, forecast: Forecast, policy: Policy, quantiles: Sequence[int]) -> SeriesAnswer:
    """One series' forecast as JSON holds it."""
    own, median_HC = policy.quantiles, median(forecast, policy)
    targets = {}
    for c, target in enumerate(policy.schema.target):
        named = {f"{own[q]:g}": forecast.values_HCQ[:, c, q].tolist() for q in quantiles} if len(own) > 1 else {}
        targets[target] = TargetAnswer(median=median_HC[:, c].tolist(), quantiles=named)
    return SeriesAnswer(
        name=name, times=time_words(forecast.times, policy.schema), targets=targets, warnings=forecast.warnings
    )


def class_answer(name: str, found: Classification, policy: Policy) -> ClassAnswer:
    """One sequence's classification as JSON holds it."""
    classes = policy.schema.classes
    return ClassAnswer(
        name=name,
        label=classes[int(found.probabilities.argmax())],
        probabilities=dict(zip(classes, found.probabilities.tolist(), strict=True)),
        warnings=found.warnings,
    )


def steps_answer(name: str, found: Labelling, policy: Policy) -> StepsAnswer:
    """One series' labels as JSON holds them."""
    classes, answer_LA = policy.schema.classes, found.answer_LA
    labels: list[Any] = [classes[k] for k in answer_LA.argmax(axis=1)] if classes else answer_LA[:, 0].tolist()
    probabilities = dict(zip(classes, answer_LA.T.tolist(), strict=True)) if classes else {}
    times = time_words(found.times, policy.schema)
    return StepsAnswer(name=name, times=times, labels=labels, probabilities=probabilities, warnings=found.warnings)


def label_difference(scenario: StepsAnswer, base: StepsAnswer, label: str) -> dict[str, list[float]]:
    """Scenario minus base, by class, or of the values."""
    pairs = {name: (values, base.probabilities[name]) for name, values in scenario.probabilities.items()}
    pairs = pairs or {label: (scenario.labels, base.labels)}  # type: ignore[dict-item]
    return {name: (np.asarray(a) - np.asarray(b)).tolist() for name, (a, b) in pairs.items()}


def median_difference(scenario: SeriesAnswer, base: SeriesAnswer) -> dict[str, list[float]]:
    """Scenario minus base, by target."""
    return {
        target: [a - b for a, b in zip(answer.median, base.targets[target].median, strict=True)]
        for target, answer in scenario.targets.items()
    }


def probability_difference(scenario: ClassAnswer, base: ClassAnswer) -> dict[str, float]:
    """Scenario minus base, by class."""
    return {name: value - base.probabilities[name] for name, value in scenario.probabilities.items()}


def time_words(times: NDArray, schema: Schema) -> list[Any]:
    """ISO 8601 in UTC (on the data's own clock without a zone), or the integers."""
    if times.dtype.kind != "M":
        return list(times.tolist())
    zone = "" if schema.on_own_clock else "Z"
    return [f"{text}{zone}" for text in np.datetime_as_string(times, unit="s" if _whole_seconds(times) else "us")]


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


def actual_values(item: ObservedSeries, schema: Schema) -> NDArray:
    """Measured targets, [T, C], NaN where not given. Raises InputError for other columns and wrong lengths."""
    if unknown := sorted(set(item.columns) - set(schema.target)):
        raise InputError(f"series '{item.name}': '{unknown[0]}' is no target; observe {', '.join(schema.target)}")
    actual_TC = np.full((len(item.times), len(schema.target)), np.nan)
    for name, values in item.columns.items():
        if len(values) != len(item.times):
            raise InputError(
                f"series '{item.name}': column '{name}' has {len(values)} values; send {len(item.times)}, one a step"
            )
        actual_TC[:, schema.target.index(name)] = np.asarray(values, dtype=np.float64)
    return actual_TC


def true_labels(item: ObservedSteps, schema: Schema) -> NDArray:
    """True classes by their index, or values, [T, 1], NaN where not given. Raises InputError for what is no class or number
    of the policy's, and for a wrong length."""
    where = f"series '{item.name}', labels"
    if len(item.labels) != len(item.times):
        raise InputError(
            f"{where}: {len(item.labels)} were sent; send {len(item.times)}, one a step, null where unknown"
        )
    found = np.full((len(item.labels), 1), np.nan)
    for t, label in enumerate(item.labels):
        if label is None:
            continue
        if not schema.classes and isinstance(label, str):
            raise InputError(f"{where}: '{label}' is no number; send the values of '{schema.label}'")
        if schema.classes and label not in schema.classes:
            raise InputError(f"{where}: '{label}' is no class{nearest(str(label), schema.classes)}")
        found[t, 0] = schema.classes.index(str(label)) if schema.classes else label
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


def _whole_seconds(times: NDArray) -> bool:
    return bool((times == times.astype("datetime64[s]")).all())
