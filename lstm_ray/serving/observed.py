"""The truth that callers bring once it is known, to be held against what was answered. Knows no server.

Legend: T steps, C targets.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from lstm_ray.data.schema import Schema
from lstm_ray.errors import InputError, nearest
from lstm_ray.serving.bodies import MAX_SERIES, MAX_STEPS, Body, Name, Number, Times, Values


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
    labels: list[Name | None] | list[Number | None] = Field(
        max_length=MAX_STEPS, description="the true class or value of each step"
    )


class Observations(Body):
    series: list[ObservedSeries] = Field(min_length=1, max_length=MAX_SERIES)


class ObservedClasses(Body):
    series: list[ObservedClass] = Field(min_length=1, max_length=MAX_SERIES)


class ObservedLabels(Body):
    series: list[ObservedSteps] = Field(min_length=1, max_length=MAX_SERIES)


class ObservationsAnswer(BaseModel):
    scored: int = Field(description="predicted values that the observations were held against")


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
