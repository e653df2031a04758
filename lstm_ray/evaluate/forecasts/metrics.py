"""Forecast errors as sums and counts that add over batches, workers and groups. Knows arrays; knows no model or file.

Legend: M windows, H horizon, C target channels, Q quantiles, G groups.
Only measured steps count: where ``observed`` is 0 the actual value was imputed and nothing is learned from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lstm_ray.data.parts import Boundaries
from lstm_ray.data.steps import rows_in
from lstm_ray.data.windows import Segments
from lstm_ray.evaluate.gather import series_names

POINT_METRICS = ("mae", "mse", "rmse", "bias", "smape", "wape", "mase")
QUANTILE_METRICS = ("pinball", "weighted_quantile_loss", "coverage", "interval_width")
VALUES_AT_A_TIME = 100_000
"""Steps whose statistics are held at once: what fits the processor's cache is three times as fast."""
UNITLESS = ("count", "symmetric", "scaled", "scaled_count", "inside")


@dataclass(frozen=True)
class ForecastSums:
    """Sums over measured steps, by group and channel. ``a + b`` is what one pass over both would have given."""

    quantiles: tuple[float, ...]
    sums: dict[str, NDArray]
    """Each float64 [G, C]: counts and sums of the statistics that ``_statistics`` names."""

    def __add__(self, other: ForecastSums) -> ForecastSums:
        assert self.quantiles == other.quantiles, f"quantiles differ: {self.quantiles} and {other.quantiles}"
        return ForecastSums(self.quantiles, {name: value + other.sums[name] for name, value in self.sums.items()})

    def total(self) -> ForecastSums:
        """All groups as one."""
        return ForecastSums(self.quantiles, {name: v.sum(axis=0, keepdims=True) for name, v in self.sums.items()})

    def by_channel(self) -> ForecastSums:
        """The channels as groups, all groups of each as one."""
        return ForecastSums(self.quantiles, {name: v.sum(axis=0)[:, None] for name, v in self.sums.items()})

    @property
    def has_interval(self) -> bool:
        return len(self.quantiles) > 1

    def columns(self) -> dict[str, NDArray]:
        """Every metric as float64 [G], channels pooled. An empty group is NaN here, to be drawn as a hole; ``metrics``
        and ``rows`` give None in its place.

        mae, mse, rmse, bias (forecast minus actual), interval_width and pinball are in the data's own units. smape is
        in percent, per step and 0 where forecast and actual are both 0 (Makridakis et al. 2020, the M4 competition).
        mase divides each error by the seasonal naive's mean absolute error on that series' training part (Hyndman and
        Koehler 2006); steps of series without such a scale are left out of it alone. wape is the sum of absolute errors
        over the sum of absolute actuals. weighted_quantile_loss is the mean over quantiles of twice the pinball loss
        over the sum of absolute actuals (Salinas et al. 2020). coverage is the share of actuals inside the outermost
        quantiles.
        """
        sums = {name: value.sum(axis=1) for name, value in self.sums.items()}
        count = sums["count"]
        found = {
            "mae": _ratio(sums["absolute"], count),
            "mse": _ratio(sums["squared"], count),
            "rmse": np.sqrt(_ratio(sums["squared"], count)),
            "bias": _ratio(sums["error"], count),
            "smape": 100 * _ratio(sums["symmetric"], count),
            "wape": _ratio(sums["absolute"], sums["actual"]),
            "mase": _ratio(sums["scaled"], sums["scaled_count"]),
        }
        if self.has_interval:
            pinball = np.mean([sums[_pinball(q)] for q in self.quantiles], axis=0)
            found["pinball"] = _ratio(pinball, count)
            found["weighted_quantile_loss"] = _ratio(2 * pinball, sums["actual"])
            found["coverage"] = _ratio(sums["inside"], count)
            found["interval_width"] = _ratio(sums["width"], count)
        return found

    def metrics(self) -> dict[str, float | None]:
        """Every metric over all groups and channels; None where there is nothing to divide by."""
        return {name: _plain(values[0]) for name, values in self.total().columns().items()}

    def rows(self, metric: str) -> list[float | None]:
        """One metric by group, None for empty groups."""
        return [_plain(value) for value in self.columns()[metric]]

    def in_units_of(self, unit_C: NDArray) -> ForecastSums:
        """The same sums with each channel's values divided by its unit, such as its training deviation."""
        unit = np.asarray(unit_C, dtype=np.float64)
        powers = {name: 0 if name in UNITLESS else 1 for name in self.sums} | {"squared": 2}
        return ForecastSums(self.quantiles, {name: v / unit ** powers[name] for name, v in self.sums.items()})

    def scaled(self, deviation_C: NDArray) -> dict[str, float | None]:
        """mse and mae on values standardised with the training part's deviation (its mean cancels in an error)."""
        found = self.in_units_of(deviation_C).metrics()
        return {name: found[name] for name in ("mse", "mae")}


