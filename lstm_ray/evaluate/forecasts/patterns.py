"""Where and when forecasts err, in sentences with numbers. Knows scores; knows no model, no files and no figures.

Legend: M windows, C target channels, G groups.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lstm_ray.evaluate.forecasts.view import View
from lstm_ray.evaluate.gather import series_names
from lstm_ray.evaluate.words import number, percent
from lstm_ray.run_dir import Finding

SHOWN_SERIES = 20
"""Series named at either end of the ranking."""
MIN_PAIRS = 30
"""Residuals needed to speak of their correlation."""
LARGE_BIAS, LARGE_CORRELATION, UNEVEN_HOURS, LARGE_TAIL, WRONG_COVERAGE = 0.25, 0.3, 1.5, 0.25, 0.05
"""Beyond these a finding comes with advice."""


def findings(view: View) -> list[Finding]:
    """Every pattern that the scores show, most general first."""
    found = [_horizon(view), _bias(view), _hours(view), _series(view), _correlations(view), _worst(view)]
    return [finding for finding in (*found, _coverage(view)) if finding is not None]


def ranked_series(view: View) -> tuple[list[str], NDArray, bool]:
    """Series from the smallest to the largest error of the policy, their indices among ``series_names``, and whether
    that is all of them; where they are many, SHOWN_SERIES from either end."""
    names, _ = series_names(view.segments)
    mae = view.mae(view.policy, "series")
    order = np.argsort(mae, kind="stable")[: int(np.isfinite(mae).sum())]
    whole = len(order) <= 2 * SHOWN_SERIES
    kept = order if whole else np.concatenate([order[:SHOWN_SERIES], order[-SHOWN_SERIES:]])
    return [names[i] for i in kept], kept, whole


def correlation(view: View, lag: int) -> float | None:
    """Correlation of one-step-ahead residuals ``lag`` steps apart in the same segment; None with fewer than MIN_PAIRS
    pairs or residuals that never vary. The first steps of windows at stride 1 are a series of their own."""
    origins_M, residual_MC = view.origins_M, view.scores[view.policy].first_residual_MC.astype(np.float64)
    seen = np.isfinite(residual_MC)
    mean_C = np.where(seen, residual_MC, 0).sum(axis=0) / np.maximum(seen.sum(axis=0), 1)
    centred_MC = residual_MC - mean_C
    before = np.searchsorted(origins_M, origins_M - lag)
    paired = origins_M[before] == origins_M - lag
    paired &= view.segments.series_of(origins_M[before]) == view.segments.series_of(origins_M)
    now, then = centred_MC[paired].ravel(), centred_MC[before[paired]].ravel()
    both = np.isfinite(now) & np.isfinite(then)
    size = float(np.sqrt((now[both] ** 2).sum() * (then[both] ** 2).sum()))
    return float((now[both] * then[both]).sum() / size) if both.sum() >= MIN_PAIRS and size > 0 else None


def _horizon(view: View) -> Finding | None:
    mine, rival = view.mae(view.policy, "horizon"), view.mae(view.rival, "horizon")
    known = np.flatnonzero(np.isfinite(mine))
    if len(known) < 2:
        return None
    first, last = known[0], known[-1]
    better = int((mine[known] < rival[known]).sum())
    growth = f" ({mine[last] / mine[first]:.1f} times)" if mine[first] > 0 else ""
    text = (
        f"The mean absolute error goes from {number(mine[first])} at step {first + 1} to "
        f"{number(mine[last])}{view.pooled} at step {last + 1}{growth}; it is below the "
        f"{_said(view.rival)}'s at {better} of {len(known)} steps."
    )
    if better in (0, len(known)):
        return Finding(severity="info", text=text)
    lost = known[mine[known] >= rival[known]]
    advice = f"The {_said(view.rival)} is no worse at steps {_runs(lost + 1)}: use it there, or average the two."
    return Finding(severity="advice", text=text, advice=advice)


def _bias(view: View) -> Finding | None:
    total = view.sums(view.policy, "horizon").metrics()
    if total["mae"] is None or total["bias"] is None:
        return None
    share = abs(total["bias"]) / total["mae"] if total["mae"] else 0.0
    way = "high" if total["bias"] > 0 else "low"
    size = number(abs(total["bias"]))
    text = f"Forecasts are {size}{view.pooled} too {way} on average, {percent(share)} of the mean absolute error."
    if share < LARGE_BIAS:
        return Finding(severity="info", text=text)
    cure = "" if view.normalisation == "last" else ", or set model.normalisation to last"
    advice = f"The level has shifted since training: retrain on newer data{cure}."
    return Finding(severity="advice", text=text, advice=advice)


def _hours(view: View) -> Finding | None:
    if "hour" not in view.scores[view.policy].by:
        return None
    mae = view.mae(view.policy, "hour")
    if np.isfinite(mae).sum() < 2:
        return None
    worst, best = int(np.nanargmax(mae)), int(np.nanargmin(mae))
    text = (
        f"By hour of the day the error is largest at {worst:02d}:00 ({number(mae[worst])}{view.pooled}) and "
        f"smallest at {best:02d}:00 ({number(mae[best])})."
    )
    if mae[worst] < UNEVEN_HOURS * mae[best]:
        return Finding(severity="info", text=text)
    advice = "Inputs known ahead for those hours (data.known, preprocess.calendar) would help most there."
    return Finding(severity="advice", text=text, advice=advice)


def _series(view: View) -> Finding | None:
    names, kept, _ = ranked_series(view)
    if len(kept) < 2:
        return None
    mine, rival = view.mae(view.policy, "series"), view.mae(view.rival, "series")
    known = np.isfinite(mine)
    better, num = int((mine[known] < rival[known]).sum()), int(known.sum())
    text = (
        f"By series the error runs from {number(mine[kept[0]])} ({names[0]}) to "
        f"{number(mine[kept[-1]])}{view.pooled} ({names[-1]}); the policy is ahead of the "
        f"{_said(view.rival)} in {better} of {num} series."
    )
    if 2 * better >= num:
        return Finding(severity="info", text=text)
    advice = f"The {_said(view.rival)} is the better choice for most series; look at those it wins before deploying."
    return Finding(severity="advice", text=text, advice=advice)


def _correlations(view: View) -> Finding | None:
    season = view.window.season
    said = {1: "one step apart", season: f"a season ({season} steps) apart"}
    found = {lag: value for lag in said if (value := correlation(view, lag)) is not None}
    if not found:
        return None
    values = " and ".join(f"{value:.2f} {said[lag]}" for lag, value in found.items())
    text = f"Residuals of one-step forecasts correlate by {values}."
    newest = "a smaller window.patch" if view.normalisation == "last" else "model.normalisation: last"
    cures = {season: "a longer window.history for the season"} | {1: f"{newest} for the newest level"}
    needed = [cures[lag] for lag, value in found.items() if abs(value) >= LARGE_CORRELATION]
    if not needed:
        return Finding(severity="info", text=text)
    return Finding(severity="advice", text=text, advice=f"Structure is left to learn: try {', and '.join(needed)}.")


def worst_windows(view: View, num: int) -> NDArray:
    """Indices of the windows with the largest mean error, worst first, each at least a horizon from the others of its
    series."""
    scaled = view.scores[view.policy].scaled_M
    chosen: list[int] = []
    for index in np.argsort(np.nan_to_num(scaled, nan=-1.0), kind="stable")[::-1]:
        if len(chosen) == num or not np.isfinite(scaled[index]):
            break
        if all(abs(int(view.origins_M[index] - view.origins_M[other])) >= view.window.horizon for other in chosen):
            chosen.append(int(index))
    return np.asarray(chosen, dtype=np.int64)


def _worst(view: View) -> Finding | None:
    scaled = view.scores[view.policy].scaled_M
    worst, known = worst_windows(view, 1), np.sort(scaled[np.isfinite(scaled)])[::-1]
    if not len(worst) or not known.sum():
        return None
    tail = float(known[: max(1, len(known) // 20)].sum() / known.sum())
    text = (
        f"The worst window is {view.label(worst[0])}, with a mean error of {number(scaled[worst[0]])} training "
        f"deviations (the median window has {number(float(np.median(known)))}); the worst 5 % of windows hold "
        f"{percent(tail)} of all error."
    )
    if tail < LARGE_TAIL:
        return Finding(severity="info", text=text)
    return Finding(severity="advice", text=text, advice="A few episodes decide the score: look at what happened then.")


def _coverage(view: View) -> Finding | None:
    total = view.scores[view.policy].total
    if not total.has_interval or (coverage := total.metrics()["coverage"]) is None:
        return None
    nominal = total.quantiles[-1] - total.quantiles[0]
    text = f"Intervals meant to hold {percent(nominal)} of the actual values hold {percent(coverage)} on the test part."
    if abs(coverage - nominal) <= WRONG_COVERAGE:
        return Finding(severity="info", text=text)
    way = "narrow" if coverage < nominal else "wide"
    advice = f"They are too {way}: recalibrate them on newer data before alarms depend on them."
    return Finding(severity="warning", text=text, advice=advice)


def _said(name: str) -> str:
    return name.replace("_", " ")


def _runs(steps: NDArray) -> str:
    """Step numbers with neighbours joined: 1-3, 7."""
    runs = np.split(steps, np.flatnonzero(np.diff(steps) > 1) + 1)
    said = [f"{run[0]}" if len(run) == 1 else f"{run[0]} to {run[-1]}" for run in runs]
    return ", ".join(said[:4]) + (" and more" if len(said) > 4 else "")
