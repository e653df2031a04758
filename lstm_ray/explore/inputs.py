"""What each input adds: to a linear forecast of the target, and to the other inputs. Knows nothing of the network."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lstm_ray.data.timeline.grid import SERIES
from lstm_ray.explore.analysis import Analysis, Clock, number, representative, values_of, varies
from lstm_ray.explore.gaps import without
from lstm_ray.explore.lags import correlation
from lstm_ray.figure import bars, heatmap
from lstm_ray.sections.data import DataConfig

FEWEST_ROWS = 30
REDUNDANT = 0.99
LITTLE = 0.001
"""Share of the squared error below which an input adds nothing to speak of."""
MOST_COLUMNS = 15


def importance(
    frame: pl.DataFrame, data: DataConfig, horizon: int, season: int, clock: Clock, *, draw: bool = True
) -> Analysis:
    """Share of a linear forecast's squared error that each input takes away, one step and ``horizon`` steps ahead.

    The forecast knows the target now and one season before the step it predicts; a past column adds its value now, a
    known column its value at that step. In sample, on each target's representative series.

    Args:
        draw: whether to draw it; a model that bends draws its own.

    Table: ``importance`` (target, input, steps_ahead, share).
    """
    table: list[dict[str, Any]] = []
    leads = sorted({1, horizon})
    for target in data.target[:MOST_COLUMNS]:
        series = representative(frame, target)
        target_T = values_of(frame, series, target)
        for column in [*data.past, *data.known][:MOST_COLUMNS]:
            input_T = values_of(frame, series, column)
            for lead in leads:
                share = _gain(target_T, input_T, lead, season, column in data.known)
                if share is not None:
                    table.append({"target": target, "input": column, "steps_ahead": lead, "share": share})
    result = Analysis(tables={"importance": table})
    first = [row for row in table if row["target"] == data.target[0]]
    if not first:
        return result
    names = sorted(
        {row["input"] for row in first}, key=lambda name: -max(r["share"] for r in first if r["input"] == name)
    )
    by_key = {(row["input"], row["steps_ahead"]): row["share"] for row in first}
    shown = {f"{clock.span(lead)} ahead": [100 * by_key.get((n, lead), np.nan) for n in names] for lead in leads}
    best = max(first, key=lambda row: row["share"])
    caption = (
        f"Squared error of a linear forecast of {data.target[0]} that each input takes away: {best['input']} takes "
        f"{number(100 * best['share'])} % at {clock.span(best['steps_ahead'])} ahead."
    )
    if draw:
        title = "What each input adds"
        result.figures.append(bars("importance", title, caption, names, shown, y_title="% of squared error"))
    idle = [name for name in names if max(row["share"] for row in first if row["input"] == name) < LITTLE]
    words = f" Under {100 * LITTLE:.1f} %: {', '.join(idle)}." if idle else ""
    result.say("info", f"{caption}{words}")
    return result


def redundancy(frame: pl.DataFrame, data: DataConfig, *, draw: bool = True) -> Analysis:
    """Correlations between all columns at the same step, within series; inputs that say the same.

    Args:
        draw: whether to draw the matrix; where there is a target, its correlations are drawn by lag elsewhere.

    Table: ``correlation`` (columns, matrix).
    """
    columns = [*data.target, *data.past, *data.known][:MOST_COLUMNS]
    # Levels that differ from series to series would correlate everything with everything.
    centred = frame.select(pl.col(c) - pl.col(c).mean().over(SERIES) for c in columns)
    values = [centred[c].to_numpy() for c in columns]
    matrix = [[1.0 if a is b else correlation(a, b) for a in values] for b in values]
    result = Analysis(tables={"correlation": {"columns": columns, "matrix": matrix}})
    pairs = [
        (abs(value), columns[i], columns[j])
        for i, row in enumerate(matrix)
        for j, value in enumerate(row)
        if i < j and value is not None
    ]
    if not pairs:
        return result
    if draw:
        strength, one, other = max(pairs)
        caption = (
            f"Correlation at the same step, within series: {one} and {other} are closest with {strength:.2f} in size."
        )
        rows = [[np.nan if value is None else value for value in row] for row in matrix]
        title = "Which columns move together"
        result.figures.append(heatmap("correlation", title, caption, columns, columns, rows, diverging=True))
    inputs = {*data.past, *data.known}
    for value, one, other in sorted(pairs, reverse=True):
        if value > REDUNDANT and {one, other} <= inputs:
            text = f"'{one}' and '{other}' say the same: they correlate {value:.4f} in size; one of them will do."
            result.say("advice", text, without(other, data))
    return result


def _gain(target_T: NDArray, input_T: NDArray, lead: int, season: int, is_known: bool) -> float | None:
    """Share of the squared error that the input takes away; None where there is too little to fit."""
    size = len(target_T)
    # The newest step of the same phase that is not after the origin.
    back = -(-lead // season) * season - lead
    origins = np.arange(back, size - lead)
    if len(origins) < FEWEST_ROWS or not varies(input_T):
        return None
    wanted = target_T[origins + lead]
    added = input_T[origins + lead] if is_known else input_T[origins]
    design = np.stack([np.ones(len(origins)), target_T[origins], target_T[origins - back], added], axis=1)
    rows = np.isfinite(design).all(axis=1) & np.isfinite(wanted)
    if rows.sum() < FEWEST_ROWS or not varies(wanted[rows]):
        return None
    before, after = (_squared_error(design[rows, :width], wanted[rows]) for width in (3, 4))
    return max(0.0, 1 - after / before) if before > 1e-12 * float(np.var(wanted[rows])) else None


def _squared_error(design: NDArray, wanted: NDArray) -> float:
    weights = np.linalg.lstsq(design, wanted, rcond=None)[0]
    return float(np.mean((wanted - design @ weights) ** 2))
