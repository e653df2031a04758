"""Whether forecasts are too high or too low at certain hours, days, months or levels, beyond what chance does. Knows errors;
knows no model.

Legend: M windows, H horizon, C targets, G groups, B blocks of time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

from lstm_ray.data.timeline import calendar
from lstm_ray.evaluate.forecasts.view import View
from lstm_ray.evaluate.residuals.sample import Sample
from lstm_ray.evaluate.skill import CONFIDENCE, MIN_BLOCKS
from lstm_ray.evaluate.told import Told
from lstm_ray.evaluate.words import DAYS, MONTHS, listed, number, percent
from lstm_ray.explore.pictures import panels
from lstm_ray.figure import Figure, plain
from lstm_ray.run_dir import Finding

MOST_BLOCKS = 200
CHANCE = 0.05
"""Of calling any group of a grouping biased where none is (Bonferroni)."""
NOTABLE, LARGE = 0.1, 0.25
"""Biases, as shares of the mean absolute error, from which they are told, and come with advice."""
TENTHS = 10
LEAST_SPREAD, ROOM = 1e-9, 0.2
"""Errors of means, as a share of the mean absolute error, that are none; and a panel's height that names take."""
DAY = np.timedelta64(1, "D")


@dataclass(frozen=True)
class Grouping:
    """Groups that errors fall into."""

    name: str
    groups: list[str]
    """What each is called."""
    group_MHC: NDArray
    """Number of each error's group."""


@dataclass(frozen=True)
class Biases:
    """Mean errors by group, and how sure they are."""

    of: Grouping
    mean_G: NDArray
    """NaN where nothing was measured."""
    reach_G: NDArray
    """How far the 95 % interval reaches to either side; NaN where too few blocks tell."""
    beyond_G: NDArray
    """How much that is more than the bias of all."""
    p_G: NDArray
    """How probable so much beyond is by chance; 1 where too few blocks tell."""

    def odd(self, mae: float) -> NDArray:
        """Groups whose bias is neither that of all nor chance, the largest first."""
        told = np.flatnonzero(
            (self.p_G * np.isfinite(self.mean_G).sum() < CHANCE) & (np.abs(self.beyond_G) > NOTABLE * mae)
        )
        return told[np.argsort(-np.abs(self.beyond_G[told]))]


def groupings(view: View, sample: Sample) -> list[Grouping]:
    """By hour, weekday and month where time has these, and by tenths of what is forecast (never of what came: after the fact
    the highest values always were forecast too low)."""
    found, schema, shape = [], view.segments.schema, sample.error_MHC.shape
    if schema.has_dates and len(sample.step_M):
        steps = sample.step_M[:, None] + np.arange(1, shape[1] + 1)
        times = calendar.local(schema.times(steps), schema.time_zone)
        hour, weekday, month = (read(times) for read in (calendar.hours, calendar.weekdays, calendar.months))
        of_calendar = [("hour", [f"{h:02d}" for h in range(24)], hour), ("weekday", _short(DAYS), weekday)]
        for name, groups, group_MH in [*of_calendar, ("month", _short(MONTHS), month)]:
            if len(np.unique(group_MH)) > 1:
                found.append(Grouping(name, groups, np.broadcast_to(group_MH[..., None], shape)))
    group_MHC = np.empty(shape, np.int64)
    for c in range(shape[2]):
        edges = np.quantile(sample.forecast_MHC[..., c], np.arange(1, TENTHS) / TENTHS) if len(sample.step_M) else []
        group_MHC[..., c] = np.searchsorted(edges, sample.forecast_MHC[..., c], side="right")
    groups = ["lowest", *[str(tenth) for tenth in range(2, TENTHS)], "highest"]
    return [*found, Grouping("level", groups, group_MHC)]


