"""Forecasts that need no network, the bar for one that does. NumPy alone; knows no files and no torch.

Legend: M windows, L history, H horizon, C target channels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lstm_ray.data.parts import Boundaries, Part
from lstm_ray.data.schema import Scaler
from lstm_ray.data.windows import Segments, chunks, origins
from lstm_ray.evaluate.gather import Forecaster, history
from lstm_ray.model import ridge
from lstm_ray.sections.prepare import WindowConfig


class Point:
    """Forecasts one value, not quantiles."""

    @property
    def quantiles(self) -> list[float]:
        return [0.5]


@dataclass(frozen=True)
class LastValue(Point):
    """Repeats the last value of the history."""

    horizon: int

    def forecast_windows(self, segments: Segments, origins_M: NDArray, batch: int = 512) -> NDArray:
        last = segments.target_RC[origins_M][:, None, :, None]
        return np.repeat(last, self.horizon, axis=1)


@dataclass(frozen=True)
class Mean(Point):
    """Repeats the mean of the history's measured values; of all of them where none was measured."""

    horizon: int
    history: int

    def forecast_windows(self, segments: Segments, origins_M: NDArray, batch: int = 512) -> NDArray:
        # Sums up to each row, from which any stretch's follow by one subtraction, however long the history.
        measured_RC = segments.observed_RC > 0
        centre_C = segments.target_RC.mean(axis=0, dtype=np.float64) if len(segments.target_RC) else 0.0
        value_RC = segments.target_RC - centre_C
        first_M = _first(segments, origins_M, self.history)

        def summed(value_RC: NDArray) -> NDArray:
            upto = np.concatenate([np.zeros((1, value_RC.shape[1])), np.cumsum(value_RC, axis=0, dtype=np.float64)])
            found: NDArray = upto[origins_M + 1] - upto[first_M]
            return found

        count_MC, length_M = summed(measured_RC), origins_M + 1 - first_M
        mean_MC = np.where(
            count_MC > 0,
            summed(value_RC * measured_RC) / np.maximum(count_MC, 1),
            summed(value_RC) / length_M[:, None],
        )
        level_MC = (mean_MC + centre_C).astype(np.float32)
        return np.repeat(level_MC[:, None, :, None], self.horizon, axis=1)


@dataclass(frozen=True)
class Drift(Point):
    """Goes on along the line from the first to the last measured value of the history (Hyndman & Athanasopoulos 2021,
    5.2); repeats the last value where fewer than two were measured."""

    horizon: int
    history: int

    def forecast_windows(self, segments: Segments, origins_M: NDArray, batch: int = 512) -> NDArray:
        row_RC = np.arange(len(segments.target_RC))[:, None]
        measured_RC = segments.observed_RC > 0
        # The newest measured row up to each row, and the oldest from it on.
        newest_RC = np.maximum.accumulate(np.where(measured_RC, row_RC, -1), axis=0)
        oldest_RC = np.minimum.accumulate(np.where(measured_RC, row_RC, len(row_RC))[::-1], axis=0)[::-1]
        last_MC, first_MC = newest_RC[origins_M], oldest_RC[_first(segments, origins_M, self.history)]
        known_MC = last_MC > first_MC
        origin_M1, channel_C = origins_M[:, None], np.arange(segments.target_RC.shape[1])
        last_MC, first_MC = np.where(known_MC, last_MC, origin_M1), np.where(known_MC, first_MC, origin_M1)
        end_MC = segments.target_RC[last_MC, channel_C].astype(np.float64)
        slope_MC = (end_MC - segments.target_RC[first_MC, channel_C]) / np.maximum(last_MC - first_MC, 1)
        ahead_MHC = (origin_M1 - last_MC)[:, None] + np.arange(1, self.horizon + 1)[:, None]
        found: NDArray = (end_MC[:, None] + slope_MC[:, None] * ahead_MHC)[..., None].astype(np.float32)
        return found


@dataclass(frozen=True)
class SeasonalNaive(Point):
    """Repeats the last season of the history."""

    horizon: int
    season: int

    def forecast_windows(self, segments: Segments, origins_M: NDArray, batch: int = 512) -> NDArray:
        back = np.arange(self.horizon) % self.season - self.season + 1
        forecast: NDArray = segments.target_RC[origins_M[:, None] + back][..., None]
        return forecast


@dataclass(frozen=True)
class Ridge(Point):
    """One linear map from history to horizon shared by all channels and series, on standardised values minus the
    history's last value: NLinear (Zeng et al. 2023, "Are Transformers Effective for Time Series Forecasting?"), solved
    in closed form with a penalty instead of by gradient steps."""

    scaler: Scaler
    weights_LH: NDArray
    intercept_H: NDArray
    penalty: float

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


def fit_baselines(
    segments: Segments, parts: Boundaries, window: WindowConfig, scaler: Scaler, *, history_alone: bool = False
) -> dict[str, Forecaster]:
    """The baselines by name, simplest first. All see the same ``window.history`` as the network.

    seasonal_naive needs a whole season in the history, and is absent where the season is longer.

    Args:
        history_alone: leave out the ridge, which must be fitted.
    """
    found: dict[str, Forecaster] = {
        "last_value": LastValue(window.horizon),
        "mean": Mean(window.horizon, window.history),
        "drift": Drift(window.horizon, window.history),
    }
    if window.season <= window.history:
        found["seasonal_naive"] = SeasonalNaive(window.horizon, window.season)
    if not history_alone:
        found["ridge"] = fit_ridge(segments, parts, window, scaler)
    return found


def _first(segments: Segments, origins_M: NDArray, steps: int) -> NDArray:
    """First row of each window's history: ``steps`` back, or its segment's first."""
    found: NDArray = np.maximum(origins_M - steps + 1, segments.bounds[segments.series_of(origins_M)])
    return found


def fit_ridge(segments: Segments, parts: Boundaries, window: WindowConfig, scaler: Scaler) -> Ridge:
    """Fit on the training part's windows, with the penalty that has the least squared error on the validation part."""
    standard_RC = (segments.target_RC - scaler.target_mean) / scaler.target_deviation

    def sums(part: Part) -> ridge.LinearSums:
        chosen = ridge.spread(origins(segments, parts, part, window), standard_RC.shape[1])
        return ridge.linear_sums(standard_RC, segments.observed_RC, chosen, window, ridge.last_value)

    best, penalty = ridge.solve(sums("train"), sums("validation"))
    return Ridge(scaler, weights_LH=best[1:], intercept_H=best[0], penalty=penalty)
