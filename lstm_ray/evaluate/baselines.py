"""Forecasts that need no network, the bar for one that does. NumPy alone; knows no files and no torch.

Legend: M windows, L history, H horizon, C target channels, A inputs of the linear map.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lstm_ray.data.schema import Scaler
from lstm_ray.data.split import Boundaries, Part
from lstm_ray.data.windows import Segments, chunks, origins
from lstm_ray.evaluate.gather import Forecaster, future_rows, history
from lstm_ray.sections import WindowConfig

PENALTIES = (1e-5, 1e-3, 1e-2, 1e-1, 1.0)
"""Ridge penalties tried, as shares of the inputs' mean variance."""
CHUNK_VALUES = 4_000_000
"""Values gathered at a time, 16 MB of float32."""
MAX_WINDOWS = 200_000
"""Windows of one channel that a ridge reads at most, evenly spread: a few hundred coefficients need no more."""


@dataclass(frozen=True)
class LastValue:
    """Repeats the last value of the history."""

    horizon: int

    @property
    def quantiles(self) -> list[float]:
        return [0.5]

    def forecast_windows(self, segments: Segments, origins_M: NDArray, batch: int = 512) -> NDArray:
        last = segments.target_RC[origins_M][:, None, :, None]
        return np.repeat(last, self.horizon, axis=1)


@dataclass(frozen=True)
class SeasonalNaive:
    """Repeats the last season of the history."""

    horizon: int
    season: int

    @property
    def quantiles(self) -> list[float]:
        return [0.5]

    def forecast_windows(self, segments: Segments, origins_M: NDArray, batch: int = 512) -> NDArray:
        back = np.arange(self.horizon) % self.season - self.season + 1
        forecast: NDArray = segments.target_RC[origins_M[:, None] + back][..., None]
        return forecast


@dataclass(frozen=True)
class Ridge:
    """One linear map from history to horizon shared by all channels and series, on standardised values minus the
    history's last value: NLinear (Zeng et al. 2023, "Are Transformers Effective for Time Series Forecasting?"), solved
    in closed form with a penalty instead of by gradient steps."""

    scaler: Scaler
    weights_LH: NDArray
    intercept_H: NDArray
    penalty: float

    @property
    def quantiles(self) -> list[float]:
        return [0.5]

    def forecast_windows(self, segments: Segments, origins_M: NDArray, batch: int = 512) -> NDArray:
        steps, mean, deviation = len(self.weights_LH), self.scaler.target_mean, self.scaler.target_deviation
        parts = []
        for some in chunks(origins_M, batch):
            change_MLC = (history(segments, some, steps) - segments.target_RC[some, None]) / deviation
            step_MCH = np.swapaxes(change_MLC, 1, 2) @ self.weights_LH + self.intercept_H
            parts.append(np.swapaxes(step_MCH, 1, 2) * deviation + segments.target_RC[some, None])
        if not parts:
            return np.empty((0, len(self.intercept_H), len(mean), 1), dtype=np.float32)
        return np.concatenate(parts)[..., None].astype(np.float32, copy=False)


@dataclass(frozen=True)
class LinearSums:
    """What a linear fit needs of its data; adds over chunks. Inputs carry a leading 1."""

    xx_AA: NDArray
    xy_AH: NDArray
    yy: float
    weight: float

    def __add__(self, other: LinearSums) -> LinearSums:
        return LinearSums(
            self.xx_AA + other.xx_AA, self.xy_AH + other.xy_AH, self.yy + other.yy, self.weight + other.weight
        )

    def squared_error(self, map_AH: NDArray) -> float:
        """Weighted sum of squared errors of a map, from the sums alone."""
        return float((map_AH * (self.xx_AA @ map_AH - 2 * self.xy_AH)).sum() + self.yy)