def biases(sample: Sample, grouping: Grouping, dependence: int) -> Biases:
    """Mean error by group, with errors from sums over blocks of time (of all series at once) that share next to nothing.

    Args:
        dependence: steps apart at which windows still share errors; blocks are at least twice as long.
    """
    num = len(grouping.groups)
    seen = np.isfinite(sample.error_MHC)
    offset_M = sample.step_M - sample.step_M.min()
    length = max(2 * dependence, -(-int(offset_M.max() + 1) // MOST_BLOCKS))
    _, block_M = np.unique(offset_M // length, return_inverse=True)
    blocks = int(block_M.max()) + 1
    cell = np.broadcast_to(block_M[:, None, None], seen.shape)[seen] * num + grouping.group_MHC[seen]
    sum_BG = np.bincount(cell, sample.error_MHC[seen], blocks * num).reshape(blocks, num)
    count_BG = np.bincount(cell, minlength=blocks * num).reshape(blocks, num).astype(np.float64)
    count_G, total = count_BG.sum(0), max(1.0, count_BG.sum())
    with np.errstate(invalid="ignore", divide="ignore"):
        mean_G = sum_BG.sum(0) / count_G
        # Of a ratio of sums: what each block adds to its error (linearised).
        off_BG = (sum_BG - mean_G * count_BG) / count_G
    overall = sum_BG.sum() / total
    all_B1 = ((sum_BG.sum(1) - overall * count_BG.sum(1)) / total)[:, None]
    held_G = (count_BG > 0).sum(0)
    more = held_G / np.maximum(held_G - 1, 1)
    own_G, apart_G = (np.sqrt(more * (off**2).sum(0)) for off in (off_BG, off_BG - all_B1))
    enough_G = held_G >= MIN_BLOCKS
    beyond_G, freedom_G = mean_G - overall, np.maximum(held_G - 1, 1)
    least = LEAST_SPREAD * max(sample.mae, np.finfo(np.float64).tiny)
    size_G = np.where(apart_G > least, np.abs(beyond_G) / np.where(apart_G > least, apart_G, 1), 0)
    p_G = np.where(enough_G & np.isfinite(size_G), 2 * stdtr(freedom_G, -np.nan_to_num(size_G)), 1.0)
    reach_G = np.where(enough_G, stdtrit(freedom_G, (1 + CONFIDENCE) / 2) * own_G, np.nan)
    return Biases(grouping, mean_G, reach_G, beyond_G, p_G)


def told(view: View, sample: Sample) -> Told:
    """Biases by calendar and level: sentences, a figure with a panel for each grouping, and numbers."""
    if not np.isfinite(sample.error_MHC).any():
        return Told("")
    dependence = max(view.window.horizon, view.window.season)
    found = [biases(sample, grouping, dependence) for grouping in groupings(view, sample)]
    details = {
        one.of.name: {
            group: {"bias": float(mean), "reach": float(reach) if np.isfinite(reach) else None}
            for group, mean, reach in zip(one.of.groups, one.mean_G, one.reach_G, strict=True)
            if np.isfinite(mean)
        }
        for one in found
    }
    return Told("", _findings(found, view, sample), [_figure(found, view)], details={"bias_by": details})


def _findings(found: list[Biases], view: View, sample: Sample) -> list[Finding]:
    if all((one.p_G == 1).all() for one in found):
        return []
    names = listed([one.of.name for one in found])
    odd = [(one, groups) for one in found if len(groups := one.odd(sample.mae))]
    if not odd:
        text = f"No bias by {names.replace(' and ', ' or ')} stands out from the bias of all and from chance."
        return [Finding(severity="info", text=text)]
    said, largest, of_largest = [], 0.0, ""
    for one, groups in odd:
        g = int(groups[0])
        many = f", and {len(groups) - 1} more" if len(groups) > 1 else ""
        way = "high" if one.mean_G[g] > 0 else "low"
        said.append(
            f"{number(abs(one.mean_G[g]))}{view.pooled} too {way} {_where(one.of.name, one.of.groups[g])} "
            f"(± {number(one.reach_G[g])}{many})"
        )
        if (size := abs(float(one.beyond_G[g])) / sample.mae) > largest:
            largest, of_largest = size, one.of.name
    text = f"Forecasts are systematically off: {'; '.join(said)}. The mean absolute error is {number(sample.mae)}."
    if largest < LARGE:
        return [Finding(severity="info", text=text)]
    text += f" The largest is {percent(largest)} of it."
    return [Finding(severity="advice", text=text, advice=_advice(of_largest, view))]


def _advice(name: str, view: View) -> str:
    if name == "level":
        return "High and low forecasts want stretching: longer training, or another preprocess.transform."
    if name in view.segments.schema.calendar:
        return (
            f"The network knows the {name} (preprocess.calendar), but not enough of it: more training data would help."
        )
    if name == "month":
        return "The training part may hold too few years: give it more, or retrain as the year goes on."
    return f"Tell the network the {name}: preprocess.calendar."


def _where(name: str, group: str) -> str:
    if name == "hour":
        return f"at {group}:00"
    if name == "level":
        return f"in the {group} tenth of forecasts" if not group.isdigit() else f"in tenth {group} of forecasts"
    return f"on {group}" if name == "weekday" else f"in {group}"


def _figure(found: list[Biases], view: View) -> Figure:
    cells = []
    for one in found:
        kept = np.flatnonzero(np.isfinite(one.mean_G))
        bar: dict[str, Any] = {"type": "bar", "name": one.of.name, "x": [one.of.groups[g] for g in kept]}
        bar["y"] = plain(one.mean_G[kept])
        bar["error_y"] = {"type": "data", "array": plain(np.nan_to_num(one.reach_G[kept])), "thickness": 1, "width": 2}
        cells.append((f"by {one.of.name}" + (" of the forecast, in tenths" if one.of.name == "level" else ""), [bar]))
    tops = []
    for one in found:
        g = int(np.nanargmax(np.abs(one.mean_G)))
        reach = f" ± {number(float(one.reach_G[g]))}" if np.isfinite(one.reach_G[g]) else ""
        tops.append(f"{number(float(one.mean_G[g]))}{reach} {_where(one.of.name, one.of.groups[g])}")
    caption = (
        f"Forecast less actual, in {view.unit}, with 95 % intervals over blocks of time: above 0 forecasts are too high. "
        f"Largest: {listed(tops)}."
    )
    made = panels("bias", "Bias by calendar and level", caption, cells, columns=min(2, len(cells)))
    layout = {key: _free(value, key[:5]) if key[1:5] == "axis" else value for key, value in made.layout.items()}
    return made.model_copy(update={"layout": layout})


def _free(axis: dict[str, Any], kind: str) -> dict[str, Any]:
    """A panel's axis with names of its own, and room for them."""
    if kind == "yaxis":
        low, high = axis["domain"]
        return axis | {"domain": [low + ROOM * (high - low), high]}
    kept = {key: value for key, value in axis.items() if key != "matches"}
    return kept | {"showticklabels": True, "type": "category"}


def _short(names: Sequence[str]) -> list[str]:
    return [name[:3] for name in names]
