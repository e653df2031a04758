"""Change points: where a target's level or its spread jumps and stays. Knows nothing of why.

A moving-sum detector (Eichinger & Kirch, 2018, A MOSUM procedure for the estimation of multiple random change points)
on means of whole seasons, so that no season shows. Its noise is what the same statistic does everywhere else in the
series, for values that remember their past, or wander, jump by chance where independent ones would not: penalised
searches (PELT) assume the latter, and cut a random walk into stairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.ndimage import median_filter

from lstm_ray.explore.analysis import (
    Analysis,
    Clock,
    advise,
    counted,
    named,
    number,
    times_of,
    values_of,
    varies,
    when,
    within,
)
from lstm_ray.explore.lags import without_season
from lstm_ray.explore.pictures import overlay
from lstm_ray.explore.seasonality import pairs
from lstm_ray.figure import Figure, plain

CLEAR = 7.0
"""Robust deviations of the statistic that make a change. Of 200 series each, white noise reached it in 1, noise with a
memory of 0.8 in 2 to 4, random walks in 6; a jump of two deviations of a block's mean is found in most of 365 blocks."""
SCALES = (20, 10)
"""Windows on either side of a change, as parts of the series: the narrow one places, the wide one finds small changes."""
FEWEST_BLOCKS, MOST_BLOCKS, FEWEST_IN_WINDOW = 40, 400, 5
FEWEST_IN_BLOCK = 6
"""Values that a block's spread is read from."""
MOST_CHANGES = 5
ODD, MOST_ODD = 6.0, 3
"""Robust deviations from the median around it that make a block odd, in a run of so many blocks at most: a spike or an odd
day, which comes back, is no change that lasts."""


@dataclass(frozen=True)
class Change:
    """A jump before block ``at``: of the mean, in the column's units, or of the spread, as a factor."""

    at: int
    kind: Literal["mean", "spread"]
    size: float
    deviations: float


@dataclass(frozen=True)
class Blocks:
    """Means and spreads of one series over stretches of ``steps`` steps; NaN where too little was measured. Shape [B]."""

    steps: int
    first: int
    """Step at which the first block starts."""
    mean: NDArray
    spread: NDArray


def changes(
    frame: pl.DataFrame,
    columns: Sequence[str],
    season: int,
    clock: Clock,
    train_end: Any = None,
    normalisation: str = "auto",
) -> Analysis:
    """Jumps of mean and spread in a few representative series.

    Args:
        frame: the regular grid.
        train_end: time at which the training part ends; None where series are dealt whole.
        normalisation: as configured: what would be changed where levels or spreads jump.

    Table: ``changes`` (series, column, kind, time, size, before, after, deviations).
    """
    result, table = Analysis(), []
    shown: tuple[float, Figure] | None = None
    examined = pairs(frame, columns)
    looked = 0
    for series, column in examined:
        values_T = values_of(frame, series, column)
        blocks = blocks_of(values_T, season)
        if blocks is None:
            continue
        looked += 1
        found = find_changes(blocks)
        times = times_of(frame, series)
        rows = [_row(series, column, change, blocks, times) for change in found]
        table += rows
        strongest = max((change.deviations for change in found), default=0.0)
        if found and (shown is None or strongest > shown[0]):
            shown = (strongest, _figure(series, column, blocks, found, times, rows, clock))
    result.tables["changes"] = table
    if shown is not None:
        result.figures.append(shown[1])
    if looked:
        _say(result, table, looked, train_end, normalisation, clock)
    return result