def fit_baselines(
    segments: Segments, parts: Boundaries, window: WindowConfig, scaler: Scaler, *, history_alone: bool = False
) -> dict[str, Forecaster]:
    """The baselines by name, simplest first. All see the same ``window.history`` as the network.

    seasonal_naive needs a whole season in the history, and is absent where the season is longer.

    Args:
        history_alone: leave out the ridge, which must be fitted.
    """
    found: dict[str, Forecaster] = {"last_value": LastValue(window.horizon)}
    if window.season <= window.history:
        found["seasonal_naive"] = SeasonalNaive(window.horizon, window.season)
    if not history_alone:
        found["ridge"] = fit_ridge(segments, parts, window, scaler)
    return found


def fit_ridge(segments: Segments, parts: Boundaries, window: WindowConfig, scaler: Scaler) -> Ridge:
    """Fit on the training part's windows, with the penalty that has the least squared error on the validation part."""
    train = linear_sums(segments, _origins(segments, parts, "train", window, scaler), window, scaler)
    validation = linear_sums(segments, _origins(segments, parts, "validation", window, scaler), window, scaler)
    # Centring leaves the intercept out of the penalty: x and y lose their means, which then give it back.
    weight = max(train.weight, 1.0)
    mean_x, mean_y = train.xx_AA[0, 1:] / weight, train.xy_AH[0] / weight
    gram = train.xx_AA[1:, 1:] / weight - np.outer(mean_x, mean_x)
    cross = train.xy_AH[1:] / weight - np.outer(mean_x, mean_y)
    values, vectors = np.linalg.eigh(gram)
    values, rotated, unit = np.maximum(values, 0), vectors.T @ cross, float(np.trace(gram)) / len(gram) or 1.0

    def solve(penalty: float) -> NDArray:
        slope = vectors @ (rotated / (values + penalty * unit)[:, None])
        return np.concatenate([(mean_y - mean_x @ slope)[None], slope])

    penalty = min(PENALTIES, key=lambda p: validation.squared_error(solve(p)))
    best = solve(penalty).astype(np.float32)
    return Ridge(scaler, weights_LH=best[1:], intercept_H=best[0], penalty=penalty)


def linear_sums(segments: Segments, origins_M: NDArray, window: WindowConfig, scaler: Scaler) -> LinearSums:
    """X'X and X'Y of windows whose values are standardised and freed of their last value, each channel a row.

    A row weighs as much as the share of its horizon that was measured, so that imputed stretches do not teach.
    """
    inputs, horizon, deviation = window.history + 1, window.horizon, scaler.target_deviation
    sums = LinearSums(np.zeros((inputs, inputs)), np.zeros((inputs, horizon)), 0.0, 0.0)
    channels = segments.target_RC.shape[1]
    size = max(1, CHUNK_VALUES // (channels * (window.history + horizon)))
    for some in chunks(origins_M, size):
        last = segments.target_RC[some, None]
        change_MTC = (segments.target_RC[some[:, None] + np.arange(1 - window.history, horizon + 1)] - last) / deviation
        flat = np.ones((len(some) * channels, 1 + window.history + horizon), dtype=np.float32)
        flat[:, 1:] = np.swapaxes(change_MTC, 1, 2).reshape(len(flat), -1)
        weight = segments.observed_RC[future_rows(some, horizon)].mean(axis=1).reshape(-1, 1)
        x, y = flat[:, :inputs], flat[:, inputs:]
        weighted = x * weight
        sums += LinearSums(
            (weighted.T @ x).astype(np.float64),
            (weighted.T @ y).astype(np.float64),
            float(np.einsum("mh,mh,mo->", y, y, weight, dtype=np.float64)),
            float(weight.sum(dtype=np.float64)),
        )
    return sums


def _origins(segments: Segments, parts: Boundaries, part: Part, window: WindowConfig, scaler: Scaler) -> NDArray:
    found = origins(segments, parts, part, window)
    every = -(-len(found) * len(scaler.target_mean) // MAX_WINDOWS)
    return found[:: max(1, every)]
