"""The truth that callers bring once it is known, to be held against what was answered, and learned from. Knows no server.

Legend: T steps, F columns: targets (or the label), past, known.
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
    columns: dict[Name, Values] = Field(
        min_length=1, description="what was measured of the policy's inputs, one or more; null where nothing was"
    )


class ObservedClass(Body):
    name: Name = Field(min_length=1, description="as the requests named it")
    label: str = Field(description="the true class")


class ObservedSteps(Body):
    name: Name = Field(min_length=1, description="as the requests named it")
    times: Times
    labels: list[Name | None] | list[Number | None] = Field(
        default=[], max_length=MAX_STEPS, description="the true class or value of each step, null where unknown"
    )
    columns: dict[Name, Values] = Field(default={}, description="what was measured of the policy's inputs")


class Observations(Body):
    series: list[ObservedSeries] = Field(min_length=1, max_length=MAX_SERIES)


class ObservedClasses(Body):
    series: list[ObservedClass] = Field(min_length=1, max_length=MAX_SERIES)


class ObservedLabels(Body):
    series: list[ObservedSteps] = Field(min_length=1, max_length=MAX_SERIES)


class ObservationsAnswer(BaseModel):
    """What came of observations; where the server keeps no rows, ``scored`` alone."""

    scored: int = Field(description="predicted values that the observations were held against")
    new: int | None = Field(default=None, description="steps of which nothing was kept; they are kept, for retraining")
    duplicates: int | None = Field(default=None, description="steps told again as they are kept, or less of them")
    completed: int | None = Field(default=None, description="steps of which values were missing that were told now")
    contradictory: int | None = Field(
        default=None, description="steps with a value told otherwise than before; the one told now is kept"
    )
    late: int | None = Field(default=None, description="of the new steps, those with a newer step kept already")
    lost: int | None = Field(
        default=None, description="steps that could not be kept; GET /v1/monitor tells why under 'rows'"
    )


def measured_values(item: ObservedSeries | ObservedSteps, schema: Schema) -> NDArray:
    """What was measured, [T, F], NaN where not given. Raises InputError for columns that are not the policy's and wrong
    lengths."""
    targets = [schema.label] if schema.label else schema.target
    columns = [*targets, *schema.past, *schema.known]
    # The label has a field of its own, in words.
    inputs = [name for name in columns if name != schema.label]
    if unknown := sorted(set(item.columns) - set(inputs)):
        raise InputError(
            f"series '{item.name}': '{unknown[0]}' is no column of the policy{nearest(unknown[0], inputs)}"
        )
    values_TF = np.full((len(item.times), len(columns)), np.nan)
    for name, values in item.columns.items():
        if len(values) != len(item.times):
            raise InputError(
                f"series '{item.name}': column '{name}' has {len(values)} values; send {len(item.times)}, one a step"
            )
        values_TF[:, columns.index(name)] = _in_bounds(np.asarray(values, dtype=np.float64), item.name, name)
    return values_TF


def _in_bounds(values_T: NDArray, series: str, column: str) -> NDArray:
    """Refuses what single precision, in which values are learned from, does not hold."""
    if (over_T := np.abs(values_T) > np.finfo(np.float32).max).any():
        value = f"{values_T[over_T][0]:.6g}"
        raise InputError(f"series '{series}': column '{column}' holds {value}; send finite numbers or null")
    return values_T


def labelled_values(item: ObservedSteps, schema: Schema) -> NDArray:
    """``measured_values`` with the labels that were told, a class by its index. Raises InputError where neither is."""
    if not item.labels and not item.columns:
        raise InputError(f"series '{item.name}': nothing was observed; send labels, or columns, or both")
    values_TF = measured_values(item, schema)
    if item.labels:
        values_TF[:, :1] = true_labels(item, schema)
    return values_TF


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
    return _in_bounds(found, item.name, "labels")
