"""Some test windows forecast again, their errors side by side; and fewer that share no step, for tests that want independent
errors. Knows a view and what forecasts; knows no figures.

Legend: M windows, H horizon, C targets.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import gcd

import numpy as np
from numpy.typing import NDArray

from lstm_ray.data.lags import reach
from lstm_ray.data.spread import at_common_times
from lstm_ray.data.windows import chunks
from lstm_ray.evaluate.forecasts.metrics import median_index
from lstm_ray.evaluate.forecasts.view import View
from lstm_ray.evaluate.gather import Forecaster, future_rows, narrow, series_names

MOST_WINDOWS, MOST_VALUES = 4_000, 4_000_000
"""A sample holds no more windows, and no more steps ahead, in all."""
FEWEST_TIMES = 200
"""Times that are kept before series are left out."""
BATCH = 512
LEAST_SPREAD = 1e-5
"""Errors that vary by less than this share of the forecasts are those of float32."""
FEWEST_SERIES = 8
"""From which series are looked at for groups that fail alike."""
FEW_APART = 30
"""Windows that share no step, from which tests are asked."""


@dataclass(frozen=True)
class Sample:
    """Errors of some windows, in the unit that is shown: a target's own, or training deviations where targets are several."""

    error_MHC: NDArray
    """Forecast less actual; NaN where nothing was measured."""
    rival_MHC: NDArray
    """The best baseline's."""
    forecast_MHC: NDArray
    """The median forecast."""
    rows_MH: NDArray
    """Of what is forecast."""
    step_M: NDArray
    """Of each origin, on the common time axis."""
    series_M: NDArray
    """Into ``names``."""
    names: list[str]
    of: int
    """Windows that these were taken from."""

    @property
    def mae(self) -> float:
        """Mean absolute error of all; 0 where nothing was measured."""
        seen = np.isfinite(self.error_MHC)
        return float(np.abs(self.error_MHC[seen]).mean()) if seen.any() else 0.0


def sampled(view: View, forecasters: Mapping[str, Forecaster]) -> Sample:
    """Evenly spread test windows, at most MOST_WINDOWS, all series at the same times where there are not too many."""
    number = max(1, min(MOST_WINDOWS, MOST_VALUES // (view.window.horizon * len(view.deviation_C))))
    kept = at_common_times(view.segments.steps(view.origins_M), number, FEWEST_TIMES)
    return _of(view, forecasters, view.origins_M[kept])


def apart(view: View, forecasters: Mapping[str, Forecaster]) -> Sample:
    """Windows that share no step: one at a time of a series picked at random, or where times are too few one of each series.

    They lie a horizon apart, and a little more where that would have each begin in the same phase of the season.
    """
    step_M = view.segments.steps(view.origins_M)
    stride = view.window.horizon
    while gcd(stride, view.window.season) > 1:
        stride += 1
    measured_M = view.scores[view.policy].count_M > 0
    chosen = np.flatnonzero(((step_M - step_M.min()) % stride == 0) & measured_M)
    random = np.random.default_rng(0)
    shuffled = random.permutation(chosen)
    _, first = np.unique(step_M[shuffled], return_index=True)
    # What happens at once in several series is not independent, but with few times there is nothing else to ask.
    chosen = np.sort(shuffled[first] if len(first) >= FEW_APART else shuffled[:MOST_WINDOWS])
    return _of(view, forecasters, view.origins_M[chosen])


def one_of_each(few: Sample) -> tuple[NDArray, NDArray]:
    """One error of each window, at a lead picked at random, and the forecast there: [N] each, of windows with any measured.

    Errors are forecast less actual, in standard deviations of their lead and target and less its bias: errors of one window
    hang together and later ones are larger, neither of which is a matter of shape or of level.
    """
    seen = np.isfinite(few.error_MHC)
    count_HC = np.maximum(seen.sum(0), 1)
    mean_HC = np.where(seen, few.error_MHC, 0).sum(0) / count_HC
    centred = np.where(seen, few.error_MHC - mean_HC, 0)
    deviation_HC = np.sqrt((centred**2).sum(0) / count_HC)
    varies_HC = deviation_HC > LEAST_SPREAD * np.abs(few.forecast_MHC).max(0, initial=0)
    scaled = centred / np.where(varies_HC, deviation_HC, 1)
    num = len(seen)
    usable_MX, scaled_MX, level_MX = (
        values.reshape(num, -1) for values in (seen & varies_HC, scaled, few.forecast_MHC)
    )
    lot_MX = np.where(usable_MX, np.random.default_rng(0).random(usable_MX.shape), -1)
    picked_M, row_M = lot_MX.argmax(1), np.arange(num)
    kept_M = usable_MX[row_M, picked_M]
    return scaled_MX[row_M, picked_M][kept_M], level_MX[row_M, picked_M][kept_M]


def _of(view: View, forecasters: Mapping[str, Forecaster], origins_M: NDArray) -> Sample:
    segments, window = view.segments, view.window
    rows = future_rows(origins_M, window.horizon)
    unit_C = np.ones(1) if len(view.deviation_C) == 1 else np.asarray(view.deviation_C)
    actual = np.where(segments.observed_RC[rows] > 0, segments.target_RC[rows], np.nan).astype(np.float64) / unit_C

    def forecast(name: str) -> NDArray:
        model, parts = forecasters[name], [np.empty((0, window.horizon, len(view.deviation_C)))]
        for some in chunks(origins_M, BATCH):
            nearby, origin_M = narrow(segments, some, reach(window) + view.before, window.horizon)
            parts.append(model.forecast_windows(nearby, origin_M, BATCH)[..., median_index(model.quantiles)] / unit_C)
        return np.concatenate(parts)

    mine = forecast(view.policy)
    names, series_S = series_names(segments)
    return Sample(
        error_MHC=mine - actual,
        rival_MHC=forecast(view.rival) - actual,
        forecast_MHC=mine,
        rows_MH=rows,
        step_M=segments.steps(origins_M),
        series_M=series_S[segments.series_of(origins_M)],
        names=names,
        of=len(view.origins_M),
    )
