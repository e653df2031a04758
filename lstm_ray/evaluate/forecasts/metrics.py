"""Forecast errors as sums and counts that add over batches, workers and groups, and the metrics these make. Knows arrays;
knows no model or file.

Legend: M windows, H horizon, C target channels, Q quantiles, G groups.
Only measured steps count: where a value was imputed nothing is learned from it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lstm_ray.data.parts import Boundaries
from lstm_ray.data.steps import rows_in
from lstm_ray.data.windows import Segments
from lstm_ray.evaluate.gather import series_names

POINT_METRICS = ("mae", "mse", "rmse", "bias", "mape", "smape", "wape", "mase", "rmsse")
QUANTILE_METRICS = ("pinball", "weighted_quantile_loss", "crps", "coverage", "interval_width", "msis")
POWERS = {"error": 1, "absolute": 1, "squared": 2, "actual": 1, "width": 1}
"""Of the unit, in the sums that have one (and in every pinball loss); the others are counts and ratios."""


@dataclass(frozen=True)
class ForecastSums:
    """Sums over measured steps, by group and channel. ``a + b`` is what one pass over both would have given."""

    quantiles: tuple[float, ...]
    sums: dict[str, NDArray]
    """Each float64 [G, C]: counts and sums of the statistics that ``layout.TRUTH`` and ``sums.names_of`` name."""

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

        In the data's own units: mae, mse, rmse, bias (forecast minus actual), pinball (mean over levels), interval_width and
        crps, the integral over levels of twice the pinball loss (Gneiting and Ranjan 2011) by trapezoids between the levels
        there are and 0 at levels 0 and 1: a little low where levels are few, 12 % for three of a normal distribution. It is
        the mae of a point forecast, and not said of one.

        In percent: smape, per step and 0 where forecast and actual are both 0 (Makridakis et al. 2020, the M4 competition),
        and mape, which leaves out the steps whose actual value is 0 (``zero_actuals``) and means little near them.

        Against the seasonal naive on each series' training part: mase by its mean absolute error (Hyndman and Koehler 2006),
        rmsse by its root mean squared error (as the M5 competition, but pooled over all steps), and msis, the score of the
        outermost interval by its mean absolute error (M4; Gneiting and Raftery 2007). Steps of series without such a scale
        are left out of these three alone.

        As a share: wape is the sum of absolute errors over the sum of absolute actuals; weighted_quantile_loss the mean over
        levels of twice the pinball loss over the latter (Salinas et al. 2020); coverage is of actuals inside the outermost
        quantiles.
        """
        sums = {name: value.sum(axis=1) for name, value in self.sums.items()}
        count, scaled_count = sums["count"], sums["scaled_count"]
        # Errors that are scaled are squared, too, unless nobody gave the unit.
        no_square = (sums["scaled_squared"] == 0) & (sums["scaled"] > 0)
        found = {
            "mae": _ratio(sums["absolute"], count),
            "mse": _ratio(sums["squared"], count),
            "rmse": np.sqrt(_ratio(sums["squared"], count)),
            "bias": _ratio(sums["error"], count),
            "mape": 100 * _ratio(sums["percentage"], sums["nonzero"]),
            "smape": 200 * _ratio(sums["symmetric"], count),
            "wape": _ratio(sums["absolute"], sums["actual"]),
            "mase": _ratio(sums["scaled"], scaled_count),
            "rmsse": np.sqrt(np.where(no_square, np.nan, _ratio(sums["scaled_squared"], scaled_count))),
        }
        if self.has_interval:
            losses_QG = np.stack([sums[pinball(q)] for q in self.quantiles])
            found["pinball"] = _ratio(losses_QG.mean(axis=0), count)
            found["weighted_quantile_loss"] = _ratio(2 * losses_QG.mean(axis=0), sums["actual"])
            found["crps"] = _ratio(2 * _shares(self.quantiles) @ losses_QG, count)
            found["coverage"] = _ratio(sums["inside"], count)
            found["interval_width"] = _ratio(sums["width"], count)
            found["msis"] = _ratio(sums["scaled_interval"], scaled_count)
        return found

    def shares_below(self) -> NDArray:
        """Share of actual values at or below each level's forecast, float64 [G, Q], channels pooled, NaN in an empty group: the
        level itself where quantiles are right. Of a point forecast none, [G, 0]."""
        levels = self.quantiles if self.has_interval else ()
        count = self.sums["count"].sum(axis=1)
        shares = [_ratio(self.sums[below(q)].sum(axis=1), count) for q in levels]
        return np.stack(shares, axis=1) if shares else np.empty((len(count), 0))

    @property
    def zero_actuals(self) -> int:
        """Measured steps whose actual value is 0, which mape leaves out."""
        return int(self.sums["count"].sum() - self.sums["nonzero"].sum())

    def metrics(self) -> dict[str, float | None]:
        """Every metric over all groups and channels; None where there is nothing to divide by."""
        return {name: _plain(values[0]) for name, values in self.total().columns().items()}

    def rows(self, metric: str) -> list[float | None]:
        """One metric by group, None for empty groups."""
        return [_plain(value) for value in self.columns()[metric]]

    def in_units_of(self, unit_C: NDArray) -> ForecastSums:
        """The same sums with each channel's values divided by its unit, such as its training deviation."""
        unit = np.asarray(unit_C, dtype=np.float64)
        powers = POWERS | {pinball(q): 1 for q in self.quantiles}
        return ForecastSums(self.quantiles, {name: v / unit ** powers.get(name, 0) for name, v in self.sums.items()})

    def scaled(self, deviation_C: NDArray) -> dict[str, float | None]:
        """mse and mae on values standardised with the training part's deviation (its mean cancels in an error)."""
        found = self.in_units_of(deviation_C).metrics()
        return {name: found[name] for name in ("mse", "mae")}


