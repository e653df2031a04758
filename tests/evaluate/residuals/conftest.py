"""Views of made-up errors: a policy that errs as a test asks, beside the seasonal naive."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lstm_ray.data.windows import Segments, origins
from lstm_ray.evaluate.forecasts.baselines import SeasonalNaive
from lstm_ray.evaluate.forecasts.metrics import seasonal_scale
from lstm_ray.evaluate.forecasts.score import Yardstick, score
from lstm_ray.evaluate.forecasts.view import View
from lstm_ray.evaluate.gather import Forecaster, future_rows


@dataclass
class Told:
    """Forecasts what came, or what could be known of it, and an error that a test gives."""

    error: Callable[[Segments, NDArray], NDArray]
    """Segments and rows [M, H] to forecast less actual, [M, H, C]."""
    knows_noise: bool = True
    """Else it forecasts the daily cycle of the data's first target, and errs by the data's noise, too."""
    horizon: int = 12
    quantiles: list[float] = field(default_factory=lambda: [0.5])

    def forecast_windows(self, segments: Segments, origins_M: NDArray, batch: int = 512) -> NDArray:
        rows = future_rows(origins_M, self.horizon)
        known = segments.target_RC[rows]
        if not self.knows_noise:
            level = np.array([10.0 * (1 + int(name[1:])) for name in segments.series])[segments.series_of(rows)]
            known = (level + 3 * np.sin(2 * np.pi * segments.steps(rows) / 24))[..., None]
        point = known + self.error(segments, rows)
        return np.repeat(point[..., None], len(self.quantiles), axis=-1).astype(np.float32)


def _seen(data: Any, policy: Forecaster) -> tuple[View, dict[str, Forecaster]]:
    test_M = origins(data.segments, data.parts, "test", data.window)
    models: dict[str, Forecaster] = {
        "policy": policy,
        "seasonal_naive": SeasonalNaive(data.window.horizon, data.window.season),
    }
    scale = seasonal_scale(data.segments, data.parts, data.window.season)
    scores = score(models, data.segments, test_M, Yardstick(data.window, scale, data.scaler.target_deviation))
    deviation = np.asarray(data.scaler.target_deviation)
    return View(scores, "policy", "seasonal_naive", data.segments, test_M, data.window, deviation, "mean"), models


@pytest.fixture
def seen() -> Callable[..., tuple[View, dict[str, Forecaster]]]:
    """Data and a policy to the view of its test part, and the forecasters in it."""
    return _seen


@pytest.fixture
def erring() -> Callable[..., Told]:
    """A policy that errs as a function of segments and rows says."""
    return Told


@pytest.fixture
def noise() -> Callable[[Segments, NDArray], NDArray]:
    """Errors that are the same for one step whenever it is forecast, and independent of each other and of all else."""
    table = np.random.default_rng(0).standard_normal(1_000_003)

    def at(segments: Segments, rows: NDArray) -> NDArray:
        steps, series = segments.steps(rows), segments.series_of(rows)
        name = np.array([int(segments.series[s][1:]) for s in range(len(segments.series))])[series]
        return table[(steps * 7919 + name * 104_729) % len(table)][..., None]

    return at
