"""What a policy's reference tells of usual values and errors, where it is bundled. Knows policies; serves nothing.

Shapes: M windows, H horizon, C targets, Q quantiles.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lstm_ray.data.parts import Boundaries
from lstm_ray.data.spread import at_common_times
from lstm_ray.data.windows import Segments, origins
from lstm_ray.evaluate.forecasts.metrics import seasonal_scale
from lstm_ray.model.policy import Policy
from lstm_ray.monitor.errors import chance
from lstm_ray.monitor.unusual import usual

MOST_WINDOWS, MOST_VALUES = 4_000, 8_000_000
"""Of the validation part that errors are taken from, and predicted values in them, at most."""
FEWEST_TIMES = 200


def of(policy: Policy, segments: Segments, bounds: Boundaries) -> dict[str, Any]:
    """``{"values": usual.values, "forecasts": usual.forecasts}``; the second of a policy that forecasts, where the validation
    part holds a window. Sequences that are classified whole have no steps to watch, and get nothing."""
    config, schema = policy.config, segments.schema
    if config.task == "classify":
        return {}
    found = {"values": usual.values(segments, bounds, config.window.season)}
    if config.task != "forecast":
        return found
    origin_M = origins(segments, bounds, "validation", config.window)
    most = max(
        1, min(MOST_WINDOWS, MOST_VALUES // (config.window.horizon * len(schema.target) * len(policy.quantiles)))
    )
    if not len(origin_M):
        return found
    origin_M = origin_M[at_common_times(segments.steps(origin_M), most, FEWEST_TIMES)]
    rows_MH = origin_M[:, None] + np.arange(1, config.window.horizon + 1)
    actual_MHC = np.where(segments.observed_RC[rows_MH] > 0, segments.target_RC[rows_MH].astype(np.float64), np.nan)
    forecast_MHCQ = policy.forecast_windows(segments, origin_M)
    scale_NC = seasonal_scale(segments, bounds, config.window.season)
    known_C = np.isfinite(scale_NC).any(axis=0)
    scale_C = np.where(known_C, np.nansum(scale_NC, axis=0) / np.maximum(np.isfinite(scale_NC).sum(axis=0), 1), np.nan)
    median = policy.quantiles.index(0.5)
    told = usual.forecasts(forecast_MHCQ, actual_MHC, median, schema.target, scale_C)
    series_M, step_M = segments.series_of(origin_M), segments.steps(origin_M)
    for c, own in enumerate(told["targets"].values()):
        mae_H = np.full(config.window.horizon, np.nan)
        for (first, last), group in zip(told["leads"], own["groups"], strict=True):
            mae_H[first - 1 : last] = group["mae"] or np.nan
        wrong_MH = np.abs(actual_MHC[..., c] - forecast_MHCQ[..., c, median])
        own["spread"] = chance.spread(wrong_MH / mae_H, series_M, step_M)
    return found | {"forecasts": told}
