"""Levels and slopes over time. Knows nothing of seasons: a table shorter than two years cannot tell the two apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from lstm_ray.data.timeline.grid import SERIES, TIME
from lstm_ray.explore.analysis import (
    Analysis,
    Clock,
    axis_of,
    named,
    number,
    percent,
    stretches,
    values_of,
    when,
    within,
)
from lstm_ray.explore.pictures import LINE_POINTS, Line, line, overlay, panels
from lstm_ray.figure import Figure, plain

STRETCHES, LEVEL_SERIES = 24, 50
CLEAR_R2 = 0.1
"""A slope that explains less of the variance is not called a trend."""
LINES, PANELS = 8, 8


def overview(frame: pl.DataFrame, columns: Sequence[str], clock: Clock | None = None) -> Analysis:
    """Every series and column over time, a panel each, as many as can be looked at."""
    series = frame[SERIES].unique(maintain_order=True).to_list()
    pairs = [(one, column) for column in columns for one in series]
    cells: list[tuple[str, list[Line]]] = []
    side_by_side = 2 if min(len(pairs), PANELS) > 4 else 1
    for one, column in pairs[:PANELS]:
        x = frame.filter(pl.col(SERIES) == one)[TIME].to_list()
        name = column if len(series) == 1 else f"{column} · {one}"
        cells.append((name, [line(x, values_of(frame, one, column), name, points=LINE_POINTS // side_by_side)]))
    rest = f", the first {PANELS} of {len(pairs):,} shown" if len(pairs) > PANELS else ""
    first, last = frame.select(pl.col(TIME).min().alias("first"), pl.col(TIME).max().alias("last")).row(0)
    caption = (
        f"{len(series):,} series of {', '.join(columns[:LINES])}, from {when(first, clock)} to {when(last, clock)}{rest}; "
        "each line keeps the lowest and highest value of every stretch."
    )
    return Analysis(figures=[panels("overview", "Every series over time", caption, cells, columns=side_by_side)])


def trends(frame: pl.DataFrame, columns: Sequence[str], clock: Clock) -> Analysis:
    """Level per month or equal stretch, and the least-squares slope of each series with the variance it explains.

    Tables: ``levels`` (of the first 50 series: series, column, start, mean, p10, p90, count), ``slopes`` (series, column,
    slope in units per year or per thousand steps, r2, change over the whole span).
    """
    first, last = axis_of(frame)
    span_units = ((last - first) / clock.step) / clock.unit_steps
    some = frame[SERIES].unique(maintain_order=True).head(LEVEL_SERIES).to_list()
    bucket = stretches(TIME, clock, first, last, STRETCHES)
    levels, slopes = [], []
    for column in columns:
        seen = frame.select(SERIES, TIME, value=pl.col(column)).drop_nulls("value")
        levels += _levels(seen.filter(pl.col(SERIES).is_in(some)), column, bucket)
        slopes += _slopes(seen, column, clock)
    result = Analysis(tables={"levels": levels, "slopes": slopes})
    if levels:
        result.figures.append(_figure(levels, slopes, columns[0], clock))
    _say(result, slopes, columns, clock, span_units)
    return result


def _say(
    result: Analysis, slopes: list[dict[str, Any]], columns: Sequence[str], clock: Clock, span_units: float
) -> None:
    clear = sorted((row for row in slopes if row["r2"] >= CLEAR_R2), key=lambda row: -row["r2"])
    if not clear:
        best = max((row["r2"] for row in slopes), default=0.0)
        text = f"No straight trend in {named(columns)}: a line explains at most {percent(best)} of the variance."
        result.say("info", text)
        return
    words = [f"{r['column']}{within(r['series'])} {number(r['slope'])} (R² {r['r2']:.2f})" for r in clear]
    text = f"Straight trends, per {clock.unit}, in {len(clear)} of {len(slopes)} series and columns: {named(words)}."
    if clock.is_time and span_units < 2:
        text += f" The table spans {number(span_units)} years: below two, a yearly cycle looks like a trend."
    result.say("info", text)


def _levels(seen: pl.DataFrame, column: str, bucket: pl.Expr) -> list[dict[str, Any]]:
    value = pl.col("value")
    by_stretch = seen.group_by(SERIES, start=bucket).agg(
        mean=value.mean(), p10=value.quantile(0.1), p90=value.quantile(0.9), count=pl.len()
    )
    named_column = pl.lit(column).alias("column")
    return by_stretch.sort(SERIES, "start").select(SERIES, named_column, pl.exclude(SERIES)).to_dicts()


def _slopes(seen: pl.DataFrame, column: str, clock: Clock) -> list[dict[str, Any]]:
    """Slope = cov(t, x) / var(t), R² = cov² / (var(t) var(x)); a series without spread in either has slope 0."""
    at = (pl.col(TIME).cast(pl.Int64) / clock.step / clock.unit_steps).alias("at")
    sums = (
        seen.with_columns(at)
        # Times since 1970 against a short span would cost the covariance its digits.
        .with_columns(pl.col("at", "value") - pl.col("at", "value").mean().over(SERIES))
        .group_by(SERIES, maintain_order=True)
        .agg(
            cov=(pl.col("at") * pl.col("value")).sum(),
            var_at=pl.col("at").pow(2).sum(),
            var=pl.col("value").pow(2).sum(),
            span=pl.col("at").max() - pl.col("at").min(),
        )
    )
    rows = []
    for series, cov, var_at, var, span in sums.iter_rows():
        slope = cov / var_at if var_at > 0 else 0.0
        r2 = cov**2 / (var_at * var) if var_at > 0 and var > 1e-24 else 0.0
        row = {"series": series, "column": column, "slope": slope, "unit": f"per {clock.unit}", "r2": min(r2, 1.0)}
        rows.append({**row, "change": slope * span})
    return rows


def _figure(levels: list[dict[str, Any]], slopes: list[dict[str, Any]], column: str, clock: Clock) -> Figure:
    """Lines of the first column by series, or of every column where there is one series."""
    series = list(dict.fromkeys(row["series"] for row in levels))
    columns = list(dict.fromkeys(row["column"] for row in levels))
    key = "series" if len(series) > 1 else "column"
    names = series if len(series) > 1 else columns
    chosen = [row for row in levels if len(series) == 1 or row["column"] == column]
    traces = []
    for name in names[:LINES]:
        rows = [row for row in chosen if row[key] == name]
        x, y = plain([row["start"] for row in rows]), plain([row["mean"] for row in rows])
        traces.append({"type": "scatter", "mode": "lines+markers", "name": name, "x": x, "y": y})
    steepest = max(slopes, key=lambda row: row["r2"])
    rest = f"; {LINES} of {len(names):,} lines are shown" if len(names) > LINES else ""
    caption = (
        f"Mean per stretch; the clearest straight line is {steepest['column']}{within(steepest['series'])} with "
        f"{number(steepest['slope'])} per {clock.unit} (R² {steepest['r2']:.2f}){rest}."
    )
    title = f"Level of {column}" if len(series) > 1 else "Level over time"
    return overlay("level", title, caption, traces, y_title=column if len(series) > 1 else "")
