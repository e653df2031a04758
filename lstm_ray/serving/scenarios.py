"""What-if requests and answers, and how far a scenario lies from what was sent unchanged. Knows no server."""

from __future__ import annotations

from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from lstm_ray.data.schema import Schema
from lstm_ray.sections.scenario import ChangeConfig, ScenarioConfig
from lstm_ray.serving.bodies import (
    ClassAnswer,
    ClassifyRequest,
    ForecastRequest,
    LabelRequest,
    SeriesAnswer,
    StepsAnswer,
)

MAX_SCENARIOS = 16
"""What-ifs in one request: each costs a prediction of every series."""

MAX_CHANGES = 16
"""Changes made together with a scenario's first."""


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


def example_scenarios(schema: Schema) -> list[dict[str, Any]]:
    """Two, for the documentation."""
    column = (schema.past or schema.target)[0]
    rising = {"column": (schema.target or schema.past)[0], "operation": "ramp", "value": 1.0, "steps": 4}
    return [
        {"name": f"more {column}", "column": column, "operation": "shift", "value": 1.0, "steps": 1},
        {"name": f"{column} not measured", "column": column, "operation": "missing", "steps": 2, "also": [rising]},
    ]
