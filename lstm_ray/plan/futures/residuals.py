"""What a policy's forecasts of the validation part missed, as score trajectories that futures are drawn from.

Shapes: M windows, R trajectories of them, H horizon, C targets, Q quantiles.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lstm_ray.data.parts import Boundaries, Part
from lstm_ray.data.scaling import units
from lstm_ray.data.schema import Own, Scaler
from lstm_ray.data.spread import at_common_times
from lstm_ray.data.windows import Segments, origins
from lstm_ray.errors import InputError
from lstm_ray.model.policy import Policy
from lstm_ray.model.residuals import FEWEST_TIMES, Residuals
from lstm_ray.plan.futures import scores
from lstm_ray.plan.futures.starts import actual_after

__all__ = ["Residuals", "errors_of", "learned_quantiles", "residuals_of"]
MOST_WINDOWS, MOST_VALUES = 4_000, 16_000_000
"""A library holds no more trajectories, whatever the number of series, and no more numbers (64 MB) in all."""
ENOUGH_WHOLE, ENOUGH_HALF = 0.75, 0.25
"""Shares of windows measured at every step, or at half of them, from which the others are left out. Few whole windows are no
better than many with holes: a series would borrow errors of other times and hours, and its paths would be far too wide."""
GRAIN = 1e-5
"""What two values must differ by to be told apart, in the units that targets are told in."""


def errors_of(policy: Policy, segments: Segments, bounds: Boundaries, part: Part = "validation") -> Residuals:
    """The library of a policy: evenly spread windows of the validation part (or another), every series at the same times
    where there are not too many. Raises InputError where the part holds no whole window."""
    window, schema = policy.config.window, segments.schema
    rows = origins(segments, bounds, part, window)
    if not len(rows):
        first, end = bounds[part]
        raise InputError(
            f"the {part} part, {end - first} steps, holds no whole window of {window.history} + {window.horizon} steps, "
            f"so there are no forecast errors to sample futures from; give split.{part} more, or set window.horizon lower"
        )
    number = max(1, min(MOST_WINDOWS, MOST_VALUES // (window.horizon * len(schema.target))))
    chosen = rows[at_common_times(segments.steps(rows), number, FEWEST_TIMES)]
    levels = policy.path_levels
    forecast_MHCQ = policy.forecast_windows(segments, chosen, levels=levels)
    counts = policy.config.model.distribution == "negative_binomial"
    return residuals_of(forecast_MHCQ, levels, segments, chosen, policy.scaler, counts=counts)


def residuals_of(
    forecast_MHCQ: NDArray,
    levels: Sequence[float],
    segments: Segments,
    origin_M: NDArray,
    scaler: Scaler,
    *,
    counts: bool = False,
) -> Residuals:
    """Score trajectories of windows that were measured. Nothing is centred: where forecasts lay too low, so do not the paths.

    Args:
        forecast_MHCQ: in the data's own units.
        levels: of its quantiles; one alone is a point forecast.
        origin_M: rows of unscaled segments.
        counts: values are whole numbers, of which many may be alike.
    """
    actual_MHC, observed_MHC = actual_after(segments, origin_M, forecast_MHCQ.shape[1])
    measured_MHC = observed_MHC > 0
    kept = _well_measured(measured_MHC)
    own = units.of_histories(segments, origin_M[kept], scaler)
    actual_RHC, forecast_RHCQ = actual_MHC[kept], forecast_MHCQ[kept]
    if len(levels) == 1:
        score_RHC = scaler.difference(actual_RHC, forecast_RHCQ[..., 0], own)
    else:
        actual_RHC = actual_RHC if scaler.transform is None else scaler.transform.apply(actual_RHC)
        grain = _grain(scaler, own, counts)
        score_RHC = scores.scores(actual_RHC, learned_quantiles(forecast_RHCQ, scaler), levels, grain, seed=0)
    score_RHC = _with_holes_filled(score_RHC, measured_MHC[kept]).astype(np.float32)
    names, series_R = np.unique(np.array(segments.series)[segments.series_of(origin_M[kept])], return_inverse=True)
    step_R = segments.steps(origin_M[kept])
    order = np.lexsort((series_R, step_R))
    return Residuals(
        levels=tuple(levels),
        score_RHC=score_RHC[order],
        step_R=step_R[order].astype(np.int64),
        series_R=series_R[order].astype(np.int64),
        names=[str(name) for name in names],
    )


def learned_quantiles(forecast: NDArray, scaler: Scaler) -> NDArray:
    """Quantile forecasts [..., C, Q] as they are learned, where widths mean the same at any level; ascending."""
    if scaler.transform is not None:
        forecast = scaler.transform.apply(forecast.swapaxes(-1, -2)).swapaxes(-1, -2)
    crossing = (forecast[..., 1:] < forecast[..., :-1]).any()
    return np.sort(forecast, axis=-1) if crossing else forecast


def _well_measured(measured_MHC: NDArray) -> NDArray:
    """Windows measured at every step, where enough are; else those measured at half of them, else at any; all of none."""
    share_M = measured_MHC.mean(axis=(1, 2))
    for least, enough in ((1.0, ENOUGH_WHOLE), (0.5, ENOUGH_HALF), (1e-9, 0.0)):
        kept: NDArray = np.flatnonzero(share_M >= least)
        if len(kept) and len(kept) >= enough * len(share_M):
            return kept
    return np.arange(len(share_M))


def _with_holes_filled(score_RHC: NDArray, measured_RHC: NDArray) -> NDArray:
    """Scores where nothing was measured, on the line between the neighbours in the same trajectory."""
    filled = score_RHC.copy()
    for r, c in np.argwhere(~measured_RHC.all(axis=1)):
        there = np.flatnonzero(measured_RHC[r, :, c])
        if len(there):
            filled[r, :, c] = np.interp(np.arange(filled.shape[1]), there, score_RHC[r, there, c])
    return filled


def _grain(scaler: Scaler, own: Own | None, counts: bool) -> NDArray:
    """What two learned values must differ by to be told apart, in a shape that meets [R, H, C]."""
    if counts:
        return np.ones(1)
    unit: NDArray = scaler.units("target")[1] if own is None else own.across(3)[1]
    return GRAIN * unit
