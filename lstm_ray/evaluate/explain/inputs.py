"""The inputs of a model by name, and windows with some of them taken from other windows. Knows segments; knows no model.

Legend: R rows, M windows (sequences), each a segment of its own.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lstm_ray.data.schema import Schema
from lstm_ray.data.windows import Segments, numbered

OWN_WINDOWS = 4
"""Windows that a series must have for these to stand for each other; those of series with fewer stand for any."""


@dataclass(frozen=True)
class Input:
    """Columns that make up one input."""

    name: str
    role: Literal["target", "past", "known", "category"]
    columns: tuple[int, ...]
    fixed: bool = False
    """Does not change within a series, so only another series' value can stand for it."""

    @property
    def has_lags(self) -> bool:
        """Whether it is read as it was so long ago; what is known ahead is read at the horizon, too."""
        return self.role in ("target", "past")


def inputs_of(schema: Schema, static: Collection[str] = ()) -> list[Input]:
    """Every input of a model, in the schema's order; the sine and cosine of a calendar cycle are one.

    Args:
        static: columns among the known ones that are a series' own (data.static).
    """
    found = [Input(name, "target", (c,)) for c, name in enumerate(schema.target)]
    found += [Input(name, "past", (p,)) for p, name in enumerate(schema.past)]
    found += [Input(name, "known", (k,), name in static) for k, name in enumerate(schema.known)]
    first = len(schema.known)
    found += [
        Input(f"calendar: {cycle}", "known", (first + 2 * i, first + 2 * i + 1))
        for i, cycle in enumerate(schema.calendar)
    ]
    if schema.holidays:
        found.append(Input("calendar: holiday", "known", (schema.num_known - 1,)))
    return found + [Input(name, "category", (k,), True) for k, name in enumerate(schema.categories)]


def varies(whole: Segments, one: Input) -> bool:
    """Whether an input has more than one value in some windows; else nothing can stand for it."""
    values = _values(whole, one)[:, list(one.columns)]
    return bool(len(values)) and bool((values != values[0]).any())


def donors(series_M: NDArray, random: np.random.Generator) -> NDArray:
    """Another window for each, every one used once: of the same series where it has OWN_WINDOWS, else of any.

    Between series, a level that is a series' own would tell of the series, not of what happened.
    """
    _, of_M, count = np.unique(series_M, return_inverse=True, return_counts=True)
    of_M = np.where(count[of_M] >= OWN_WINDOWS, of_M, -1)
    donor_M = np.arange(len(of_M))
    for own in np.unique(of_M):
        order = random.permutation(np.flatnonzero(of_M == own))
        donor_M[order] = np.roll(order, 1)
    return donor_M


def mixed(whole: Segments, inputs: Sequence[Input], donor_M: NDArray, where_R: NDArray | None = None) -> Segments:
    """The windows with some inputs as their donors have them, steps counted from the end (a shorter donor's over again).

    Args:
        where_R: rows that are taken from the donors; none: all.
    """
    length_M, end_M = np.diff(whole.bounds), whole.bounds[1:]
    of_R, turn_R = numbered(length_M)
    back_R = length_M[of_R] - 1 - turn_R
    donor_R = donor_M[of_R]
    row_R = end_M[donor_R] - 1 - back_R % length_M[donor_R]
    if where_R is not None:
        row_R = np.where(where_R, row_R, np.arange(len(row_R)))
    changed: dict[str, Any] = {}

    def take(field: str, columns: list[int], index: NDArray) -> None:
        if field not in changed:
            changed[field] = getattr(whole, field).copy()
        changed[field][:, columns] = getattr(whole, field)[index][:, columns]

    observed = "past" if whole.schema.label else "target"
    for one in inputs:
        columns = list(one.columns)
        take(_FIELDS[one.role], columns, donor_M if one.role == "category" else row_R)
        if one.role == observed and whole.observed_RC.shape[1]:
            take("observed_RC", columns, row_R)
    return replace(whole, **changed)


_FIELDS = {"target": "target_RC", "past": "past_RP", "known": "known_RK", "category": "category_SK"}


def _values(whole: Segments, one: Input) -> NDArray:
    values: NDArray = getattr(whole, _FIELDS[one.role])
    return values
