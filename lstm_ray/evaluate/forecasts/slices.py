"""The error by slices of the test part: day of the week and its hour, month, how high and how restless the history was.

Knows scores; knows no model and no files. A slice with few measured steps is listed, and not spoken of.

Legend: G slices of one grouping.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc

from lstm_ray.data.timeline import calendar
from lstm_ray.evaluate.forecasts.metrics import ForecastSums
from lstm_ray.evaluate.forecasts.strata import WEEKDAYS
from lstm_ray.evaluate.forecasts.view import View
from lstm_ray.evaluate.gather import HOURS
from lstm_ray.evaluate.told import Told
from lstm_ray.evaluate.words import DAYS, MONTHS, called, number, percent
from lstm_ray.figure import Figure, bars, heatmap
from lstm_ray.run_dir import Finding

TOPIC = "Where it errs"
ENOUGH, LEAST_SHARE = 30, 0.1
"""Measured steps, and their share of what an even slice would hold, from which a slice is compared with others."""
UNEVEN, LARGE_BIAS, COVERAGE_GAP, CLEAR = 1.5, 0.25, 0.1, 0.05
"""Ratio of errors, share of the error that is bias, spread of coverage and chance beyond which a finding comes with advice."""
APART = 1.2
"""Ratio of errors from which slices are worth a picture."""
MANY_ZEROS = 0.01
"""Share of actual values that are 0 from which mape is no measure of the whole."""
FEWEST_WEEKS = 4
"""Needed to tell days of the week from chance."""
LEVELS = ("lowest", "low", "middle", "high", "highest")
VOLATILITIES = ("calmest", "calm", "middle", "restless", "most restless")
FIFTHS = "fifths of the training windows"


@dataclass(frozen=True)
class Grouping:
    """How one cut through the test part is said."""

    name: str
    """A key of ``Scores.by``."""
    title: str
    labels: tuple[str, ...]
    prefix: str = ""
    """Before a label in the table of all slices."""
    at: str = "in"

    def said(self, index: int) -> str:
        """A slice in a sentence."""
        return f"the {self.labels[index]} fifth" if self.prefix else self.labels[index]


GROUPINGS = (
    Grouping("weekday", "day of the week", DAYS, at="on"),
    Grouping("month", "month", MONTHS),
    Grouping("level", "level of the newest season", LEVELS, "level "),
    Grouping("volatility", "volatility of the newest season", VOLATILITIES, "volatility "),
)


def told(view: View) -> Told:
    """One finding, and a figure where there is more than one slice, for each way to cut that the data allows."""
    groupings = [grouping for grouping in GROUPINGS if grouping.name in view.scores[view.policy].by]
    shown = {grouping.name: grouping for grouping in groupings if len(_spoken_of(view, grouping.name)) > 1}
    found = {"weekday": _weekdays, "month": _months, "level": _levels, "volatility": _volatilities}
    return Told(
        TOPIC,
        [*(found[name](view, grouping) for name, grouping in shown.items()), *_zeros(view)],
        [_figure(view, grouping) for name, grouping in shown.items() if name == "weekday" or _differ(view, name)],
        _tables(view, groupings),
        {f"by_{grouping.name}": _details(view, grouping) for grouping in groupings},
    )


def _weekdays(view: View, grouping: Grouping) -> Finding:
    text, ratio = _extremes(view, grouping, "By day of the week")
    if "weekday_hour" in view.scores[view.policy].by:
        mae, spoken = view.mae(view.policy, "weekday_hour"), _spoken_of(view, "weekday_hour")
        if len(spoken):
            day, hour = divmod(int(spoken[np.argmax(mae[spoken])]), HOURS)
            worst = number(float(mae[day * HOURS + hour]))
            text += f" The worst hour of the week is {DAYS[day]} {hour:02d}:00, with {worst}{view.pooled}."
    p, weeks = _chance(view)
    if p is None:
        text += f" Whole weeks: {weeks}, too few to tell days from chance."
    else:
        text += (
            f" Days differ {'' if p < CLEAR else 'no '}more than by chance (Friedman's p {p:.2g} over {weeks} weeks)."
        )
    if p is None or p >= CLEAR or ratio < UNEVEN:
        return Finding(severity="info", text=text)
    known = "weekday" in view.segments.schema.calendar
    cure = "Inputs known ahead for those days (data.known)" if known else "weekday in preprocess.calendar"
    return Finding(severity="advice", text=text, advice=f"{cure} would help most there.")


def _months(view: View, grouping: Grouping) -> Finding:
    text, _ = _extremes(view, grouping, "By month")
    held = int((_count(view.sums(view.policy, "month")) > 0).sum())
    return Finding(severity="info", text=f"{text} The test part holds steps of {held} of 12 months.")


def _levels(view: View, grouping: Grouping) -> Finding:
    """The error and, since forecasts are often drawn to the middle, the bias at both ends."""
    columns = view.sums(view.policy, "level").columns()
    low, high = _ends(view, "level")
    mae, bias = columns["mae"], columns["bias"]
    text = (
        f"Where the newest season's mean is in the {LEVELS[high]} fifth of the training windows, the error is "
        f"{number(float(mae[high]))}{view.pooled} and forecasts are {_biased(bias[high])}; in the {LEVELS[low]} fifth it is "
        f"{number(float(mae[low]))}, and they are {_biased(bias[low])}."
    )
    text += _lost(view, grouping)
    drawn = bias[high] < 0 < bias[low] and min(-bias[high] / mae[high], bias[low] / mae[low]) > LARGE_BIAS
    if not drawn:
        return Finding(severity="info", text=text)
    cure = "a longer window.history" if view.normalisation == "last" else "model.normalisation: last"
    return Finding(severity="advice", text=text, advice=f"Forecasts are drawn to the middle: try {cure}.")


def _volatilities(view: View, grouping: Grouping) -> Finding:
    columns = view.sums(view.policy, "volatility").columns()
    low, high = _ends(view, "volatility")
    mae = columns["mae"]
    text = (
        f"Where the newest season is in the {VOLATILITIES[low]} fifth of the training windows, the error is "
        f"{number(float(mae[low]))}{view.pooled}; in the {VOLATILITIES[high]} fifth it is {number(float(mae[high]))}"
        f"{_times(mae[high], mae[low])}."
    )
    advice = ""
    if "coverage" in columns:
        held = columns["coverage"]
        text += (
            f" Intervals hold {percent(float(held[low]))} of actual values there and {percent(float(held[high]))} here."
        )
        # Windows that share no step; all steps of one hang together and count once.
        count, horizon = _count(view.sums(view.policy, "volatility")), view.window.horizon
        apart = np.maximum(1, count / (horizon**2 * len(view.deviation_C)))
        variance = held * (1 - held) / apart
        if abs(held[low] - held[high]) > max(COVERAGE_GAP, 1.96 * np.sqrt(variance[low] + variance[high])):
            advice = "Their width does not follow the volatility: trust them only on average."
    elif mae[high] > UNEVEN * mae[low]:
        advice = "Forecast quantiles too (model.quantiles), so that intervals tell a calm stretch from a restless one."
    text += _lost(view, grouping)
    return Finding(severity="advice" if advice else "info", text=text, advice=advice)


def _zeros(view: View) -> list[Finding]:
    """What mape cannot tell."""
    total = view.scores[view.policy].total
    zeros, count = total.zero_actuals, int(total.sums["count"].sum())
    if not zeros:
        return []
    text = f"MAPE leaves out {zeros:,} of {count:,} measured steps ({percent(zeros / count)}): their actual value is 0."
    if zeros < MANY_ZEROS * count:
        return [Finding(severity="info", text=text)]
    metrics = total.metrics()
    whole = [name.upper() for name in ("wape", "mase") if metrics[name] is not None] or ["MAE"]
    advice = f"Read {' or '.join(whole)} instead, which count{'s' if len(whole) == 1 else ''} every step."
    return [Finding(severity="advice", text=text, advice=advice)]


def _chance(view: View) -> tuple[float | None, int]:
    """How probable it is that days of the week differ so much where none is harder than another: Friedman's test (1937) of
    windows' mean errors by the day of their first step, each week ranked for itself; and the number of whole weeks. None
    with fewer than FEWEST_WEEKS."""
    segments, scaled_M = view.segments, view.scores[view.policy].scaled_M
    known = np.isfinite(scaled_M)
    times = calendar.local(segments.times(view.origins_M[known] + 1), segments.schema.time_zone)
    day_M = times.astype("datetime64[D]").astype(np.int64) + 3
    day, of = np.unique(day_M, return_inverse=True)
    error = np.bincount(of, scaled_M[known]) / np.bincount(of)
    week, count = np.unique(day // WEEKDAYS, return_counts=True)
    whole = np.isin(day // WEEKDAYS, week[count == WEEKDAYS])
    error_WD = error[whole].reshape(-1, WEEKDAYS)
    num = len(error_WD)
    if num < FEWEST_WEEKS:
        return None, num
    return friedman(error_WD), num


def friedman(error_BK: NDArray) -> float:
    """How probable ranks so far apart are, of K things each ranked within B blocks, were all alike (Friedman 1937)."""
    num, of = error_BK.shape
    above, same = (
        found.sum(axis=2)
        for found in (error_BK[..., None] > error_BK[:, None], error_BK[..., None] == error_BK[:, None])
    )
    rank_K = (above + (same + 1) / 2).mean(axis=0)
    statistic = 12 * num / (of * (of + 1)) * float(((rank_K - (of + 1) / 2) ** 2).sum())
    return float(chdtrc(of - 1, statistic))


def _extremes(view: View, grouping: Grouping, head: str) -> tuple[str, float]:
    """The worst and the best slice in a sentence, and the ratio of their errors."""
    mae, spoken = view.mae(view.policy, grouping.name), _spoken_of(view, grouping.name)
    worst, best = int(spoken[np.argmax(mae[spoken])]), int(spoken[np.argmin(mae[spoken])])
    ratio = float(mae[worst] / mae[best]) if mae[best] > 0 else float(np.inf if mae[worst] > 0 else 1.0)
    text = (
        f"{head} the error is largest {grouping.at} {grouping.labels[worst]} ({number(float(mae[worst]))}{view.pooled}"
        f"{_times(mae[worst], mae[best])}) and smallest {grouping.at} {grouping.labels[best]} ({number(float(mae[best]))})."
    )
    return text + _lost(view, grouping), ratio


def _times(one: float, other: float) -> str:
    """How many times as large an error is as another, where that is worth saying."""
    return f", {one / other:.2g} times as large" if other > 0 and one >= APART * other else ""


def _lost(view: View, grouping: Grouping) -> str:
    """The slices in which the best baseline is better, or nothing where it is in none."""
    mine, rival = view.mae(view.policy, grouping.name), view.mae(view.rival, grouping.name)
    lost = [i for i in _spoken_of(view, grouping.name) if mine[i] > rival[i]]
    if not lost:
        return ""
    return f" The {called(view.rival)} is better in: {', '.join(grouping.said(i) for i in lost)}."


def _figure(view: View, grouping: Grouping) -> Figure:
    if grouping.name == "weekday" and "weekday_hour" in view.scores[view.policy].by:
        return _week(view)
    sums = view.sums(view.policy, grouping.name)
    slices = np.flatnonzero(_count(sums) > 0)
    mine, rival = sums.columns(), view.mae(view.rival, grouping.name)
    worst = slices[np.argmax(mine["mae"][slices])]
    bias = float(mine["bias"][worst])
    return bars(
        f"slices-{grouping.name}",
        f"Error by {grouping.title}",
        f"Mean absolute error by {grouping.title}{f' in {FIFTHS}' if grouping.prefix else ''}: largest {grouping.at} "
        f"{grouping.said(int(worst))}, {number(float(mine['mae'][worst]))}{view.pooled}, where forecasts are {_biased(bias)}.",
        [grouping.labels[i] for i in slices],
        {"policy": mine["mae"][slices].tolist(), called(view.rival): rival[slices].tolist()},
        y_title=f"mean absolute error, {view.unit}",
    )


def _week(view: View) -> Figure:
    mae = view.mae(view.policy, "weekday_hour")
    best, worst = int(np.nanargmin(mae)), int(np.nanargmax(mae))
    said = [f"{DAYS[cell // HOURS]} {cell % HOURS:02d}:00 ({number(float(mae[cell]))})" for cell in (worst, best)]
    hours = np.flatnonzero(np.isfinite(mae.reshape(WEEKDAYS, HOURS)).any(axis=0))
    return heatmap(
        "slices-week",
        "Error by day of the week and hour",
        f"Mean absolute error of the policy in {view.unit}, by the time of what is forecast: from {said[1]} to {said[0]}.",
        [f"{hour:02d}:00" for hour in hours],
        DAYS,
        mae.reshape(WEEKDAYS, HOURS)[:, hours],
        x_title="hour of the day",
    )


def _tables(view: View, groupings: list[Grouping]) -> list[dict[str, Any]]:
    """Every slice that holds a measured step, in one table; none where there is none."""
    rows = []
    intervals = view.scores[view.policy].total.has_interval
    for grouping in groupings:
        sums = view.sums(view.policy, grouping.name)
        own, rival, count = sums.columns(), view.mae(view.rival, grouping.name), _count(sums)
        for i in np.flatnonzero(count > 0):
            cells = [own["mae"][i], own["bias"][i], *([own["coverage"][i]] if intervals else []), rival[i]]
            rows.append([grouping.prefix + grouping.labels[i], int(count[i]), *(float(cell) for cell in cells)])
    unit = f"in {view.unit}" if view.pooled else "in the target's own units"
    table = {
        "title": "The error by slices of the test part",
        "columns": ["slice", "steps", "mae", "bias", *(["coverage"] if intervals else []), f"{called(view.rival)} mae"],
        "rows": rows,
        "caption": f"Errors are {unit}; bias is forecast minus actual. Days and months are those of what is forecast, on the "
        f"calendar's clock. Level and volatility are the newest season's mean and deviation before the forecast, in {FIFTHS}, "
        "each series in units of its own training part.",
    }
    return [table] if rows else []


def _details(view: View, grouping: Grouping) -> dict[str, dict[str, float | None]]:
    """Each forecaster's mean absolute error by slice, in the data's own units."""
    return {
        who: dict(zip(grouping.labels, found.by[grouping.name].rows("mae"), strict=True))
        for who, found in view.scores.items()
    }


def _count(sums: ForecastSums) -> NDArray:
    count: NDArray = sums.sums["count"].sum(axis=1)
    return count


def _spoken_of(view: View, name: str) -> NDArray:
    """The slices with steps enough to be compared."""
    count = _count(view.scores[view.policy].by[name])
    return np.flatnonzero(count >= max(ENOUGH, LEAST_SHARE * count.mean()))


def _ends(view: View, name: str) -> tuple[int, int]:
    """The lowest and the highest fifth that are spoken of."""
    spoken = _spoken_of(view, name)
    return int(spoken[0]), int(spoken[-1])


def _differ(view: View, name: str) -> bool:
    mae = view.mae(view.policy, name)[_spoken_of(view, name)]
    return bool(mae.max() > APART * mae.min())


def _biased(bias: float) -> str:
    return f"{number(abs(float(bias)))} too {'high' if bias > 0 else 'low'}" if bias else "without bias"
