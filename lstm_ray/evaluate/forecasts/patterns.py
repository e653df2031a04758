"""Where and when forecasts err, in sentences with numbers. Knows scores; knows no model, no files and no figures.

Legend: M windows, C target channels, G groups.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lstm_ray.data.timeline import calendar
from lstm_ray.evaluate.forecasts.slices import CLEAR, friedman
from lstm_ray.evaluate.forecasts.view import View
from lstm_ray.evaluate.gather import series_names
from lstm_ray.evaluate.skill import block_jackknife
from lstm_ray.evaluate.words import called, number, percent
from lstm_ray.run_dir import Finding

SHOWN_SERIES = 20
"""Series named at either end of the ranking."""
LARGE_BIAS, UNEVEN_HOURS = 0.25, 1.5
"""Beyond these a finding comes with advice."""
FEWEST_DAYS = 4
"""Needed, or stretches of days, to tell hours from chance."""
LENGTHS = (1, 2, 3, 5, 7)
"""Days of such stretches: where much is missing, few single days lack no hour."""


def findings(view: View) -> list[Finding]:
    """Every pattern that the scores show, most general first."""
    found = [_horizon(view), _bias(view), _hours(view), _series(view)]
    return [finding for finding in found if finding is not None]


def ranked_series(view: View) -> tuple[list[str], NDArray, bool]:
    """Series from the smallest to the largest error of the policy, their indices among ``series_names``, and whether
    that is all of them; where they are many, SHOWN_SERIES from either end."""
    names, _ = series_names(view.segments)
    mae = view.mae(view.policy, "series")
    order = np.argsort(mae, kind="stable")[: int(np.isfinite(mae).sum())]
    whole = len(order) <= 2 * SHOWN_SERIES
    kept = order if whole else np.concatenate([order[:SHOWN_SERIES], order[-SHOWN_SERIES:]])
    return [names[i] for i in kept], kept, whole


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
        f"{called(view.rival)}'s at {better} of {len(known)} steps."
    )
    if better in (0, len(known)):
        return Finding(severity="info", text=text)
    lost = known[mine[known] >= rival[known]]
    advice = (
        f"The {called(view.rival)} is no worse at steps {_runs(lost + 1)}: where validation says so too, use it there."
    )
    return Finding(severity="advice", text=text, advice=advice)


def _bias(view: View) -> Finding | None:
    total = view.sums(view.policy, "horizon").metrics()
    if not total["mae"] or total["bias"] is None:
        return None
    share = abs(total["bias"]) / total["mae"]
    way = "high" if total["bias"] > 0 else "low"
    size = number(abs(total["bias"]))
    text = f"Forecasts are {size}{view.pooled} too {way} on average, {percent(share)} of the mean absolute error."
    if share < LARGE_BIAS:
        return Finding(severity="info", text=text)
    found, steps = view.scores[view.policy], max(view.window.horizon, view.window.season)
    sums = [np.nan_to_num(found.bias_M) * found.count_M, found.count_M]
    bias, reach = block_jackknife(np.divide, sums, view.segments.steps(view.origins_M), steps)
    if reach is None or not reach < abs(bias):
        unsure = "Leaving out stretches of time says that this may be chance."
        text += f" {'The test part is too short to say how sure that is.' if reach is None else unsure}"
        return Finding(severity="info", text=text)
    cure = "" if view.normalisation == "last" else ", or set model.normalisation to last"
    advice = f"The level may have shifted since training: retrain on newer data{cure}. Medians of skewed values are off, too."
    return Finding(severity="advice", text=text, advice=advice)


def _hours(view: View) -> Finding | None:
    if "hour" not in view.scores[view.policy].by:
        return None
    mae = view.mae(view.policy, "hour")
    if np.isfinite(mae).sum() < 2 or not np.nanmax(mae) > 0:
        return None
    worst, best = int(np.nanargmax(mae)), int(np.nanargmin(mae))
    text = (
        f"By hour of the day the error is largest at {worst:02d}:00 ({number(mae[worst])}{view.pooled}) and "
        f"smallest at {best:02d}:00 ({number(mae[best])})."
    )
    p, blocks, days = _chance(view)
    if p is None:
        text += " Days are too few to tell hours from chance."
    else:
        text += (
            f" Hours differ {'' if p < CLEAR else 'no '}more than by chance (Friedman's p {p:.2g} of errors one step ahead, "
            f"over {blocks} {'days' if days == 1 else f'stretches of {days} days'})."
        )
    if p is None or p >= CLEAR or mae[worst] < UNEVEN_HOURS * mae[best]:
        return Finding(severity="info", text=text)
    advice = "Inputs known ahead for those hours (data.known, preprocess.calendar) would help most there."
    return Finding(severity="advice", text=text, advice=advice)


def _chance(view: View) -> tuple[float | None, int, int]:
    """How probable it is that hours differ so much where none is harder than another, by errors one step ahead (later ones
    share steps); the number of blocks in which hours were ranked, and the days of each, of which the fewest give the most
    blocks that lack no hour. None with fewer than FEWEST_DAYS of these."""
    residual_MC = view.scores[view.policy].first_residual_MC.astype(np.float64)
    count_M = np.isfinite(residual_MC).sum(axis=1)
    known = count_M > 0
    times = calendar.local(view.segments.times(view.origins_M[known] + 1), view.segments.schema.time_zone)
    days = times.astype("datetime64[D]")
    hour_U, hour = np.unique((times - days) // np.timedelta64(1, "h"), return_inverse=True)
    day = (days - days.min()).astype(np.int64)
    best, size_M = (np.empty((0, len(hour_U))), 0), np.nansum(np.abs(residual_MC[known]), axis=1)
    for length in LENGTHS:
        shape = int(day.max()) // length + 1, len(hour_U)
        cell, num = day // length * shape[1] + hour, shape[0] * shape[1]
        count = np.bincount(cell, count_M[known], num).reshape(shape)
        whole = (count > 0).all(axis=1)
        if whole.sum() > len(best[0]):
            best = np.bincount(cell, size_M, num).reshape(shape)[whole] / count[whole], length
    error_BK, length = best
    if len(error_BK) < FEWEST_DAYS or len(hour_U) < 2:
        return None, len(error_BK), length
    return friedman(error_BK), len(error_BK), length


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
        f"{called(view.rival)} in {better} of {num} series."
    )
    if 2 * better >= num:
        return Finding(severity="info", text=text)
    advice = f"The {called(view.rival)} is the better choice for most series; look at those it wins before deploying."
    return Finding(severity="advice", text=text, advice=advice)


def _runs(steps: NDArray) -> str:
    """Step numbers with neighbours joined: 1-3, 7."""
    runs = np.split(steps, np.flatnonzero(np.diff(steps) > 1) + 1)
    said = [f"{run[0]}" if len(run) == 1 else f"{run[0]} to {run[-1]}" for run in runs]
    return ", ".join(said[:4]) + (" and more" if len(said) > 4 else "")