def forecast_sums(
    actual_MHC: NDArray,
    observed_MHC: NDArray,
    forecast_MHCQ: NDArray,
    quantiles: Sequence[float],
    scale_MC: NDArray,
    groupings: dict[str, tuple[NDArray, int]],
) -> dict[str, ForecastSums]:
    """The sums of a batch under several groupings at once.

    Args:
        observed_MHC: 1 where the actual value was measured, 0 where it was imputed (and may be NaN).
        quantiles: levels of the last axis, ascending, with the median among them; [0.5] for a point forecast.
        scale_MC: in-sample seasonal naive error of each window's series (``seasonal_scale``), NaN where unknown.
        groupings: name -> (group index, int, broadcastable to [M, H]; number of groups).
    """
    levels = tuple(float(q) for q in quantiles)
    found: dict[str, ForecastSums] = {}
    size = max(1, VALUES_AT_A_TIME // max(1, actual_MHC[:1].size))
    for first in range(0, max(len(actual_MHC), 1), size):
        some = slice(first, first + size)
        statistics = _statistics(actual_MHC[some], observed_MHC[some], forecast_MHCQ[some], quantiles, scale_MC[some])
        for name, (group, num) in groupings.items():
            group = group if len(group) == 1 else group[some]
            sums = ForecastSums(levels, {key: _by_group(value, group, num) for key, value in statistics.items()})
            found[name] = found[name] + sums if name in found else sums
    return found


def median_index(quantiles: Sequence[float]) -> int:
    """Where the point forecast stands among the quantiles."""
    return int(np.argmin(np.abs(np.asarray(quantiles) - 0.5)))


def seasonal_scale(segments: Segments, parts: Boundaries, season: int) -> NDArray:
    """Mean absolute seasonal difference of each series' training part: MASE's denominator (Hyndman and Koehler 2006).

    A dealt series has no training part of its own where another part holds it: its unit of error is that of all its steps.

    Returns:
        float64 [N, C], series in the order of ``series_names``; NaN where a series has no two measured training steps a
        season apart, or never changes.
    """
    names, series_S = series_names(segments)
    num, channels = len(names), segments.target_RC.shape[1]
    row = np.arange(len(segments.target_RC))
    segment_R = segments.series_of(row)
    inside_R = rows_in(segments, parts, "train") if segments.part_S is None else np.ones(len(row), dtype=bool)
    together = inside_R[season:] & inside_R[:-season] & (segment_R[season:] == segment_R[:-season])
    later = season + np.flatnonzero(together)
    both = (segments.observed_RC[later] > 0) & (segments.observed_RC[later - season] > 0)
    difference = np.abs(segments.target_RC[later].astype(np.float64) - segments.target_RC[later - season])
    cell = (series_S[segment_R[later], None] * channels + np.arange(channels)).ravel()
    total = np.bincount(cell, weights=(difference * both).ravel(), minlength=num * channels)
    count = np.bincount(cell, weights=both.ravel(), minlength=num * channels)
    scale = _ratio(total, count).reshape(num, channels)
    return np.where(scale > 0, scale, np.nan)


def _statistics(
    actual_MHC: NDArray, observed_MHC: NDArray, forecast_MHCQ: NDArray, quantiles: Sequence[float], scale_MC: NDArray
) -> dict[str, NDArray]:
    """What is summed, step by step: float64 [M, H, C] each, 0 where nothing was measured."""
    seen = observed_MHC > 0
    actual = np.where(seen, actual_MHC, 0).astype(np.float64)
    forecast = np.where(seen, forecast_MHCQ[..., median_index(quantiles)], 0).astype(np.float64)
    error = forecast - actual
    absolute, size = np.abs(error), np.abs(actual)
    scale = scale_MC[:, None, :]
    has_scale = seen & np.isfinite(scale)
    found = {
        "count": seen.astype(np.float64),
        "error": error,
        "absolute": absolute,
        "squared": error * error,
        "actual": size,
        "symmetric": 2 * _ratio(absolute, size + np.abs(forecast), empty=0.0),
        "scaled": np.where(has_scale, absolute / np.where(has_scale, scale, 1), 0),
        "scaled_count": has_scale.astype(np.float64),
    }
    if len(quantiles) > 1:
        for index, level in enumerate(quantiles):
            short = np.where(seen, actual - forecast_MHCQ[..., index], 0)
            found[_pinball(level)] = np.maximum(level * short, (level - 1) * short)
        low, high = forecast_MHCQ[..., 0], forecast_MHCQ[..., -1]
        found["inside"] = (seen & (low <= actual) & (actual <= high)).astype(np.float64)
        found["width"] = np.where(seen, high - low, 0).astype(np.float64)
    return found


def _pinball(level: float) -> str:
    return f"pinball {level:g}"


def _by_group(values_MHC: NDArray, group_MH: NDArray, num_groups: int) -> NDArray:
    """Sum [M, H, C] -> [G, C]; an axis that the group does not depend on is summed first."""
    if group_MH.shape[0] == 1:
        values_MHC = values_MHC.sum(axis=0, keepdims=True)
    if group_MH.shape[1] == 1:
        values_MHC = values_MHC.sum(axis=1, keepdims=True)
    channels = values_MHC.shape[2]
    cell = group_MH[..., None] * channels + np.arange(channels)
    flat = np.bincount(cell.ravel(), weights=values_MHC.ravel(), minlength=num_groups * channels)
    return flat.reshape(num_groups, channels)


def _ratio(top: NDArray, bottom: NDArray, empty: float = np.nan) -> NDArray:
    bottom = np.asarray(bottom)
    return np.where(bottom == 0, empty, np.asarray(top) / np.where(bottom == 0, 1, bottom))


def _plain(value: NDArray | float) -> float | None:
    return float(value) if np.isfinite(value) else None
