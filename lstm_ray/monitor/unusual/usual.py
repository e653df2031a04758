"""What is usual, as plain numbers that travel with a policy: how columns go on from step to step, and what forecasts miss.

Made once where a policy is bundled, from the training part and from forecasts of the validation part. No value of either is
kept but the largest scores.
Shapes: R rows, F columns, M windows, H horizon, C targets, Q quantiles.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstm_ray.data.parts import Boundaries
from lstm_ray.data.steps import rows_in
from lstm_ray.data.windows import Segments
from lstm_ray.monitor.unusual.tails import Tail

FEWEST = 50
"""Steps with all that they are expected from, without which nothing is expected of a column."""
TAME = 0.005
"""Share of a column's values, at either end, that expectations are not fitted to."""
THINNEST = 0.1
"""Of the mean width of a target's intervals: narrower ones count as this wide."""


def lead_groups(horizon: int) -> list[tuple[int, int]]:
    """First and last step ahead of up to four groups, each about as long as all before it: errors grow fast at first."""
    ends = sorted({math.ceil(horizon * share) for share in (0.125, 0.25, 0.5, 1.0)})
    return list(zip([1, *(end + 1 for end in ends[:-1])], ends, strict=True))


def values(segments: Segments, bounds: Boundaries, season: int) -> dict[str, Any]:
    """How each column of the training part goes on.

    A value is expected from the one before it, the one a season before and the one before that, by least squares; beside how
    far values lay from there, how many in a row were equal.

    Returns:
        ``{"season", "columns": {name: {"weights", "jump": tail or None, "repeats": tail}}}``; weights are those of the three
        values and a constant.
    """
    schema = segments.schema
    target_RC = segments.target_RC.astype(np.float64)
    measured_RC = (
        segments.observed_RC if segments.observed_RC.shape[1] == target_RC.shape[1] else np.ones_like(target_RC)
    )
    target_RC[measured_RC == 0] = np.nan
    known_RK = segments.known_RK[:, : len(schema.known)]
    value_RF = np.concatenate([target_RC, segments.past_RP, known_RK], axis=1).astype(np.float64)
    value_RF[~rows_in(segments, bounds, "train")] = np.nan
    starts_R = np.zeros(len(value_RF), bool)
    starts_R[segments.bounds[:-1]] = True
    found = {}
    for name, value_R in zip([*schema.target, *schema.past, *schema.known], value_RF.T, strict=True):
        if np.isfinite(value_R).any():
            found[name] = _column(value_R, starts_R, np.asarray(segments.bounds), season)
    return {"season": season, "columns": found}


def _column(value_R: NDArray, starts_R: NDArray, bounds: NDArray, season: int) -> dict[str, Any]:
    since_R = np.arange(len(value_R)) - np.repeat(bounds[:-1], np.diff(bounds))
    lagged_R3 = np.stack([np.where(since_R >= lag, np.roll(value_R, lag), np.nan) for lag in lags(season)], axis=1)
    whole_R = np.isfinite(value_R) & np.isfinite(lagged_R3).all(axis=1)
    weights, jump = [1.0, 0.0, 0.0, 0.0], None
    if whole_R.sum() >= FEWEST:
        given = np.concatenate([lagged_R3[whole_R], np.ones((whole_R.sum(), 1))], axis=1)
        # Squares make much of a few wild values: only steps that hold none are fitted to.
        low, high = np.nanquantile(value_R, [TAME, 1 - TAME])
        steps = np.column_stack([given[:, :-1], value_R[whole_R]])
        tame = ((steps >= low) & (steps <= high)).all(axis=1)
        found = np.linalg.lstsq(given[tame], value_R[whole_R][tame], rcond=None)[0]
        jump = Tail.of(np.abs(value_R[whole_R] - given @ found))
        weights = found.tolist()
    repeats = Tail.of(repeats_of(value_R, starts_R)[np.isfinite(value_R)])
    assert repeats is not None, "columns without a value are left out"
    return {"weights": weights, "jump": jump and jump.as_dict(), "repeats": repeats.as_dict()}


def lags(season: int) -> tuple[int, int, int]:
    """Steps back to the values that the next one is expected from."""
    return (1, season, season + 1)


def repeats_of(value_T: NDArray, starts_T: NDArray) -> NDArray:
    """How many equal values in a row each one ends, [T]; a gap and a start begin anew."""
    new_T = np.ones(len(value_T), bool)
    new_T[1:] = (value_T[1:] != value_T[:-1]) | starts_T[1:]
    at_T = np.arange(len(value_T))
    return (at_T - np.maximum.accumulate(np.where(new_T, at_T, 0)) + 1).astype(np.float64)


def forecasts(
    forecast_MHCQ: NDArray, actual_MHC: NDArray, median: int, names: list[str], scale_C: NDArray
) -> dict[str, Any]:
    """What forecasts of the validation part missed, by target and how far ahead.

    Args:
        forecast_MHCQ: as they are served; ``median`` is the index of their median.
        actual_MHC: NaN where nothing was measured.
        scale_C: mean absolute difference of the training part's values a season apart; NaN where unknown.

    Returns:
        ``{"leads": [[first, last]], "targets": {name: {"scale", "floor", "groups": [{"mae", "coverage", "tail"}]}}}``.
        Scores are errors in widths of the interval's side that they lie on, or in the target's own unit where there is no
        interval.
    """
    middle_MHC = forecast_MHCQ[..., median].astype(np.float64)
    low_MHC, high_MHC = forecast_MHCQ[..., 0], forecast_MHCQ[..., -1]
    has_interval = forecast_MHCQ.shape[-1] > 1
    groups, told = lead_groups(forecast_MHCQ.shape[1]), {}
    for c, name in enumerate(names):
        error_MH = actual_MHC[..., c] - middle_MHC[..., c]
        inside_MH = (actual_MHC[..., c] >= low_MHC[..., c]) & (actual_MHC[..., c] <= high_MHC[..., c])
        low_MH, high_MH = (low_MHC[..., c], high_MHC[..., c]) if has_interval else (None, None)
        floor = THINNEST * float((high_MHC - low_MHC)[..., c].mean()) / 2 if has_interval else 0.0
        score_MH = scores(error_MH, middle_MHC[..., c], low_MH, high_MH, floor)
        own = []
        for first, last in groups:
            error, inside = error_MH[:, first - 1 : last], inside_MH[:, first - 1 : last]
            known, tail = np.isfinite(error), Tail.of(score_MH[:, first - 1 : last])
            own.append(
                {
                    "mae": float(np.abs(error[known]).mean()) if known.any() else None,
                    "coverage": float(inside[known].mean()) if known.any() and has_interval else None,
                    "tail": tail and tail.as_dict(),
                }
            )
        scale = float(scale_C[c]) if np.isfinite(scale_C[c]) and scale_C[c] > 0 else None
        told[name] = {"scale": scale, "floor": floor, "groups": own}
    return {"leads": [list(group) for group in groups], "targets": told}


def scores(
    error: NDArray, median: NDArray, low: NDArray | None = None, high: NDArray | None = None, floor: float = 0.0
) -> NDArray:
    """Errors (actual less median) in widths of the interval's side that they lie on; as they are where there is none."""
    if low is None or high is None:
        found: NDArray = np.abs(error)
        return found
    side = np.where(error > 0, high - median, median - low)
    width: NDArray = np.maximum(np.maximum(side, floor), np.finfo(np.float32).tiny)
    return np.abs(error) / width
