"""Whether the trained policy owes errors that are too small to be true to one input: that input is dealt anew among windows.

On the validation part; the test part is not read. Legend: M windows, H horizon, C target channels.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lstm_ray.data.lags import reach
from lstm_ray.data.parts import Boundaries
from lstm_ray.data.schema import Scaler
from lstm_ray.data.windows import Segments, origins
from lstm_ray.evaluate.audit.checks import Check
from lstm_ray.evaluate.forecasts.baselines import fit_ridge
from lstm_ray.evaluate.forecasts.metrics import median_index
from lstm_ray.evaluate.forecasts.statistical import spread
from lstm_ray.evaluate.gather import Forecaster, cut_out, future_rows
from lstm_ray.evaluate.words import number, percent
from lstm_ray.sections.prepare import WindowConfig

NAME = "what the policy owes to one input"
WINDOWS = 128
TOO_GOOD = 0.35
"""Share of the ridge's error below which a policy's own, at some lead, is looked into."""
MEASURED = 30
"""Values of a lead below which its error says little."""


def of_forecasts(
    policy: Forecaster,
    segments: Segments,
    parts: Boundaries,
    window: WindowConfig,
    scaler: Scaler,
    before: int,
    seed: int,
) -> Check:
    """Each past and known column dealt anew; caught where a lead's error is far below the ridge's with it and not without."""
    schema = segments.schema
    names = [*schema.past, *schema.known]
    if not names:
        return Check(NAME, "left out", "There are no inputs beside the targets and the calendar.")
    chosen_M = spread(origins(segments, parts, "validation", window), WINDOWS, seed)
    cut, row_M = cut_out(segments, chosen_M, reach(window) + before, window.horizon)
    whole = np.diff(cut.bounds).max() == np.diff(cut.bounds)
    cut, row_M = (cut, row_M) if whole.all() else _whole(cut, window.horizon)
    if len(row_M) < 2:
        return Check(NAME, "left out", "The validation part holds fewer than two windows.")
    intact_H = _error(policy, cut, row_M, window)
    ridge_H = _error(fit_ridge(segments, parts, window, scaler), cut, row_M, window)
    order = np.random.default_rng(seed).permutation(len(row_M))
    without = {name: _error(policy, _dealt(cut, name, order), row_M, window) for name in names}
    with np.errstate(divide="ignore", invalid="ignore"):
        best_H, worst = intact_H / ridge_H, {name: error_H / ridge_H for name, error_H in without.items()}
    details = {
        "windows": len(row_M),
        "of_ridge": _plain(best_H),
        "of_ridge_without": {name: _plain(share_H) for name, share_H in worst.items()},
    }
    caught = {
        name: int(np.flatnonzero(found)[0])
        for name, share_H in worst.items()
        if (found := (best_H < TOO_GOOD) & (share_H > 2 * TOO_GOOD)).any()
    }
    if caught:
        said = "; ".join(
            f"{h + 1:,} steps ahead its mean absolute error is {number(float(intact_H[h]))}, {percent(float(best_H[h]))} of "
            f"the ridge's, and {number(float(without[name][h]))} with '{name}' of other windows"
            for name, h in caught.items()
        )
        text = f"On {len(row_M):,} windows of the validation part, {said}. No honest input is worth that much."
        advice = "Look at when each value of " + ", ".join(f"'{name}'" for name in caught) + " becomes known."
        return Check(NAME, "failed", text, advice, {**details, "caught": sorted(caught)})
    costs = {name: float(np.nanmean(error_H) / np.nanmean(intact_H)) - 1 for name, error_H in without.items()}
    most = max(costs, key=lambda name: costs[name])
    worth = f"at most {percent(costs[most])} more error ('{most}')" if costs[most] > 0 else "no error"
    text = (
        f"On {len(row_M):,} windows of the validation part its error is {percent(float(np.nanmin(best_H)))} of the ridge's at "
        f"the best lead; taking one input from other windows costs {worth}."
    )
    return Check(NAME, "passed", text, details={**details, "caught": []})


def _whole(cut: Segments, horizon: int) -> tuple[Segments, NDArray]:
    """The windows that reach back as far as the longest, so that their columns can change places."""
    length = np.diff(cut.bounds)
    kept = np.flatnonzero(length == length.max())
    found = cut.stretches(np.stack([cut.bounds[:-1][kept], cut.bounds[1:][kept]], axis=1))
    return found, found.bounds[1:] - horizon - 1


def _dealt(cut: Segments, name: str, order: NDArray) -> Segments:
    """One column's values of every window taken from another one."""
    past = name in cut.schema.past
    values_RF = (cut.past_RP if past else cut.known_RK).copy()
    f = (cut.schema.past if past else cut.schema.known).index(name)
    values_RF[:, f] = values_RF[:, f].reshape(len(order), -1)[order].ravel()
    return replace(cut, past_RP=values_RF) if past else replace(cut, known_RK=values_RF)


def _error(policy: Forecaster, cut: Segments, row_M: NDArray, window: WindowConfig) -> NDArray:
    """Mean absolute error by lead, targets pooled in their own deviations here, NaN where too little was measured; [H]."""
    rows = future_rows(row_M, window.horizon)
    forecast_MHC = policy.forecast_windows(cut, row_M)[..., median_index(policy.quantiles)]
    seen = cut.observed_RC[rows] > 0
    unit_C = np.maximum(cut.target_RC.std(axis=0), 1e-12)
    error = np.where(seen, np.abs(forecast_MHC - cut.target_RC[rows]) / unit_C, 0).sum(axis=(0, 2), dtype=np.float64)
    count = seen.sum(axis=(0, 2))
    pooled = unit_C[0] if len(unit_C) == 1 else 1.0
    return np.where(count >= MEASURED, pooled * error / np.maximum(count, 1), np.nan)


def _plain(share_H: NDArray) -> list[float | None]:
    return [float(share) if np.isfinite(share) else None for share in share_H]
