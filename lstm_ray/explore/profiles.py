"""The typical season and the calendar of one series, as pictures. Knows nothing of whether the season is real."""

from __future__ import annotations

import numpy as np
import polars as pl

from lstm_ray.data.timeline.grid import SERIES, TIME
from lstm_ray.explore.analysis import Analysis, Clock, number, representative, within
from lstm_ray.figure import Figure, heatmap, lines

WEEKDAYS = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
FEW_DAYS, FEW_MONTHS = 14, 4
"""Days below which a week, and months below which a year, has no typical shape."""


def profiles(frame: pl.DataFrame, column: str, season: int, clock: Clock) -> Analysis:
    """The typical season of a column, hour by weekday and hour by month, in its representative series.

    Table: ``profile`` (phase, mean, p10, median, p90, count).
    """
    series = representative(frame, column)
    one = frame.filter(pl.col(SERIES) == series).select(TIME, value=pl.col(column)).drop_nulls("value")
    result = Analysis(tables={"profile": []})
    if season >= 2 and one.height >= season:
        _typical_season(result, one, column, series, season, clock)
    if clock.day_steps is None:
        return result
    hours = one.with_columns(hour=pl.col(TIME).dt.hour())
    if one[TIME].dt.date().n_unique() >= FEW_DAYS:
        by_weekday = hours.with_columns(group=pl.col(TIME).dt.weekday() - 1)
        result.figures.append(_calendar(by_weekday, column, series, "weekday", WEEKDAYS))
    if one[TIME].dt.truncate("1mo").n_unique() >= FEW_MONTHS:
        by_month = hours.with_columns(group=pl.col(TIME).dt.month() - 1)
        result.figures.append(_calendar(by_month, column, series, "month", MONTHS))
    return result


def _typical_season(result: Analysis, one: pl.DataFrame, column: str, series: str, season: int, clock: Clock) -> None:
    # Counted from 1970-01-01T00:00, so that a season of a day starts at midnight.
    phase = (pl.col(TIME).cast(pl.Int64) // clock.step) % season
    value = pl.col("value")
    table = one.group_by(phase=phase).agg(
        mean=value.mean(), p10=value.quantile(0.1), median=value.median(), p90=value.quantile(0.9), count=pl.len()
    )
    table = table.sort("phase")
    result.tables["profile"] = table.to_dicts()
    is_day = clock.day_steps == season
    x = [_clock_time(step, season) for step in table["phase"]] if is_day else table["phase"].to_list()
    means: dict[str, list[float]] = {"mean": table["mean"].to_list()}
    if is_day:
        weekend = one.group_by(phase=phase, weekend=pl.col(TIME).dt.weekday() >= 6).agg(value.mean()).sort("phase")
        for name, flag in (("weekdays", False), ("weekend", True)):
            found = dict(weekend.filter(pl.col("weekend") == flag).select("phase", "value").iter_rows())
            means[name] = [found.get(step, np.nan) for step in table["phase"]]
    low, high = table["mean"].arg_min(), table["mean"].arg_max()
    assert low is not None
    assert high is not None
    caption = (
        f"Mean of {column}{within(series)} over {one.height // season:,} seasons: lowest {number(table['mean'][low])} "
        f"at {x[low]}, highest {number(table['mean'][high])} at {x[high]}; eight of ten values lie in the band."
    )
    band = (table["p10"].to_list(), table["p90"].to_list(), "8 of 10 values")
    axis = "time of day, as in the data" if is_day else f"step within a season of {clock.span(season)}"
    title = f"The typical {'day' if is_day else 'season'} of {column}"
    result.figures.append(lines("profile", title, caption, x, means, x_title=axis, y_title=column, band=band))


def _clock_time(step: int, day_steps: int) -> str:
    minutes = step * 1440 // day_steps
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


def _calendar(hours: pl.DataFrame, column: str, series: str, group: str, names: list[str]) -> Figure:
    means = hours.group_by("group", "hour").agg(mean=pl.col("value").mean())
    # A table that began in spring has no row for winter.
    there = sorted(means["group"].unique().to_list())
    names = [names[at] for at in there]
    means = means.with_columns(pl.col("group").replace_strict({at: row for row, at in enumerate(there)}))
    grid = np.full((len(names), 24), np.nan)
    for row, hour, mean in means.iter_rows():
        grid[row, hour] = mean
    high = np.unravel_index(int(np.nanargmax(grid)), grid.shape)
    low = np.unravel_index(int(np.nanargmin(grid)), grid.shape)
    during = "in" if group == "month" else "on"
    caption = (
        f"Mean of {column}{within(series)} by hour and {group}: highest {number(grid[high])} {during} {names[high[0]]} "
        f"at {high[1]:02d}:00, lowest {number(grid[low])} {during} {names[low[0]]} at {low[1]:02d}:00."
    )
    hour_names = [f"{hour:02d}:00" for hour in range(24)]
    title = f"{column} by hour and {group}"
    return heatmap(
        f"calendar-{group}", title, caption, hour_names, names, grid.tolist(), x_title="hour, as in the data"
    )
