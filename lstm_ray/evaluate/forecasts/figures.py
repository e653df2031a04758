"""A forecast's scores as figures. Knows scores and segments; knows no model beyond what it forecasts.

Legend: M windows, H horizon, C target channels, Q quantiles.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from lstm_ray.data.lags import reach
from lstm_ray.evaluate.forecasts.metrics import median_index
from lstm_ray.evaluate.forecasts.patterns import ranked_series
from lstm_ray.evaluate.forecasts.sums import BIN_EDGES
from lstm_ray.evaluate.forecasts.view import View
from lstm_ray.evaluate.gather import Forecaster, future_rows, narrow
from lstm_ray.evaluate.words import called, number, percent
from lstm_ray.figure import Figure, bars, lines

SHOWN_STEPS, SHOWN_WINDOWS = 400, 14
"""How much of the test part the figure of predictions against actuals shows: at most so many steps or windows."""
SHOWN_HISTORIES = 2
"""Horizons of history shown before a single window."""


def accuracy_figures(view: View, forecasters: Mapping[str, Forecaster]) -> list[Figure]:
    """How near forecasts come, beside the best baseline's."""
    found = [_predictions(view, forecasters), _by_horizon(view), _typical_window(view, forecasters)]
    return [figure for figure in found if figure is not None]


def error_figures(view: View) -> list[Figure]:
    """Where and when forecasts err."""
    found = [_by_hour(view), _by_series(view), _residuals(view)]
    return [figure for figure in found if figure is not None]


