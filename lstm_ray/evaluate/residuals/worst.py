"""The windows with the largest errors, drawn side by side. Knows a view and what forecasts.

Legend: M windows, H horizon, C targets, Q quantiles.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstm_ray import figure
from lstm_ray.data.lags import reach
from lstm_ray.evaluate.forecasts.metrics import median_index
from lstm_ray.evaluate.forecasts.view import View
from lstm_ray.evaluate.gather import Forecaster, narrow
from lstm_ray.evaluate.told import Told
from lstm_ray.evaluate.words import called, number, percent
from lstm_ray.explore.pictures import panels
from lstm_ray.figure import Figure
from lstm_ray.run_dir import Finding

SHOWN = 6
FEW = 20
"""Windows from which there is a worst 5 %."""
LARGE_TAIL = 0.25
"""Share of all error in the worst windows from which there is advice."""
MOST_CHECKED = 50_000
"""Windows among which those that do not overlap are looked for, the worst first."""


def worst_windows(view: View, num: int) -> NDArray:
    """Indices of the windows with the largest mean error, worst first, each at least a horizon from the others of its series;
    of windows of several series at about the same time the worst alone, as long as there are others."""
    scaled = view.scores[view.policy].scaled_M
    ranked = np.argsort(np.nan_to_num(scaled, nan=-1.0), kind="stable")[::-1][:MOST_CHECKED]
    ranked = ranked[np.isfinite(scaled[ranked])]
    step_M, series_M = view.segments.steps(view.origins_M[ranked]), view.segments.series_of(view.origins_M[ranked])
    chosen: list[int] = []
    for same_series in (False, True):
        free = np.ones(len(ranked), bool)
        for place in chosen:
            free &= _clear(step_M, series_M, place, view.window.horizon, same_series)
        while len(chosen) < num and free.any():
            chosen.append(int(free.argmax()))
            free &= _clear(step_M, series_M, chosen[-1], view.window.horizon, same_series)
    return ranked[np.sort(chosen)] if chosen else np.zeros(0, np.int64)


def _clear(step_M: NDArray, series_M: NDArray, place: int, horizon: int, same_series: bool) -> NDArray:
    """Which windows share no step with one of them."""
    apart = np.abs(step_M - step_M[place]) >= horizon
    clear: NDArray = apart | (series_M != series_M[place]) if same_series else apart
    return clear


def told(view: View, forecasters: Mapping[str, Forecaster]) -> Told:
    """The worst windows in a sentence, a picture and numbers."""
    scaled = view.scores[view.policy].scaled_M
    worst, known = worst_windows(view, SHOWN), np.sort(scaled[np.isfinite(scaled)])[::-1]
    details = {"worst_windows": [{"window": view.label(i), "scaled_mae": float(scaled[i])} for i in worst]}
    if not len(worst) or not known.sum():
        return Told("", details=details)
    tail = float(known[: len(known) // FEW].sum() / known.sum())
    text = (
        f"The worst window is {view.label(worst[0])}, with a mean error of {number(scaled[worst[0]])} training "
        f"deviations (the median window has {number(float(np.median(known)))})"
    )
    text += f"; the worst 5 % of windows hold {percent(tail)} of all error." if len(known) >= FEW else "."
    advice = "A few episodes decide the score: look at what happened then." if tail >= LARGE_TAIL else ""
    finding = Finding(severity="advice" if advice else "info", text=text, advice=advice)
    drawn = worst_figure(view, forecasters)
    return Told("", [finding], [drawn] if drawn else [], details=details)


def worst_figure(view: View, forecasters: Mapping[str, Forecaster]) -> Figure | None:
    """The SHOWN worst windows as panels: history, what came, forecast with its interval, best baseline. Of several targets the
    one that errs most."""
    chosen = worst_windows(view, SHOWN)
    if not len(chosen):
        return None
    cells = [_panel(view, forecasters, int(index), first=position == 0) for position, index in enumerate(chosen)]
    scaled = view.scores[view.policy].scaled_M
    known = scaled[np.isfinite(scaled)]
    median = float(np.median(known))
    times = f", {scaled[chosen[0]] / median:.1f} times that of the median window" if median > 0 else ""
    many = f"The {len(chosen)} worst windows that do not overlap" if len(chosen) > 1 else "The worst window"
    worst = f"{view.label(int(chosen[0]))} has a mean error of {number(float(scaled[chosen[0]]))}"
    caption = (
        f"{many}, the worst first: {worst} training deviations{times}. Above each panel the mean absolute error of the policy "
        f"and of the {called(view.rival)}."
    )
    made = panels(
        "windows-worst",
        "The worst windows",
        caption,
        cells,
        columns=min(2, len(cells)),
        x_title="steps from the origin",
    )
    legend = {"showlegend": True, "margin": {"t": 64}, "legend": {"y": 1.09}}
    return made.model_copy(update={"layout": made.layout | legend})


def _panel(
    view: View, forecasters: Mapping[str, Forecaster], index: int, *, first: bool
) -> tuple[str, list[dict[str, Any]]]:
    segments, horizon = view.segments, view.window.horizon
    origin = view.origins_M[[index]]
    nearby, at = narrow(segments, origin, reach(view.window) + view.before, horizon)
    model, rival = forecasters[view.policy], forecasters[view.rival]
    forecast_HCQ = model.forecast_windows(nearby, at)[0]
    rival_HC = rival.forecast_windows(nearby, at)[0][..., median_index(rival.quantiles)]
    back = min(view.window.history, max(2 * horizon, 12))
    rows = np.arange(origin[0] - back + 1, origin[0] + horizon + 1)
    actual_TC = np.where(segments.observed_RC[rows] > 0, segments.target_RC[rows], np.nan)
    middle_HC = forecast_HCQ[..., median_index(model.quantiles)]
    mine_C, other_C = (_gaps(values_HC, actual_TC[back:]) for values_HC in (middle_HC, rival_HC))
    c = int(np.nanargmax(np.nan_to_num(mine_C / view.deviation_C, nan=-1.0)))
    history, ahead = np.arange(1 - back, horizon + 1), np.arange(1, horizon + 1)
    traces: list[dict[str, Any]] = []
    if len(model.quantiles) > 1:
        share = percent(model.quantiles[-1] - model.quantiles[0])
        ends = forecast_HCQ[:, c, 0], forecast_HCQ[:, c, -1]
        traces += figure.shaded(ahead, *ends, f"{share} interval", legend=first)
    lines = {"actual": (history, actual_TC[:, c]), "policy": (ahead, middle_HC[:, c])}
    lines[called(view.rival)] = ahead, rival_HC[:, c]
    traces += [figure.line(x, y, name) | {"showlegend": first} for name, (x, y) in lines.items()]
    target = f" {segments.schema.target[c]}" if len(segments.schema.target) > 1 else ""
    return f"{view.label(index)}{target}: {number(mine_C[c])}, {number(other_C[c])}", traces


def _gaps(forecast_HC: NDArray, actual_HC: NDArray) -> NDArray:
    """Mean absolute error of each target, NaN where nothing was measured."""
    seen = np.isfinite(actual_HC)
    total_C = np.where(seen, np.abs(forecast_HC - np.where(seen, actual_HC, 0)), 0).sum(0)
    return np.where(seen.any(0), total_C / np.maximum(seen.sum(0), 1), np.nan)
