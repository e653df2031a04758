"""Ridge regression from history to horizon in closed form, from sums that add over workers. NumPy; knows no network.

Shapes: M windows, L history, H horizon, C target channels, A inputs of the map, the first of them 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lstm_ray.data.windows import chunks
from lstm_ray.sections.prepare import WindowConfig

PENALTIES = (1e-5, 1e-3, 1e-2, 1e-1, 1.0)
"""Ridge penalties tried, as shares of the inputs' mean variance."""
CHUNK_VALUES = 4_000_000
"""Values gathered at a time, 16 MB of float32."""
MAX_WINDOWS = 200_000
"""Windows of one channel that are read at most, evenly spread: a few hundred coefficients need no more."""
MIN_DEVIATION = 1e-3
"""Inputs that vary less are taken to vary so much, where they are standardised."""
Normalise = Callable[[NDArray], tuple[NDArray, NDArray]]
"""Histories [rows, L] to the level and the scale of each row, [rows, 1]."""


@dataclass(frozen=True)
class LinearSums:
    """What a linear fit needs of its data; adds over chunks and workers. Inputs carry a leading 1."""

    xx_AA: NDArray
    xy_AH: NDArray
    yy: float
    weight: float

    @classmethod
    def none(cls, inputs: int, outputs: int) -> LinearSums:
        """The sums of no rows at all; the leading 1 counts among the inputs."""
        return cls(np.zeros((inputs, inputs)), np.zeros((inputs, outputs)), 0.0, 0.0)

    def __add__(self, other: LinearSums) -> LinearSums:
        return LinearSums(
            self.xx_AA + other.xx_AA, self.xy_AH + other.xy_AH, self.yy + other.yy, self.weight + other.weight
        )

    def squared_error(self, map_AH: NDArray) -> float:
        """Weighted sum of squared errors of a map, from the sums alone."""
        return float((map_AH * (self.xx_AA @ map_AH - 2 * self.xy_AH)).sum() + self.yy)

    def flat(self) -> NDArray:
        """All sums in one float64 array, to be added up over processes in one go."""
        return np.concatenate([self.xx_AA.ravel(), self.xy_AH.ravel(), [self.yy, self.weight]])

    @classmethod
    def from_flat(cls, flat: NDArray, inputs: int, outputs: int) -> LinearSums:
        xx, xy, (yy, weight) = np.split(flat, [inputs**2, inputs * (inputs + outputs)])
        return cls(xx.reshape(inputs, inputs), xy.reshape(inputs, outputs), float(yy), float(weight))


def last_value(history_ML: NDArray) -> tuple[NDArray, NDArray]:
    """The newest value is the level: NLinear's normalisation (Zeng et al. 2023)."""
    return history_ML[:, -1:], np.ones((1, 1), dtype=np.float32)


def spread(items_M: NDArray, each: int = 1, most: int | None = None) -> NDArray:
    """Items that are enough to fit by, evenly spread: all, or about so many that they come to ``most`` rows.

    Args:
        each: rows of an item, such as a window's channels.
        most: none: MAX_WINDOWS.
    """
    return items_M[:: max(1, -(-len(items_M) * each // (most or MAX_WINDOWS)))]


def linear_sums(
    target_RC: NDArray,
    observed_RC: NDArray,
    origins_M: NDArray,
    window: WindowConfig,
    normalise: Normalise,
    weight_R: NDArray | None = None,
) -> LinearSums:
    """X'X and X'Y of windows freed of their level and scale, each channel a row.

    A row weighs as much as the share of its horizon that was measured, so that imputed stretches do not teach; where steps
    have weights (``weight_R``), their mean over what was measured: all leads share one X'X, so no step has its own. A window
    that reaches into steps of weight 0 would teach them with the others, and is left out.

    Args:
        target_RC: standardised rows of all segments.
        origins_M: row of the last observed step of each window.
    """
    sums = LinearSums.none(1 + window.history, window.horizon)
    inputs, length, channels = window.history + 1, window.history + window.horizon, target_RC.shape[1]
    for some in chunks(origins_M, max(1, CHUNK_VALUES // (channels * length))):
        rows = some[:, None] + np.arange(1 - window.history, window.horizon + 1)
        values = np.swapaxes(target_RC[rows], 1, 2).reshape(-1, length)
        level, scale = normalise(values[:, : window.history])
        flat = np.ones((len(values), 1 + length), dtype=np.float32)
        flat[:, 1:] = (values - level) / scale
        future = rows[:, window.history :]
        counted = observed_RC[future] if weight_R is None else observed_RC[future] * weight_R[future][..., None]
        weight_M = counted.mean(axis=1)
        if weight_R is not None:
            weight_M = weight_M * (weight_R[future].min(axis=1) > 0)[:, None]
        weight_M = weight_M.ravel()
        sums += sums_of(flat[:, :inputs], flat[:, inputs:], weight_M)
    return sums


def sums_of(x_MA: NDArray, y_MH: NDArray, weight_M: NDArray) -> LinearSums:
    """The sums of some rows; ``x`` begins with a column of 1."""
    weighted_MA = x_MA * weight_M[:, None]
    return LinearSums(
        (weighted_MA.T @ x_MA).astype(np.float64),
        (weighted_MA.T @ y_MH).astype(np.float64),
        float(np.einsum("mh,mh,m->", y_MH, y_MH, weight_M, dtype=np.float64)),
        float(weight_M.sum(dtype=np.float64)),
    )


def solve(
    train: LinearSums, validation: LinearSums, penalties: Sequence[float] = PENALTIES, standardise: bool = False
) -> tuple[NDArray, float]:
    """The map [A, H] that fits the training sums, its penalty the one with the least squared error on validation.

    Hoerl & Kennard 1970; one eigendecomposition serves all penalties, and the intercept is not penalised.

    Args:
        penalties: tried, as shares of the inputs' mean variance.
        standardise: inputs are brought to one deviation first, for those that vary little to be heard alike.
    """
    # Centring leaves the intercept out of the penalty: x and y lose their means, which then give it back.
    weight = max(train.weight, 1.0)
    mean_x, mean_y = train.xx_AA[0, 1:] / weight, train.xy_AH[0] / weight
    gram = train.xx_AA[1:, 1:] / weight - np.outer(mean_x, mean_x)
    cross = train.xy_AH[1:] / weight - np.outer(mean_x, mean_y)
    scale = np.sqrt(np.maximum(np.diag(gram), MIN_DEVIATION**2)) if standardise else np.ones(len(gram))
    gram, cross = gram / np.outer(scale, scale), cross / scale[:, None]
    values, vectors = np.linalg.eigh(gram)
    values, rotated, unit = np.maximum(values, 0), vectors.T @ cross, float(np.trace(gram)) / len(gram) or 1.0

    def fitted(penalty: float) -> NDArray:
        slope = vectors @ (rotated / (values + penalty * unit)[:, None]) / scale[:, None]
        return np.concatenate([(mean_y - mean_x @ slope)[None], slope])

    penalty = min(penalties, key=lambda p: validation.squared_error(fitted(p)))
    return fitted(penalty).astype(np.float32), penalty
