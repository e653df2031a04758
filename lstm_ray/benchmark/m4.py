"""Scores by the definitions of the M4 competition (Makridakis, Spiliotis & Assimakopoulos 2020). NumPy; knows no model.

Legend: M series, each with one window; H horizon; R rows of all series.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lstm_ray.data.windows import Segments
from lstm_ray.errors import InputError
from lstm_ray.evaluate.forecasts.metrics import median_index
from lstm_ray.evaluate.gather import Forecaster, future_rows

SEASON = 24
NAIVE2_SMAPE, NAIVE2_MASE = 18.383, 2.395
"""The competition's own figures of its benchmark Naive2 on the hourly series."""


@dataclass(frozen=True)
class M4Score:
    """Means over series."""

    smape: float
    """In percent."""
    mase: float

    @property
    def owa(self) -> float:
        """Overall weighted average: 1 is as good as Naive2, less is better."""
        return (self.smape / NAIVE2_SMAPE + self.mase / NAIVE2_MASE) / 2


def score(actual_MH: NDArray, forecast_MH: NDArray, scale_M: NDArray) -> M4Score:
    """sMAPE and MASE of one forecast for each series.

    Args:
        scale_M: mean absolute seasonal difference of each series' in-sample part.
    """
    error_MH = np.abs(actual_MH.astype(np.float64) - forecast_MH)
    size_MH = np.abs(actual_MH).astype(np.float64) + np.abs(forecast_MH)
    smape_M = 200 * np.mean(error_MH / size_MH, axis=1)
    mase_M = error_MH.mean(axis=1) / scale_M
    return M4Score(float(smape_M.mean()), float(mase_M.mean()))


def seasonal_differences(values_RC: NDArray, first_M: NDArray, last_M: NDArray, season: int = SEASON) -> NDArray:
    """MASE's denominators, float64 [M]: mean |y[t] - y[t - season]| over each series from its first row to its last
    in-sample row, both included."""
    found = []
    for first, last in zip(first_M, last_M, strict=True):
        inside = values_RC[first : last + 1, 0].astype(np.float64)
        found.append(np.abs(inside[season:] - inside[:-season]).mean())
    return np.asarray(found)


def score_forecasters(
    forecasters: dict[str, Forecaster], segments: Segments, origins_M: NDArray, horizon: int
) -> dict[str, M4Score]:
    """Each forecaster on the last window of every series; all that precedes it is in-sample.

    Raises:
        InputError: there is not one window for each series, at its end.
    """
    of_M = segments.series_of(origins_M)
    ends_M = segments.bounds[of_M + 1] - 1
    whole = len(set(segments.series)) == len(segments.series) == len(origins_M)
    if not whole or len(set(of_M.tolist())) != len(of_M) or (origins_M + horizon != ends_M).any():
        raise InputError(
            f"M4's scores need one test window at the end of each series, found {len(origins_M)} windows of "
            f"{len(segments.series)} segments; set split.test to the horizon, {horizon}"
        )
    scale_M = seasonal_differences(segments.target_RC, segments.bounds[of_M], origins_M)
    actual_MH = segments.target_RC[future_rows(origins_M, horizon)][:, :, 0]
    found = {}
    for name, forecaster in forecasters.items():
        forecast_MHCQ = forecaster.forecast_windows(segments, origins_M)
        found[name] = score(actual_MH, forecast_MHCQ[:, :, 0, median_index(forecaster.quantiles)], scale_M)
    return found
