"""Intervals as figures: do they hold what they say by level, step ahead, series and over time. Knows no policy.

Shapes: M windows, H horizon, N series, U times.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lstm_ray.data.schema import Schema
from lstm_ray.data.spread import evenly
from lstm_ray.evaluate.words import percent
from lstm_ray.figure import Figure, bars, line, lines, shaded

if TYPE_CHECKING:
    from lstm_ray.evaluate.intervals.held import Pair
    from lstm_ray.evaluate.intervals.judging import Judged

WANTED, CHANCE = "as it should be", "chance (95 %)"
SHOWN_SERIES = 40
SMOOTHED = 30
"""Over so many-th of the times a rolling mean reaches."""


def of(judged: Judged, schema: Schema) -> list[Figure]:
    """The figures that there is something to show in."""
    found = [_levels(judged), _by_step(judged), _over_time(judged, schema), _by_series(judged)]
    return [figure for figure in found if figure is not None]


def _levels(judged: Judged) -> Figure:
    levels = np.asarray(judged.sample.levels)
    shares = {way: one.below_Q for way, one in judged.ways.items()}
    served = shares[judged.served]
    worst = int(np.argmax(np.abs(served - levels)))
    figure = lines(
        "intervals-levels",
        "Share of actual values below each quantile",
        f"Of the quantiles that the policy answers, that of {levels[worst]:g} is furthest off: {percent(served[worst])} of the "
        f"actual values lie below it. {judged.bounds}",
        levels,
        shares,
        x_title="level of the quantile",
        y_title="share of actual values below",
        mode="lines+markers",
    )
    return _beside(figure, [_dotted([0, 1], [0, 1])])


def _by_step(judged: Judged) -> Figure | None:
    if judged.horizon < 2:
        return None
    pair, steps = judged.widest, np.arange(1, judged.horizon + 1)
    share, reach_H = {way: judged.by_step(way, pair)[0] for way in judged.ways}, judged.by_step(judged.served, pair)[1]
    served = share[judged.served][np.isfinite(share[judged.served])]
    if not len(served):
        return None
    figure = lines(
        "intervals-by-horizon",
        f"What {pair.name} intervals hold, by step ahead",
        f"The intervals that the policy answers hold {percent(served[0])} at the first step and {percent(served[-1])} at the "
        f"last. {_of_band(reach_H is not None)} {judged.bounds}",
        steps,
        share,
        x_title="steps ahead",
        y_title="share of actual values held",
    )
    return _beside(figure, _nominal(steps, pair, reach_H))


def _over_time(judged: Judged, schema: Schema) -> Figure | None:
    step_U, of_M = np.unique(judged.sample.step_M, return_inverse=True)
    if len(step_U) < SMOOTHED:
        return None
    pair, reach = judged.widest, max(1, len(step_U) // SMOOTHED)
    count_U = _rolling(np.bincount(of_M, judged.measured.sum(axis=1)), reach)
    share = {}
    for way, one in judged.ways.items():
        inside_U = _rolling(np.bincount(of_M, one.inside[pair.name].sum(axis=1)), reach)
        share[way] = np.where(count_U > 0, inside_U / np.maximum(count_U, 1), np.nan)
    served = share[judged.served]
    times = schema.times(step_U)
    worst = int(np.nanargmin(served))
    figure = lines(
        "intervals-over-time",
        f"What {pair.name} intervals hold, over time",
        f"Means over {2 * reach + 1} times at which forecasts begin, all steps ahead and series together: the intervals that "
        f"the policy answers hold least around {_said(times[worst])}, {percent(served[worst])}. {judged.bounds}",
        times,
        share,
        y_title="share of actual values held",
    )
    return _beside(figure, [_dotted([times[0], times[-1]], [pair.nominal] * 2)])


def _by_series(judged: Judged) -> Figure | None:
    pair, sample = judged.widest, judged.sample
    share = {way: judged.by_series(way, pair) for way in judged.ways}
    names, served, index = share[judged.served]
    if len(names) < 2:
        return None
    order = np.argsort(served, kind="stable")
    shown = order if len(order) <= SHOWN_SERIES else evenly(order, SHOWN_SERIES)
    labels = [names[n] for n in shown]
    reach = [judged.coverage(judged.served, pair, np.flatnonzero(sample.series_M == index[n]))[1] for n in shown]
    band = None if None in reach else np.asarray(reach)
    which = (
        "every series"
        if len(shown) == len(names)
        else f"{len(shown)} of {len(names)} series, evenly from least to most"
    )
    figure = bars(
        "intervals-by-series",
        f"What {pair.name} intervals hold, by series",
        f"Of {which}: the intervals that the policy answers hold from {percent(served[order[0]])} ({names[order[0]]}) to "
        f"{percent(served[order[-1]])} ({names[order[-1]]}). {_of_band(band is not None)} {judged.bounds}",
        labels,
        {way: found[1][shown] for way, found in share.items()},
        y_title="share of actual values held",
    )
    return _beside(figure, _nominal(np.asarray(labels), pair, band))


def _nominal(x: NDArray, pair: Pair, reach: NDArray | None) -> list[dict[str, object]]:
    """What should be held, and how far chance takes a coverage from there."""
    line_of = _dotted(x, np.full(len(x), pair.nominal))
    if reach is None:
        return [line_of]
    low, high = np.maximum(pair.nominal - reach, 0), np.minimum(pair.nominal + reach, 1)
    return [*shaded(x, low, high, CHANCE), line_of]


def _of_band(drawn: bool) -> str:
    if not drawn:
        return "There are too few stretches of time to say what is chance."
    return "In the band about what they should hold, chance alone may put them."


def _dotted(x: NDArray | list[object], y: NDArray | list[float]) -> dict[str, object]:
    return {**line(x, y, WANTED), "line": {"dash": "dot", "width": 1.5}}


def _beside(figure: Figure, first: list[dict[str, object]]) -> Figure:
    """A figure with traces behind its own."""
    return figure.model_copy(update={"traces": [*first, *figure.traces]})


def _rolling(values_U: NDArray, reach: int) -> NDArray:
    """Sums over each time and ``reach`` to either side."""
    return np.convolve(values_U, np.ones(2 * reach + 1), mode="same")


def _said(time: object) -> str:
    return np.datetime_as_string(time, unit="D") if isinstance(time, np.datetime64) else f"step {time}"