def _predictions(view: View, forecasters: Mapping[str, Forecaster]) -> Figure:
    """Windows of the first series end to end: what was forecast each time, and what came."""
    horizon, segments = view.window.horizon, view.segments
    segment_M = segments.series_of(view.origins_M)
    first = view.origins_M[segment_M == segment_M[0]][::horizon]
    first = first[: max(1, min(SHOWN_WINDOWS, SHOWN_STEPS // horizon))]
    rows = future_rows(first, horizon).ravel()
    forecast_MHCQ = _forecast(view, forecasters[view.policy], first)
    middle = median_index(forecasters[view.policy].quantiles)
    values, band = _flat(forecast_MHCQ, middle), _band(forecast_MHCQ, forecasters[view.policy].quantiles)
    rival = _flat(_forecast(view, forecasters[view.rival], first), 0)
    actual = _actual(view, rows)
    error = _mean_gap(values, actual)
    series, target = segments.series[int(segment_M[0])], segments.schema.target[0]
    return lines(
        "predictions",
        "Predictions against actuals",
        f"{series}, the first {len(first)} windows of the test part end to end, each {horizon} steps forecast at once: "
        f"mean absolute error {number(error)} here, {number(_mean_gap(rival, actual))} for the {called(view.rival)}.",
        segments.times(rows).tolist(),
        _lists({"actual": actual, "policy": values, called(view.rival): rival}),
        y_title=target,
        band=band,
    )


def _typical_window(view: View, forecasters: Mapping[str, Forecaster]) -> Figure | None:
    """The window with the median error, and the history before it."""
    scaled = view.scores[view.policy].scaled_M
    known = np.flatnonzero(np.isfinite(scaled))
    if not len(known):
        return None
    chosen = int(known[np.argsort(scaled[known], kind="stable")[len(known) // 2]])
    origin = view.origins_M[[chosen]]
    back = min(view.window.history, SHOWN_HISTORIES * view.window.horizon)
    rows = np.arange(origin[0] - back + 1, origin[0] + view.window.horizon + 1)
    forecast_MHCQ = _forecast(view, forecasters[view.policy], origin)
    quantiles = forecasters[view.policy].quantiles
    shown = {"policy": _flat(forecast_MHCQ, median_index(quantiles))}
    shown[called(view.rival)] = _flat(_forecast(view, forecasters[view.rival], origin), 0)
    actual = _actual(view, rows)
    hidden = np.full(back, np.nan)
    said = {name: number(_mean_gap(values, actual[back:])) for name, values in shown.items()}
    return lines(
        "window-typical",
        "The typical window",
        f"{view.label(chosen)}: mean absolute error {said['policy']} for the policy, {said[called(view.rival)]} for the "
        f"{called(view.rival)}; half of all windows are worse.",
        view.segments.times(rows).tolist(),
        _lists({"actual": actual, **{name: np.concatenate([hidden, values]) for name, values in shown.items()}}),
        y_title=view.segments.schema.target[0],
        band=_band(forecast_MHCQ, quantiles, back),
    )


def _by_horizon(view: View) -> Figure:
    mae = {name: view.mae(name, "horizon") for name in view.scores}
    mine, rival = mae[view.policy], mae[view.rival]
    better, known = int((mine < rival).sum()), int(np.isfinite(mine).sum())
    return lines(
        "error-by-horizon",
        "Error by horizon",
        f"Mean absolute error at each step ahead: from {number(mine[0])} at step 1 to "
        f"{number(mine[-1])}{view.pooled} at step {len(mine)} for the policy, which is ahead of "
        f"the {called(view.rival)} at {better} of {known} steps.",
        range(1, len(mine) + 1),
        _lists({called(name): values for name, values in mae.items()}),
        x_title="steps ahead",
        y_title=f"mean absolute error, {view.unit}",
    )


def _by_hour(view: View) -> Figure | None:
    if "hour" not in view.scores[view.policy].by:
        return None
    mine, rival = view.mae(view.policy, "hour"), view.mae(view.rival, "hour")
    hours = np.flatnonzero(np.isfinite(mine))
    if len(hours) < 2:
        return None
    worst, best = hours[np.argmax(mine[hours])], hours[np.argmin(mine[hours])]
    return bars(
        "error-by-hour",
        "Error by hour of the day",
        f"What happens at {worst:02d}:00 is hardest to forecast ({number(mine[worst])}{view.pooled}), at {best:02d}:00 easiest "
        f"({number(mine[best])}).",
        hours.tolist(),
        _lists({"policy": mine[hours], called(view.rival): rival[hours]}),
        x_title="hour of the day",
        y_title=f"mean absolute error, {view.unit}",
    )


def _by_series(view: View) -> Figure | None:
    names, kept, whole = ranked_series(view)
    if not names:
        return None
    mine, rival = view.mae(view.policy, "series")[kept], view.mae(view.rival, "series")[kept]
    which = "every series" if whole else f"the {len(names) // 2} best and {len(names) // 2} worst series"
    return bars(
        "error-by-series",
        "Error by series",
        f"Mean absolute error of {which}: {number(mine[0])} for {names[0]} up to "
        f"{number(mine[-1])}{view.pooled} for {names[-1]}.",
        names,
        _lists({"policy": mine, called(view.rival): rival}),
        y_title=f"mean absolute error, {view.unit}",
    )


def _residuals(view: View) -> Figure:
    one = len(view.deviation_C) == 1
    centres = (BIN_EDGES[1:] + BIN_EDGES[:-1]) / 2 * (view.deviation_C[0] if one else 1)
    total = {name: view.scores[name].histogram_B for name in (view.policy, view.rival)}
    share = {name: counts / max(counts.sum(), 1) for name, counts in total.items()}
    near = np.abs(BIN_EDGES[1:] + BIN_EDGES[:-1]) / 2 < 0.5
    mine, other = (percent(float(values[near].sum())) for values in share.values())
    return bars(
        "residuals",
        "Residuals",
        f"{mine} of the policy's forecasts are within half a training deviation of the actual value, {other} of the "
        f"{called(view.rival)}'s; the bars at the ends hold all beyond.",
        centres.tolist(),
        _lists({called(name): values for name, values in share.items()}),
        x_title=f"actual minus forecast, {view.unit}",
        y_title="share of forecast steps",
    )


def _forecast(view: View, forecaster: Forecaster, origins_M: NDArray) -> NDArray:
    nearby, origin_M = narrow(view.segments, origins_M, reach(view.window) + view.before, view.window.horizon)
    return forecaster.forecast_windows(nearby, origin_M)


def _lists(values: Mapping[str, NDArray]) -> dict[str, list[float]]:
    return {name: value.tolist() for name, value in values.items()}


def _actual(view: View, rows: NDArray) -> NDArray:
    """The first target, a hole where it was not measured."""
    seen = view.segments.observed_RC[rows, 0] > 0
    return np.where(seen, view.segments.target_RC[rows, 0], np.nan)


def _flat(forecast_MHCQ: NDArray, quantile: int) -> NDArray:
    return forecast_MHCQ[:, :, 0, quantile].ravel()


def _band(
    forecast_MHCQ: NDArray, quantiles: list[float], hidden: int = 0
) -> tuple[list[float], list[float], str] | None:
    """The outermost quantiles, after ``hidden`` steps without any."""
    if len(quantiles) < 2:
        return None
    low, high = ([np.nan] * hidden + _flat(forecast_MHCQ, edge).tolist() for edge in (0, -1))
    return low, high, f"{percent(quantiles[-1] - quantiles[0])} interval"


def _mean_gap(forecast: NDArray, actual: NDArray) -> float:
    gap = np.abs(forecast - actual)
    return float(np.nanmean(gap)) if np.isfinite(gap).any() else 0.0
