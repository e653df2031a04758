"""Windows, what a policy forecasts of them before any calibration, and what came. Knows no files.

Shapes: M windows, H horizon, C targets, Q quantiles.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lstm_ray.data.lags import reach
from lstm_ray.data.quality.clean import lookback
from lstm_ray.data.scaling import units
from lstm_ray.data.schema import Own, Scaler
from lstm_ray.data.spread import at_common_times
from lstm_ray.data.windows import Segments, chunks
from lstm_ray.evaluate.gather import Forecaster, future_rows, narrow, series_names
from lstm_ray.model import conformal
from lstm_ray.model.policy import Policy
from lstm_ray.sections.model import ModelConfig

MOST_WINDOWS, MOST_VALUES = 4_000, 8_000_000
"""A sample holds no more windows, and no more quantiles of steps ahead, in all."""
FEWEST_TIMES = 200
"""Times that are kept before series are left out."""


@dataclass(frozen=True)
class Sample:
    """Some windows, every series at the same times where there are not too many."""

    levels: tuple[float, ...]
    scaled_MHCQ: NDArray
    """Forecasts as the network gives them, in the units that it learns."""
    actual_MHC: NDArray
    """In the data's own units; NaN where nothing was measured."""
    step_M: NDArray
    """Of each origin, on the common time axis."""
    series_M: NDArray
    """Into ``names``."""
    names: list[str]
    scaler: Scaler
    own: Own | None
    model: ModelConfig
    of: int
    """Windows that these were taken from."""

    def score(self, floor_C: NDArray) -> NDArray:
        """Widths by which actual values lie above each quantile, [M, H, C, Q]."""
        actual_MHC = conformal.scaled(self.actual_MHC, self.scaler, self.own)
        return conformal.scores(actual_MHC, self.scaled_MHCQ, floor_C)

    def forecast(self, shift: NDArray | None, floor_C: NDArray) -> NDArray:
        """Quantiles in the data's own units, each moved by so many widths ([H, C, Q] or [M, H, C, Q]; None: not at all)."""
        if shift is None:
            return self.scaler.unscale(self.scaled_MHCQ, quantile_axis=True, own=self.own)
        moved_MHCQ = conformal.moved(self.scaled_MHCQ, shift, floor_C, self.levels)
        return conformal.told(
            self.scaler.unscale(moved_MHCQ, quantile_axis=True, own=self.own), self.model, self.levels
        )


def sampled(policy: Forecaster, segments: Segments, origins_M: NDArray, scaler: Scaler, batch: int = 512) -> Sample:
    """Evenly spread windows of these, at most MOST_WINDOWS, and a policy's uncalibrated forecasts of them.

    Args:
        origins_M: at least one.
        policy: any other than a Policy forecasts what it forecasts.
    """
    levels = tuple(policy.quantiles)
    if isinstance(policy, Policy):
        model, horizon = policy.config.model, policy.config.window.horizon
        number = max(1, min(MOST_WINDOWS, MOST_VALUES // (horizon * len(segments.schema.target) * len(levels))))
    else:
        model, number = ModelConfig(), MOST_WINDOWS
    chosen = origins_M[at_common_times(segments.steps(origins_M), number, FEWEST_TIMES)]
    if isinstance(policy, Policy):
        forecast_MHCQ = _uncalibrated(policy, segments, chosen, batch)
    else:
        forecast_MHCQ = policy.forecast_windows(segments, chosen, batch)
    rows = future_rows(chosen, forecast_MHCQ.shape[1])
    own = units.of_histories(segments, chosen, scaler)
    names, series_S = series_names(segments)
    return Sample(
        levels=levels,
        scaled_MHCQ=conformal.scaled(forecast_MHCQ, scaler, own, quantile_axis=True).astype(np.float32),
        actual_MHC=np.where(segments.observed_RC[rows] > 0, segments.target_RC[rows], np.nan),
        step_M=segments.steps(chosen),
        series_M=series_S[segments.series_of(chosen)],
        names=names,
        scaler=scaler,
        own=own,
        model=model,
        of=len(origins_M),
    )


def _uncalibrated(policy: Policy, segments: Segments, origins_M: NDArray, batch: int) -> NDArray:
    """A policy's forecasts as its network gives them; no more than the rows between a batch's windows are scaled at a time."""
    window, found = policy.config.window, []
    for some in chunks(origins_M, batch):
        nearby, origin_M = narrow(segments, some, reach(window) + lookback(policy.scaler), window.horizon)
        found.append(policy.forecast_windows(nearby, origin_M, batch, levels=policy.quantiles))
    return np.concatenate(found)
