"""What the time stamps of an unknown table say of clocks: a zone's daylight saving, a round step, days off.

Knows nothing of values.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from lstm_ray.data.timeline import calendar, grid, times
from lstm_ray.data.timeline.frequency import DAY, HOUR, MICROSECONDS
from lstm_ray.data.timeline.grid import SERIES, TIME
from lstm_ray.errors import InputError
from lstm_ray.sections.data import DataConfig

ZONES = (
    *("Europe/Berlin", "America/New_York", "Europe/London", "Europe/Athens", "Australia/Sydney", "Pacific/Auckland"),
    "America/Santiago",
)
"""Zones that stand for all whose own clocks are set in the same hours, as New York for Chicago; most people first."""
ROUND = (
    *("1s", "5s", "10s", "15s", "30s", "1m", "2m", "5m", "10m", "15m", "30m"),
    *("1h", "2h", "3h", "4h", "6h", "12h", "1d", "1w"),
)
NEAR, NEARLY_ALL = 0.1, 0.9
"""How far the median may be from a round step, as its share; share of steps that hold a row, from which rows are one each."""
FEWEST_WEEKS = 4


def zone_of(table: pl.DataFrame, data: DataConfig) -> str | None:
    """The zone whose daylight saving the stamps show: they come twice in every hour that its clocks showed twice, nowhere
    else, and never in one that they skipped. None where stamps name their zone or nothing shows.

    Args:
        table: rows as they came.
    """
    assert data.time is not None
    stamps = table[data.time]
    if isinstance(stamps.dtype, pl.Datetime) and stamps.dtype.time_zone:
        return None
    if stamps.dtype in times.TEXT and stamps.str.contains(times.ZONE).any():
        return None
    names = table.select(grid.series_of(data).alias(SERIES))[SERIES]
    try:
        found = times.read(stamps, names, data.model_copy(update={"time_zone": None}))
    except InputError:
        return None
    if not isinstance(found.dtype, pl.Datetime):
        return None
    rows = pl.DataFrame([names, found.alias(TIME)])
    twice = rows.filter(pl.struct(SERIES, TIME).is_duplicated())[TIME].unique().to_numpy()
    if not len(twice):
        return None
    local = found.unique().to_numpy()
    return next((zone for zone in ZONES if _agrees(zone, local, twice)), None)


def _agrees(zone: str, local_N: np.ndarray, twice: np.ndarray) -> bool:
    """Whether all stamps that come twice lie where a zone's clocks were set back, and none where they skipped."""
    changes, offsets = calendar.transitions(zone, *calendar.years(local_N))
    inside = np.zeros(len(twice), dtype=bool)
    for change, before, after in zip(changes, offsets[:-1], offsets[1:], strict=True):
        low, high = sorted((change + before, change + after))
        if after < before:
            inside |= (twice >= low) & (twice < high)
        elif ((local_N >= low) & (local_N < high)).any():
            return False
    return bool(inside.all())


def round_step(frame: pl.DataFrame, differences: pl.DataFrame) -> tuple[str, str] | None:
    """The round step that rows come in, one each though never on the dot, and their median distance in words; None
    where they do not.

    Args:
        frame: rows sorted by series and time, as Datetime.
        differences: as ``grid.differences``.
    """
    ordered = differences.sort("difference")
    median = int(ordered.filter(pl.col("n").cum_sum() * 2 >= ordered["n"].sum())["difference"][0])
    steps = {words: int(words[:-1]) * MICROSECONDS[words[-1]] for words in ROUND}
    words = min(steps, key=lambda one: abs(np.log(steps[one] / median)))
    step = steps[words]
    if abs(median - step) > NEAR * step:
        return None
    cells = frame.select(SERIES, cell=pl.col(TIME).to_physical() // step).unique()
    spans = cells.group_by(SERIES).agg(span=pl.col("cell").max() - pl.col("cell").min() + 1)
    if min(cells.height / frame.height, cells.height / int(spans["span"].sum())) < NEARLY_ALL:
        return None
    shown = f"{median / HOUR:.3g} h" if median >= HOUR else f"{median / MICROSECONDS['m']:.3g} min"
    return words, shown if median >= MICROSECONDS["m"] else f"{median / MICROSECONDS['s']:.3g} s"


def skips_weekends(frame: pl.DataFrame) -> bool:
    """Whether daily rows span some weeks without a Saturday or a Sunday."""
    days = frame.select(day=pl.col(TIME).dt.weekday(), at=pl.col(TIME).to_physical())
    weeks = (int(days["at"].max()) - int(days["at"].min())) // (7 * DAY)  # type: ignore[arg-type]
    return weeks >= FEWEST_WEEKS and not bool((days["day"] >= 6).any())
