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
    standard_RC = (segments.target_RC - scaler.target_mean) / scaler.target_deviation

    def sums(part: Part) -> ridge.LinearSums:
        chosen = ridge.spread(origins(segments, parts, part, window), standard_RC.shape[1])
        return ridge.linear_sums(standard_RC, segments.observed_RC, chosen, window, ridge.last_value)

    best, penalty = ridge.solve(sums("train"), sums("validation"))
    return Ridge(scaler, weights_LH=best[1:], intercept_H=best[0], penalty=penalty)