def pinball(level: float) -> str:
    """The name of a level's sum of pinball losses."""
    return f"pinball {level:g}"


def below(level: float) -> str:
    """The name of the count of actual values at or below a level's forecast."""
    return f"below {level:g}"


def owa(own: Mapping[str, float | None], naive: Mapping[str, float | None]) -> float | None:
    """Overall weighted average: the mean of smape and mase, each as a ratio to a seasonal naive's on the same windows. M4
    divides by Naive2, which is fitted series by series (Makridakis et al. 2020). None where a ratio is undefined."""
    ratios = []
    for metric in ("smape", "mase"):
        top, bottom = own.get(metric), naive.get(metric)
        if top is None or not bottom:
            return None
        ratios.append(top / bottom)
    return sum(ratios) / len(ratios)


def median_index(quantiles: Sequence[float]) -> int:
    """Where the point forecast stands among the quantiles."""
    return int(np.argmin(np.abs(np.asarray(quantiles) - 0.5)))


def seasonal_scale(segments: Segments, parts: Boundaries, season: int, power: int = 1) -> NDArray:
    """Mean absolute seasonal difference of each series' training part: MASE's denominator (Hyndman and Koehler 2006); with
    ``power`` 2 the root of the mean square: RMSSE's.

    A dealt series has no training part of its own where another part holds all of it: its unit is that of all its steps.

    Returns:
        float64 [N, C], series in the order of ``series_names``; NaN where a series has no two measured training steps a
        season apart, or never changes.
    """
    names, series_S = series_names(segments)
    num, channels = len(names), segments.target_RC.shape[1]
    row = np.arange(len(segments.target_RC))
    segment_R = segments.series_of(row)
    if segments.part_S is None:
        inside_R = rows_in(segments, parts, "train")
    else:
        train_S = segments.held_by("train")
        known_N = np.bincount(series_S[train_S], minlength=num) > 0
        inside_R = (train_S | ~known_N[series_S])[segment_R]
    together = inside_R[season:] & inside_R[:-season] & (segment_R[season:] == segment_R[:-season])
    later = season + np.flatnonzero(together)
    both = (segments.observed_RC[later] > 0) & (segments.observed_RC[later - season] > 0)
    difference = np.abs(segments.target_RC[later].astype(np.float64) - segments.target_RC[later - season])
    cell = (series_S[segment_R[later], None] * channels + np.arange(channels)).ravel()
    total = np.bincount(cell, weights=(difference**power * both).ravel(), minlength=num * channels)
    count = np.bincount(cell, weights=both.ravel(), minlength=num * channels)
    scale = _ratio(total, count).reshape(num, channels) ** (1 / power)
    return np.where(scale > 0, scale, np.nan)


def _shares(quantiles: Sequence[float]) -> NDArray:
    """The trapezoids' weight of each level: half the way between its neighbours, the ends being levels 0 and 1."""
    ends = np.concatenate([[0.0], quantiles, [1.0]])
    return (ends[2:] - ends[:-2]) / 2


def _ratio(top: NDArray, bottom: NDArray, empty: float = np.nan) -> NDArray:
    bottom = np.asarray(bottom)
    return np.where(bottom == 0, empty, np.asarray(top) / np.where(bottom == 0, 1, bottom))


def _plain(value: NDArray | float) -> float | None:
    return float(value) if np.isfinite(value) else None