def blocks_of(values_T: NDArray, season: int) -> Blocks | None:
    """A series in blocks of whole seasons where it is long enough, of at least one season else; None where it is short.

    The average season is taken out first, so that blocks that are no whole season are level too.
    """
    if not varies(values_T):
        return None
    rest_T = np.where(np.isfinite(values_T), without_season(values_T, season), np.nan)
    level = float(np.nanmean(values_T)) - float(np.nanmean(rest_T))
    size = len(rest_T)
    width = max(-(-size // MOST_BLOCKS), season if size // season >= FEWEST_BLOCKS else 1)
    if season < width and size // (-(-width // season) * season) >= FEWEST_BLOCKS:
        width = -(-width // season) * season
    if size // width < FEWEST_BLOCKS:
        return None
    first = size % width
    cut_BW = rest_T[first:].reshape(-1, width)
    num = np.isfinite(cut_BW).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.nansum(cut_BW, axis=1) / num
        spread = np.sqrt(np.nansum((cut_BW - mean[:, None]) ** 2, axis=1) / (num - 1))
    mean = np.where(2 * num >= width, mean + level, np.nan)
    enough = (2 * num >= width) & (num >= FEWEST_IN_BLOCK) & (spread > 1e-9 * np.nanmax(np.abs(values_T)))
    return Blocks(width, first, mean, np.where(enough, spread, np.nan))


def find_changes(blocks: Blocks) -> list[Change]:
    """Jumps of the mean, and of the logarithm of the spread, in order of time."""
    found = [Change(at, "mean", size, z) for at, size, z in _jumps(blocks.mean)]
    found += [Change(at, "spread", float(np.exp(size)), z) for at, size, z in _jumps(np.log(blocks.spread))]
    return sorted(found, key=lambda change: change.at)


def _jumps(values_B: NDArray) -> list[tuple[int, float, float]]:
    """(position, size, deviations) of each jump, the clearest first: found, taken out, and looked for again."""
    seen = np.flatnonzero(np.isfinite(values_B))
    rest_B = _without_odd(values_B[seen])
    if len(rest_B) < FEWEST_BLOCKS or not varies(rest_B):
        return []
    found: list[tuple[int, float, float]] = []
    for _ in range(MOST_CHANGES):
        at, size, deviations = max(
            (_clearest(rest_B, len(rest_B) // scale) for scale in SCALES), key=lambda one: one[2]
        )
        if deviations < CLEAR or any(abs(at - other) < FEWEST_IN_WINDOW for other, _, _ in found):
            break
        found.append((at, size, deviations))
        rest_B = rest_B - size * (np.arange(len(rest_B)) >= at)
    return [(int(seen[at]), size, deviations) for at, size, deviations in found]


def _without_odd(values_B: NDArray) -> NDArray:
    """Values with those far from their neighbours in their place (Hampel, 1974), which leaves jumps as they are."""
    if len(values_B) < FEWEST_BLOCKS:
        return values_B
    median_B = median_filter(values_B, size=2 * MOST_ODD + 1, mode="nearest")
    off_B = np.abs(values_B - median_B)
    return np.where(off_B > ODD * 1.4826 * np.median(off_B), median_B, values_B)


def _clearest(values_B: NDArray, window: int) -> tuple[int, float, float]:
    """The place where the means of the windows before and after differ most from how they usually do."""
    window = max(FEWEST_IN_WINDOW, window)
    total = np.concatenate([[0.0], np.cumsum(values_B)])
    at = np.arange(window, len(values_B) - window + 1)
    step = (total[at + window] - 2 * total[at] + total[at - window]) / window
    top = int(np.argmax(np.abs(step - np.median(step))))
    # A change fills the windows that reach over it: they say nothing of the noise.
    usual = np.abs(at - at[top]) >= window
    usual_step = step[usual] if usual.sum() >= 2 * window else step
    centre = float(np.median(usual_step))
    scale = 1.4826 * float(np.median(np.abs(usual_step - centre)))
    size = float(step[top]) - centre
    least = 1e-9 * max(float(np.abs(values_B).max()), 1e-300)
    return int(at[top]), size, abs(size) / max(scale, least) if abs(size) > least else 0.0


def _row(series: str, column: str, change: Change, blocks: Blocks, times: list[Any]) -> dict[str, Any]:
    values = blocks.mean if change.kind == "mean" else blocks.spread
    width = max(FEWEST_IN_WINDOW, len(values) // SCALES[-1])
    before, after = (
        float(np.nanmedian(values[first:end]))
        for first, end in ((max(0, change.at - width), change.at), (change.at, change.at + width))
    )
    return {
        "series": series,
        "column": column,
        "kind": change.kind,
        "time": times[blocks.first + change.at * blocks.steps],
        "size": change.size,
        "before": before,
        "after": after,
        "deviations": change.deviations,
    }


def _say(
    result: Analysis, table: list[dict[str, Any]], looked: int, train_end: Any, normalisation: str, clock: Clock
) -> None:
    what = counted(looked, "series and column", "series and columns")
    if not table:
        result.say("info", f"No level and no spread jumps for good in {what} looked at (MOSUM, {CLEAR:g} deviations).")
        return
    ranked = sorted(table, key=lambda row: -row["deviations"])
    words = [
        f"the {row['kind']} of {row['column']}{within(row['series'])} goes from {number(row['before'])} to "
        f"{number(row['after'])} at {when(row['time'], clock)} ({number(row['deviations'])} deviations)"
        for row in ranked
    ]
    text = f"{counted(len(table), 'change that lasts', 'changes that last')} in {what} looked at: {named(words)}."
    kinds = {row["kind"] for row in table}
    carry = "mean_deviation" if "spread" in kinds else "last"
    fits = normalisation in ("mean_deviation", "auto") or (normalisation != "none" and "spread" not in kinds)
    advice = "" if fits else advise("model", normalisation=carry)
    if train_end is not None and max(row["time"] for row in table) >= train_end:
        text += " The training part ends before the latest of them and has never seen what comes after."
        result.say("warning", text, advice)
    else:
        result.say("advice" if advice else "info", text, advice)


def _figure(
    series: str,
    column: str,
    blocks: Blocks,
    found: list[Change],
    times: list[Any],
    rows: list[dict[str, Any]],
    clock: Clock,
) -> Figure:
    """Block means, the band of one spread around them, and a line at each change."""
    x = plain([times[blocks.first + at * blocks.steps] for at in range(len(blocks.mean))])
    low, high = blocks.mean - blocks.spread, blocks.mean + blocks.spread
    edge: dict[str, Any] = {"type": "scatter", "x": x, "mode": "lines", "line": {"width": 0}, "hoverinfo": "skip"}
    traces: list[dict[str, Any]] = []
    if np.isfinite(blocks.spread).all():
        traces.append({**edge, "y": plain(low), "showlegend": False})
        traces.append({**edge, "y": plain(high), "fill": "tonexty", "name": "± one deviation within"})
    else:
        low = high = blocks.mean
    traces.append(
        {"type": "scatter", "mode": "lines", "name": f"mean of {blocks.steps} steps", "x": x, "y": plain(blocks.mean)}
    )
    bottom, top = float(np.nanmin(low)), float(np.nanmax(high))
    marks = [value for change in found for value in (x[change.at], x[change.at], None)]
    traces.append(
        {"type": "scatter", "mode": "lines", "name": "change", "x": marks, "y": plain([bottom, top, None] * len(found))}
    )
    first = max(rows, key=lambda row: row["deviations"])
    caption = (
        f"{column}{within(series)} in means of {clock.span(blocks.steps)}: the {first['kind']} goes from "
        f"{number(first['before'])} to {number(first['after'])} at {when(first['time'], clock)}; "
        f"{counted(len(found), 'change')} in all."
    )
    return overlay("changes", f"Where {column} changes for good", caption, traces, y_title=column)
