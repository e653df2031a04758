"""How much a target moves within a season, and whether that changes. Knows nothing of why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from lstm_ray.data.timeline.grid import SERIES, TIME
from lstm_ray.explore.analysis import (
    Analysis,
    Clock,
    advise,
    named,
    number,
    representative,
    times_of,
    values_of,
    within,
)
from lstm_ray.explore.lags import correlation
from lstm_ray.explore.pictures import overlay, smooth_line

FEWEST_STEPS = 8
WIDE = 3.0
"""Ratio of the wildest tenth's deviation to the calmest tenth's from which one scale does not fit all times."""
GROWS = 0.6
LINES, LINE_POINTS = 8, 250


def volatility(frame: pl.DataFrame, columns: Sequence[str], season: int, clock: Clock) -> Analysis:
    """Rolling standard deviation over a season, of each series and column.

    Table: ``volatility`` (series, column, p10, median, p90, ratio = p90 / p10, trend per year or thousand steps, r2,
    and the correlation of deviation and level).
    """
    window = max(season, FEWEST_STEPS)
    result, table = Analysis(), []
    rolled = {column: _roll(frame, column, window) for column in columns}
    for column, rows in rolled.items():
        for (series,), one in rows.group_by(SERIES, maintain_order=True):
            table.append({"series": series, "column": column, **_describe(one, clock)})
    _say(result, table, columns, window, clock)
    result.tables["volatility"] = table
    if table:
        _figure(result, frame, table, columns, window, clock)
    return result


def _roll(frame: pl.DataFrame, column: str, window: int) -> pl.DataFrame:
    value = pl.col(column)
    deviation = value.rolling_std(window, min_samples=window // 2 + 1).over(SERIES)
    level = value.rolling_mean(window, min_samples=window // 2 + 1).over(SERIES)
    rows = frame.select(SERIES, TIME, deviation=deviation, level=level)
    # The first season is a part of one, which looks calmer than it is.
    is_whole = pl.int_range(pl.len()).over(SERIES) >= window - 1
    return rows.filter(is_whole & pl.col("deviation").is_not_null())


def _describe(one: pl.DataFrame, clock: Clock) -> dict[str, Any]:
    deviation_T, level_T = one["deviation"].to_numpy(), one["level"].to_numpy()
    low, median, high = (float(np.quantile(deviation_T, q)) for q in (0.1, 0.5, 0.9))
    at = one[TIME].cast(pl.Int64).to_numpy() / clock.step / clock.unit_steps
    at = at - at.mean()
    along = correlation(at, deviation_T)
    slope = along * float(deviation_T.std() / at.std()) if along is not None else 0.0
    return {
        "p10": low,
        "median": median,
        "p90": high,
        "ratio": high / low if low > 0 else None,
        "trend": slope,
        "r2": along**2 if along is not None else 0.0,
        "correlation_with_level": correlation(level_T, deviation_T),
    }


def _say(result: Analysis, table: list[dict[str, Any]], columns: Sequence[str], window: int, clock: Clock) -> None:
    """One sentence for the columns that one scale fits at all times, one for those it does not fit."""
    wide: list[tuple[float, dict[str, Any]]] = []
    steady: list[tuple[float, dict[str, Any]]] = []
    for column in columns:
        known = [row for row in table if row["column"] == column and row["ratio"] is not None]
        if known:
            ratio = float(np.median([row["ratio"] for row in known]))
            widest = max(known, key=lambda row: row["ratio"])
            (wide if ratio >= WIDE else steady).append((ratio, widest))
    for found, severity in ((wide, "advice"), (steady, "info")):
        if found:
            words = [f"{row['column']} by {number(ratio)}" for ratio, row in sorted(found, key=lambda pair: -pair[0])]
            text = (
                f"Deviations within {clock.span(window)} change between calm and wild times (tenth to ninetieth "
                f"percentile): {named(words)}{_details(max(found, key=lambda pair: pair[0])[1], clock)}."
            )
            advice = advise("model", normalisation="mean_deviation") if found is wide else ""
            result.say("advice" if severity == "advice" else "info", text, advice)


def _details(row: dict[str, Any], clock: Clock) -> str:
    text = (
        f"; {row['column']}{within(row['series'])} goes from {number(row['p10'])} to {number(row['p90'])} and moves by "
        f"{number(row['trend'])} per {clock.unit} (R² {row['r2']:.2f})"
    )
    grows = row["correlation_with_level"]
    return text + (f", growing with the level (correlation {grows:.2f})" if grows is not None and grows > GROWS else "")


def _figure(
    result: Analysis,
    frame: pl.DataFrame,
    table: list[dict[str, Any]],
    columns: Sequence[str],
    window: int,
    clock: Clock,
) -> None:
    """The first column in up to eight series, or every column where there is one series."""
    series = frame[SERIES].unique(maintain_order=True).to_list()
    pairs = [(one, columns[0]) for one in series] if len(series) > 1 else [(series[0], column) for column in columns]
    traces = []
    for one, column in pairs[:LINES]:
        deviation = (
            pl.Series(values_of(frame, one, column)).fill_nan(None).rolling_std(window, min_samples=window // 2 + 1)
        )
        name = one if len(series) > 1 else column
        values_T = deviation.to_numpy().astype(np.float64)
        values_T[: window - 1] = np.nan
        traces.append(smooth_line(times_of(frame, one), values_T, name, points=LINE_POINTS))
    shown = representative(frame, columns[0])
    row = next((r for r in table if r["series"] == shown and r["column"] == columns[0]), table[0])
    caption = (
        f"Standard deviation over the last {clock.span(window)}: {row['column']}{within(row['series'])} moves by "
        f"{number(row['median'])} at the median, {number(row['p10'])} in calm and {number(row['p90'])} in wild times."
    )
    result.figures.append(overlay("volatility", "Volatility over time", caption, traces, y_title="rolling deviation"))
