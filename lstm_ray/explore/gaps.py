"""Missing time stamps and missing values: how many, how long, where. Knows nothing of how they are filled."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import polars as pl

from lstm_ray.data.timeline.grid import SERIES, TIME
from lstm_ray.explore.analysis import Analysis, Clock, advise, axis_of, counted, named, number, percent, when
from lstm_ray.figure import heatmap
from lstm_ray.sections.data import DataConfig
from lstm_ray.sections.prepare import PreprocessConfig

OBSERVED = "was observed"
"""The grid's column that is null where a time stamp was missing."""
ROW = "time stamp"
"""The heatmap's row for time stamps that are missing altogether."""
MOSTLY_MISSING = 0.5
HEATMAP_COLUMNS, HEATMAP_ROWS = 120, 24
WORST_GAPS = 50


def timestamps(frame: pl.DataFrame, clock: Clock, season: int) -> Analysis:
    """Irregular intervals of the rows as they came.

    Args:
        frame: series and time, sorted, before missing time stamps become rows.
        season: gaps up to this many steps are worth filling.

    Tables: ``gaps`` (the longest), ``intervals`` (how often each step between neighbours occurs).
    """
    steps = (pl.col(TIME).cast(pl.Int64).diff().over(SERIES) // clock.step).alias("steps")
    rows = frame.select(SERIES, TIME, steps, before=pl.col(TIME).shift(1).over(SERIES)).drop_nulls("steps")
    gaps = rows.filter(pl.col("steps") > 1).select(
        SERIES, after="before", until=TIME, missing_steps=pl.col("steps") - 1
    )
    longest_first = gaps.sort("missing_steps", SERIES, "after", descending=[True, False, False])
    intervals = rows.group_by("steps").agg(count=pl.len()).sort("steps").head(WORST_GAPS)
    result = Analysis(tables={"gaps": longest_first.head(WORST_GAPS).to_dicts(), "intervals": intervals.to_dicts()})
    if gaps.is_empty():
        result.say("info", f"No time stamp is missing: all {rows.height:,} intervals are {clock.span(1)}.")
        return result
    usual = PreprocessConfig().max_gap_steps
    missing, worst = int(gaps["missing_steps"].sum()), longest_first.row(0, named=True)
    longest = int(worst["missing_steps"])
    fillable = min(longest, season)
    result.say(
        "advice" if longest > usual else "info",
        f"{missing:,} time stamps are missing ({percent(missing / (missing + frame.height))}) in {gaps.height:,} gaps "
        f"of {gaps[SERIES].n_unique():,} series; the longest, {clock.span(longest)}, follows {when(worst['after'], clock)} in "
        f"'{worst[SERIES]}'. Gaps longer than preprocess.max_gap_steps ({usual} unless set) "
        "cut a series in two.",
        advise("preprocess", max_gap_steps=fillable) if fillable > usual else "",
    )
    return result


def num_missing(frame: pl.DataFrame, clock: Clock) -> int:
    """Time stamps that the rows as they came lack, over all series."""
    ends = frame.group_by(SERIES).agg(span=pl.col(TIME).max().cast(pl.Int64) - pl.col(TIME).min().cast(pl.Int64))
    return int(ends["span"].sum()) // clock.step + ends.height - frame.height


def missing_values(frame: pl.DataFrame, columns: Sequence[str], data: DataConfig) -> Analysis:
    """Values missing in rows that exist.

    Args:
        frame: rows as they came.
        columns: the numeric columns.

    Table: ``missing_values``, one row a column.
    """
    run = (pl.col(SERIES), pl.col("is_missing").rle_id().over(SERIES))
    table: list[dict[str, Any]] = []
    for column in columns:
        marked = frame.select(SERIES, is_missing=pl.col(column).is_null())
        count = int(marked["is_missing"].sum())
        longest = 0
        if count:
            runs = marked.group_by(run[0], run[1].alias("run")).agg(pl.col("is_missing").sum())
            longest = int(runs["is_missing"].max())  # type: ignore[arg-type]
        table.append({"column": column, "missing": count, "share": count / frame.height, "longest_run_steps": longest})
    result = Analysis(tables={"missing_values": table})
    some = sorted((row for row in table if row["missing"]), key=lambda row: -row["missing"])
    for row in some:
        if row["share"] > MOSTLY_MISSING:
            _say_mostly_missing(result, row["column"], row["share"], data)
    some = [row for row in some if row["share"] <= MOSTLY_MISSING]
    if some:
        words = [
            f"{r['column']} {r['missing']:,} ({percent(r['share'])}, at most {r['longest_run_steps']:,} in a row)"
            for r in some
        ]
        result.say(
            "info",
            f"{len(some)} of {len(columns)} columns miss values: {named(words)}. Short runs are imputed in preprocess.",
        )
    elif not any(row["missing"] for row in table):
        result.say(
            "info", f"No value is missing in the {frame.height:,} rows of {counted(len(columns), 'numeric column')}."
        )
    return result


def _say_mostly_missing(result: Analysis, column: str, share: float, data: DataConfig) -> None:
    what = "has no value at all" if share == 1 else f"misses {percent(share)} of its values"
    result.say("warning", f"Column '{column}' {what}; it can teach little.", without(column, data))


def without(column: str, data: DataConfig) -> str:
    """The YAML line that takes a column out of its role; empty where the role cannot do without it."""
    for role in ("target", "past", "known", "static"):
        names: list[str] = getattr(data, role)
        needed = role == "target" or (role == "past" and data.label is not None)
        if column in names and not (needed and len(names) == 1):
            return advise("data", **{role: [name for name in names if name != column]})
    return ""


def missing_map(frame: pl.DataFrame, columns: Sequence[str], clock: Clock) -> Analysis:
    """Where in time values are missing, as a heatmap; none where nothing is.

    Args:
        frame: the regular grid, with the column OBSERVED.
    """
    ticks = pl.col(TIME).cast(pl.Int64)
    first, last = axis_of(frame)
    width = max(1, -(-((last - first) // clock.step + 1) // HEATMAP_COLUMNS)) * clock.step
    series = frame[SERIES].unique(maintain_order=True).to_list()
    by_series = len(series) > 1 and len(series) * (len(columns) + 1) <= HEATMAP_ROWS
    names = {ROW: OBSERVED, **{column: column for column in columns}}
    shares = frame.group_by(
        pl.col(SERIES) if by_series else pl.lit("all").alias(SERIES), bucket=(ticks - first) // width
    ).agg(pl.col(source).is_null().mean().alias(name) for name, source in names.items())
    buckets = sorted(shares["bucket"].unique())
    rows: dict[str, list[float]] = {}
    for one in series if by_series else ["all"]:
        part = shares.filter(pl.col(SERIES) == one)
        for name in names:
            found = dict(zip(part["bucket"], part[name], strict=True))
            label = f"{name} · {one}" if by_series else name
            rows[label] = [100 * found.get(bucket, math.nan) for bucket in buckets]
    incomplete = {name: row for name, row in rows.items() if any(share > 0 for share in row)}
    if not incomplete:
        return Analysis()
    kind = frame.schema[TIME]
    x = pl.Series([first + bucket * width for bucket in buckets], dtype=pl.Int64).cast(kind).to_list()
    peak, where = max((max(share for share in row if share >= 0), name) for name, row in incomplete.items())
    caption = (
        f"Share of values missing in each stretch of {clock.span(width // clock.step)}; the emptiest stretch lacks "
        f"{number(peak)} % of {where}. Rows that lack nothing are left out."
    )
    figure = heatmap("missing", "Missing values over time", caption, x, list(incomplete), list(incomplete.values()))
    return Analysis(figures=[figure])
