"""Values that do not fit their neighbours: spikes. Knows nothing of what is done about them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from lstm_ray.data.timeline.grid import SERIES, TIME
from lstm_ray.explore.analysis import (
    CLIPPED,
    Analysis,
    Clock,
    advise,
    counted,
    number,
    percent,
    values_of,
    when,
    within,
)
from lstm_ray.explore.pictures import line, overlay
from lstm_ray.figure import plain

FEWEST_NEIGHBOURS, MOST_NEIGHBOURS = 7, 501
SPIKE_TIMES, SPIKE_STEPS = 3, 2
"""A spike is this many times over the outlier limit and back within so many steps."""
FEW, RARE = 3, 0.001
"""A column with more spikes than both, the latter a share of its values, is like that: dry hours with showers."""
KEPT, MARKED = 10, 500
HAMPEL = {"outlier_method": "hampel"}
"""What finds a value that is far from its neighbours, though not from the mean of the whole."""


def outliers(
    frame: pl.DataFrame, columns: Sequence[str], season: int, limit: float, clock: Clock | None = None
) -> Analysis:
    """Hampel-style outliers (Hampel, 1974): deviations from a rolling median, in robust deviations of the series.

    The median spans a season. The scale is 1.4826 times the median absolute deviation of the series, or 1.2533 times
    the mean absolute deviation where the former is zero (Iglewicz & Hoaglin, 1993); series too short to have a scale of
    their own, as labelled sequences are, share one.

    Args:
        frame: the regular grid.
        limit: robust deviations from which a value is an outlier.

    Tables: ``outliers`` (one row a column), ``spikes`` (the farthest of each column).
    """
    window = min(max(FEWEST_NEIGHBOURS, season | 1), MOST_NEIGHBOURS)
    own_scale = frame.height >= 2 * window * frame[SERIES].n_unique()
    result, spikes = Analysis(), []
    table: list[dict[str, Any]] = []
    marked: dict[str, pl.DataFrame] = {}
    for column in columns:
        seen = frame.select(SERIES, TIME, value=pl.col(column))
        count = seen["value"].count()
        if not count:
            continue
        found = _deviations(seen, window, own_scale, limit).filter(pl.col("deviations") > limit)
        found = found.sort("deviations", SERIES, TIME, descending=[True, False, False])
        row = {"column": column, "outliers": found.height, "share": found.height / count}
        table.append(row)
        spikes += [{"column": column, **spike} for spike in found.head(KEPT).to_dicts()]
        if found.height:
            marked[column] = found
            _say_spikes(result, frame, column, found, limit, clock)
    result.tables = {"outliers": table, "spikes": spikes}
    some = sorted((row for row in table if row["outliers"]), key=lambda row: -row["share"])
    if some:
        words = ", ".join(f"{row['column']} {row['outliers']:,} ({percent(row['share'])})" for row in some[:8])
        rest = f" and {len(some) - 8} more" if len(some) > 8 else ""
        text = (
            f"Values over {number(limit)} robust deviations from their rolling median of {window} steps: {words}{rest}."
        )
        result.say("info", text)
        _figure(result, frame, marked, columns, limit, clock)
    return result


def _deviations(seen: pl.DataFrame, window: int, own_scale: bool, limit: float) -> pl.DataFrame:
    """Columns series, time, value, median, deviations and run_steps, the length of the run of outliers it lies in.

    A series whose values never leave their median has no deviations.
    """
    fewest = FEWEST_NEIGHBOURS // 2 + 1
    median = pl.col("value").rolling_median(window, min_samples=fewest, center=True).over(SERIES)
    off = (pl.col("value") - pl.col("median")).abs()
    # Rounding leaves a scale of about 1e-16 of the level, against which everything is an outlier.
    scales = (1.4826 * off.median(), 1.2533 * off.mean(), 1e-9 * pl.col("value").abs().max())
    robust, mean, least = (scale.over(SERIES) if own_scale else scale for scale in scales)
    scale = pl.when(robust > least).then(robust).when(mean > least * 1e-6).then(mean)
    far = (pl.col("deviations") > limit).fill_null(False)
    found = seen.with_columns(median=median).with_columns(deviations=off / scale)
    found = found.with_columns(run=far.rle_id().over(SERIES))
    return found.with_columns(run_steps=pl.len().over(SERIES, "run")).drop("run")


def _say_spikes(
    result: Analysis, frame: pl.DataFrame, column: str, found: pl.DataFrame, limit: float, clock: Clock | None
) -> None:
    """A sentence on far values that return at once and are rare; where they are common they are how the column is."""
    spikes = found.filter((pl.col("deviations") > SPIKE_TIMES * limit) & (pl.col("run_steps") <= SPIKE_STEPS))
    if spikes.is_empty() or spikes.height > max(FEW, RARE * frame[column].count()):
        return
    worst = spikes.row(0, named=True)
    mean, deviation = frame.select(pl.col(column).mean().alias("mean"), pl.col(column).std().alias("deviation")).row(0)
    # Clipping acts on the distance from the mean of the whole, which a spike at night in winter may not have.
    is_clipped = deviation and abs(worst["value"] - mean) > CLIPPED * deviation
    result.say(
        "advice",
        f"'{column}' has {counted(spikes.height, 'spike')} over {number(SPIKE_TIMES * limit)} robust deviations; the "
        f"largest, {number(worst['value'])} where its neighbours' median is {number(worst['median'])}, is at "
        f"{when(worst[TIME], clock)}{within(worst[SERIES])} ({number(worst['deviations'])} deviations).",
        advise("preprocess", outliers="clip" if is_clipped else "mask", **({} if is_clipped else HAMPEL)),
    )


def _figure(
    result: Analysis,
    frame: pl.DataFrame,
    marked: dict[str, pl.DataFrame],
    columns: Sequence[str],
    limit: float,
    clock: Clock | None,
) -> None:
    """The series with the farthest outlier of the first column that has any: ``columns`` starts with the targets."""
    column = next(column for column in columns if column in marked)
    series = str(marked[column][SERIES][0])
    points = marked[column].filter(pl.col(SERIES) == series)
    worst, drawn = points.row(0, named=True), points.head(MARKED)
    x = frame.filter(pl.col(SERIES) == series)[TIME].to_list()
    dots = {"type": "scatter", "mode": "markers", "name": "outliers", "marker": {"symbol": "circle-open"}}
    dots |= {"x": plain(drawn[TIME].to_list()), "y": plain(drawn["value"].to_list())}
    rest = f" (the farthest {MARKED} are marked)" if points.height > MARKED else ""
    caption = (
        f"{column}{within(series)}: {counted(points.height, 'value lies', 'values lie')} over {number(limit)} robust "
        f"deviations from the rolling median{rest}; the farthest, {number(worst['value'])} at {when(worst[TIME], clock)}, "
        f"lies {number(worst['deviations'])} away."
    )
    traces = [line(x, values_of(frame, series, column), column), dots]
    result.figures.append(overlay("outliers", f"Outliers of {column}", caption, traces, y_title=column))
