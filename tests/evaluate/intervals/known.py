"""Data whose distribution is known, and forecasts of it whose quantiles are wrong by a known factor."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lstm_ray.data.schema import ColumnScale, Scaler
from lstm_ray.evaluate.intervals.sample import Sample
from lstm_ray.sections.model import ModelConfig

LEVELS = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
NORMAL = np.array([-1.645, -1.2816, -0.6745, 0, 0.6745, 1.2816, 1.645])
COEFFICIENT = 0.8
NONE = ColumnScale(mean=[], deviation=[])


def scaler(channels: int = 1) -> Scaler:
    return Scaler(target=ColumnScale(mean=[3.0] * channels, deviation=[2.0] * channels), past=NONE, known=NONE)


def sample_of(actual_MH: NDArray, forecast_MHQ: NDArray, step_M: NDArray | None = None) -> Sample:
    """One target in units of its own; forecasts are given scaled."""
    num = len(actual_MH)
    return Sample(
        levels=LEVELS,
        scaled_MHCQ=forecast_MHQ[:, :, None].astype(np.float32),
        actual_MHC=(3.0 + 2.0 * actual_MH)[..., None].astype(np.float32),
        step_M=np.arange(num) if step_M is None else step_M,
        series_M=np.zeros(num, np.int64),
        names=["one"],
        scaler=scaler(),
        own=None,
        model=ModelConfig(),
        of=num,
    )


def first_order(steps: int, horizon: int, factor: float, seed: int, loud: NDArray | float = 1.0) -> Sample:
    """An AR(1) with Gaussian noise (``loud`` is its deviation), every window of it, and its true quantiles at each step
    ahead, their distance from the median multiplied by a factor."""
    random = np.random.default_rng(seed)
    noise = random.normal(size=steps) * loud
    value = np.zeros(steps)
    for t in range(1, steps):
        value[t] = COEFFICIENT * value[t - 1] + noise[t]
    origin = np.arange(50, steps - horizon)
    ahead = np.arange(1, horizon + 1)
    deviation_H = np.sqrt((1 - COEFFICIENT ** (2 * ahead)) / (1 - COEFFICIENT**2))
    median_MH = value[origin, None] * COEFFICIENT**ahead
    forecast = median_MH[..., None] + factor * deviation_H[:, None] * NORMAL
    return sample_of(value[origin[:, None] + ahead], forecast)


def skewed(num: int, horizon: int, factor: float, seed: int) -> Sample:
    """Windows with skewed noise, whose size differs a hundredfold from window to window and is known to the forecast; the
    forecast takes it for Gaussian."""
    random = np.random.default_rng(seed)
    size_M = 10 ** random.uniform(-1, 1, num)
    growth_H = np.sqrt(np.arange(1, horizon + 1))
    size_MH = size_M[:, None] * growth_H
    actual = size_MH * (random.exponential(size=(num, horizon)) - np.log(2))
    return sample_of(actual, factor * size_MH[..., None] * NORMAL)
