"""How targets become what is learned, and back: logarithms and powers. NumPy alone; fits nothing.

Shapes: C target channels, Q quantiles. Box & Cox 1964 for values above 0, Yeo & Johnson 2000 for all.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

MAX_LOGARITHM = 80.0
"""Largest logarithm that is raised again: what float32 still holds."""
MOST = 1e30
"""Largest power that is told apart: with units below 1, too, float32 holds it."""
Kind = Literal["log", "log1p", "box_cox", "yeo_johnson"]
WORDS: dict[Kind, str] = {
    "log": "logarithms",
    "log1p": "logarithms of value plus 1",
    "box_cox": "Box-Cox powers",
    "yeo_johnson": "Yeo-Johnson powers",
}


class Transform(BaseModel):
    """A monotone function of each target, with its inverse.

    Values are read as at least ``least``, then ``offset`` is added and the power taken, 0 for logarithms. Yeo & Johnson's
    knows no least value: it takes the power of 1 plus the distance from 0, in ``unit``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Kind
    power: list[float]
    offset: list[float]
    least: list[float]
    """What lies below, as a damaged input may, is read as this, and nothing below is forecast; unused by yeo_johnson."""
    unit: list[float]
    """A target's deviation, so that its units do not decide (yeo_johnson); 1 for the others."""

    def apply(self, values: NDArray) -> NDArray:
        """Of values [..., C]; NaN stays NaN. Powers are taken in float64."""
        if self.kind == "log":
            return self._logarithm(values)
        power, offset, least, unit = self._numbers(False)
        if self.kind != "yeo_johnson":
            return np.minimum(_power(np.log(np.maximum(values, least) + offset), power), MOST)
        size = np.asarray(values, dtype=np.float64) / unit
        own = np.where(size >= 0, power, 2 - power)
        found: NDArray = np.sign(size) * np.minimum(_power(np.log1p(np.abs(size)), own), MOST)
        return found

    def invert(self, values: NDArray, quantile_axis: bool = False) -> NDArray:
        """The inverse of ``apply``, never beyond what float32 holds; float32 [..., C], or [..., C, Q]."""
        if self.kind == "log":
            return self._exponential(values, quantile_axis)
        power, offset, least, unit = self._numbers(quantile_axis)
        if self.kind != "yeo_johnson":
            raised = np.exp(np.minimum(_logarithm(values, power), MAX_LOGARITHM)) - offset
            return np.maximum(raised, least).astype(np.float32)
        own = np.where(values >= 0, power, 2 - power)
        most = np.minimum(_logarithm(np.abs(values), own), MAX_LOGARITHM)
        highest = float(np.finfo(np.float32).max)
        found: NDArray = np.clip(np.sign(values) * np.expm1(most) * unit, -highest, highest).astype(np.float32)
        return found

    def _numbers(self, quantile_axis: bool) -> tuple[NDArray, ...]:
        """Power, offset, least value and unit, float64 [C], or [C, 1] before a quantile axis."""
        found = (np.asarray(numbers) for numbers in (self.power, self.offset, self.least, self.unit))
        return tuple(numbers[:, None] if quantile_axis else numbers for numbers in found)

    def _logarithm(self, values: NDArray) -> NDArray:
        offset = np.asarray(self.offset, dtype=np.result_type(values, np.float32))
        found: NDArray = np.log(np.maximum(values, 0) + offset)
        return found

    def _exponential(self, values: NDArray, quantile_axis: bool) -> NDArray:
        offset = np.asarray(self.offset, dtype=np.float32)
        raised = np.exp(np.minimum(values, MAX_LOGARITHM)) - (offset[:, None] if quantile_axis else offset)
        found: NDArray = np.maximum(raised, 0)
        return found


def _power(logarithm: NDArray, power: NDArray) -> NDArray:
    """(x ** power - 1) / power of x given by its logarithm; the logarithm itself where the power is 0."""
    some = np.where(power == 0, 1, power)
    found: NDArray = np.where(power == 0, logarithm, np.expm1(some * logarithm) / some)
    return found


def _logarithm(values: NDArray, power: NDArray) -> NDArray:
    """The logarithm of x from ``_power`` of it. Powers below 0 have a highest value, those above a lowest one: what lies
    beyond is infinitely large, or 0."""
    some = np.where(power == 0, 1, power)
    with np.errstate(divide="ignore"):
        found: NDArray = np.where(power == 0, values, np.log1p(np.maximum(some * values.astype(np.float64), -1)) / some)
    return found
