"""A time column of any type to UTC or whole numbers, daylight saving undone. Knows nothing of grids or other columns.

Stamps that name a zone are moved to UTC. Those that name none are on the clock of data.time_zone, or UTC without it:

- An hour that comes twice, as the clocks are set back: a stamp that a series has twice, in the order of its rows, is
  summer time and then winter time. One that it has once is summer time, unless a row before it in that hour already shows
  that winter time has begun: a second one of its stamp, or a later stamp than its own. Where a series' rows run backwards
  in time, so is its order read.
- An hour that does not come, as they are set forward, has no honest reading and is refused.

Whole numbers are steps, but for those that are all dates written as 20240131, or all seconds, milli-, micro- or nanoseconds
since 1970 of the years 2001 to 2100 (Unix time, UTC; text may have decimals). Where data.frequency is a whole number, steps
they stay.

A declared step of whole days or months (``frequency.on_local_clock``) keeps stamps on the zone's clock instead: its days
are steps of equal length there, and none comes twice.
"""

from __future__ import annotations

import re
from collections import Counter

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lstm_ray.data.timeline import calendar, frequency
from lstm_ray.errors import InputError
from lstm_ray.sections.data import DataConfig

FORMATS = (
    *("%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S", "%Y-%m-%d", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f"),
    *("%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M", "%Y/%m/%d %H:%M:%S", "%Y/%m/%d %H:%M", "%Y/%m/%d", "%Y%m%dT%H%M%S"),
    *("%d.%m.%Y %H:%M:%S", "%d.%m.%Y %H:%M", "%d.%m.%Y"),
)
"""Forms of text without a zone, the commonest first. Years first, or days first with dots; none where 3/4 could be April."""
ZONE = r":\d\d(?:\.\d+)?\s*(Z|z|[+-]\d\d(?::?\d\d)?)$"
"""What ends a stamp that names its offset from UTC."""
FIX = "write ISO 8601 such as 2013-01-31T05:00:00Z, or whole numbers"
TEXT = (pl.String, pl.Categorical, pl.Enum)
OLDEST_DATE, LATEST_DATE = 1900_01_01, 2100_12_31
UNIX = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
UNIX_OLDEST, UNIX_LATEST = 1_000_000_000, 4_102_444_800
"""Seconds since 1970 that are read as such: counters of steps seldom start at a thousand million."""
OLDEST = 1000
"""A year before this one was read from something else."""


def read(column: pl.Series, series: pl.Series, data: DataConfig, counts: Counter[str] | None = None) -> pl.Series:
    """A time column as Datetime in microseconds (UTC, or the zone's clock where steps are whole days) or Int64 steps.

    Args:
        column: time stamps with or without a zone, dates, whole numbers, or text of any of these, by row.
        series: the series of each row.
        counts: "ambiguous" grows by the stamps in hours that came twice.

    Raises InputError that names the column, the value and its row for what is missing or no time.
    """
    if column.null_count():
        row = column.is_null().arg_max()
        raise InputError(
            f"column '{column.name}' has {column.null_count()} empty time stamps, the first in row {row}; fill them"
        )
    declared = frequency.declared(data)
    unix = None if declared and not declared[1] else unix_times(column)
    steps = None if unix is not None else _numbers(column)
    if steps is not None and not _written_as_dates(steps):
        return steps
    kind = column.dtype
    zoned: pl.Series | bool | None
    if unix is not None:
        times, zoned = unix, True
    elif steps is not None:
        zoned = None
        times = steps.cast(pl.String).str.to_datetime("%Y%m%d", time_unit="us")
    elif isinstance(kind, pl.Datetime):
        times, zoned = column.dt.cast_time_unit("us"), None
        if kind.time_zone:
            times, zoned = times.dt.convert_time_zone("UTC").dt.replace_time_zone(None), True
    elif kind == pl.Date:
        times, zoned = column.cast(pl.Datetime("us")), None
    elif kind in TEXT:
        times, zoned = _stamps(column.cast(pl.String).str.strip_chars())
    else:
        raise InputError(f"column '{column.name}' is {kind}, which is no time; {FIX}")
    return _on_clock(times, zoned, series, data, counts).alias(column.name)


def _numbers(column: pl.Series) -> pl.Series | None:
    """A column of whole numbers as Int64; None where it holds something else. Raises InputError for other numbers."""
    kind = column.dtype
    if kind.is_integer():
        return column.cast(pl.Int64)
    if kind in TEXT:
        found = column.cast(pl.String).str.strip_chars().cast(pl.Int64, strict=False)
        return None if found.null_count() else found
    if not kind.is_float() and not kind.is_decimal():
        return None
    found = column.cast(pl.Int64, strict=False)
    wrong = (found.cast(kind) != column).fill_null(True)
    if wrong.any():
        row = int(wrong.arg_max() or 0)
        raise InputError(f"column '{column.name}' holds {column[row]} in row {row}, which is no whole number; {FIX}")
    return found


def unix_times(column: pl.Series) -> pl.Series | None:
    """Numbers as Datetime, where all of them are Unix time of one unit; None where they are not, or not numbers."""
    kind = column.dtype
    if column.is_empty() or column.null_count() or not (kind in TEXT or kind.is_numeric()):
        return None
    if kind in TEXT:
        # One value tells most columns, of which the rest need not be read as numbers.
        if re.fullmatch(r"\s*\d{10,19}(\.\d*)?\s*", column[0]) is None:
            return None
        text = column.cast(pl.String).str.strip_chars()
        whole = text.cast(pl.Int64, strict=False)
        column = text.cast(pl.Float64, strict=False) if whole.null_count() else whole
        if column.null_count():
            return None
    low, high = column.min(), column.max()
    for times in UNIX.values():
        if UNIX_OLDEST * times <= low and high < UNIX_LATEST * times:  # type: ignore[operator]
            if column.dtype.is_integer():
                us = column // (times // 1_000_000) if times > 1_000_000 else column * (1_000_000 // times)
            else:
                us = (column * (1_000_000 / times)).round().cast(pl.Int64)
            return us.cast(pl.Datetime("us")).alias(column.name)
    return None


def understood(text: pl.Series) -> pl.Series:
    """Text as Datetime whose zones are left out, null where no form fits: for those who ask which values do."""
    text = text.cast(pl.String).str.strip_chars()
    return _of_any_form(text.str.replace(r"(:\d\d(?:\.\d+)?)\s*(?:Z|z|[+-]\d\d(?::?\d\d)?)$", "$1"))


def _written_as_dates(steps: pl.Series) -> bool:
    """Whether whole numbers all are dates as in 20240131, as no counter of steps ever is."""
    if steps.is_empty() or not OLDEST_DATE <= int(steps.min()) <= int(steps.max()) <= LATEST_DATE:  # type: ignore[arg-type]
        return False
    different = steps.unique().cast(pl.String)
    return not different.str.to_date("%Y%m%d", strict=False).null_count()


def _stamps(text: pl.Series) -> tuple[pl.Series, pl.Series | bool | None]:
    """Text as Datetime, and which stamps named an offset and are in UTC: all (True), none (None) or some (Boolean)."""
    if text.str.ends_with("Z").all():
        return _parsed(text.str.head(-1), text), True
    offset = text.str.extract(ZONE)
    if offset.null_count() == len(text):
        return _parsed(text, text), None
    length = text.str.len_chars() - offset.str.len_chars().fill_null(0)
    cut = pl.DataFrame([text.alias("text"), length.alias("length")])
    body = cut.select(pl.col("text").str.slice(0, pl.col("length")).str.strip_chars_end())["text"]
    ahead = {word: _minutes(word) for word in offset.unique().drop_nulls()}
    minutes = offset.replace_strict(ahead, default=0, return_dtype=pl.Int64)
    times = _parsed(body, text) - (minutes * frequency.MICROSECONDS["m"]).cast(pl.Duration("us"))
    return times, offset.is_not_null() if offset.null_count() else True


def _parsed(body: pl.Series, text: pl.Series) -> pl.Series:
    """Text without zones as Datetime. Raises InputError that shows the text as it was where no form fits."""
    times = _of_any_form(body)
    if not times.null_count():
        return times
    row = int(times.is_null().arg_max() or 0)
    day_or_month = re.match(r"\d\d?[/-]\d\d?[/-]\d+", text[row])
    hint = " (which of its numbers is the month?)" if day_or_month else ""
    raise InputError(
        f"column '{text.name}' holds {text[row]!r} in row {row}, which is no time stamp like the others{hint}; {FIX}"
    )


def _of_any_form(text: pl.Series) -> pl.Series:
    """Text without zones as Datetime, null where no form fits. Each form reads what those before it could not."""
    found, left = np.full(len(text), np.datetime64("NaT", "us")), np.arange(len(text))
    for form in FORMATS:
        times = (text if len(left) == len(text) else text.gather(left)).str.to_datetime(
            form, time_unit="us", strict=False
        )
        if (first := times.min()) is not None and first.year < OLDEST:  # type: ignore[union-attr]
            times = times.set(times.dt.year() < OLDEST, None)
        if not times.null_count() and len(left) == len(text):
            return times
        read = times.is_not_null().to_numpy()
        found[left[read]], left = times.to_numpy()[read], left[~read]
        if not len(left):
            break
    months = text.gather(left)
    if months.str.contains(r"^\d{4}-\d\d$").any():
        found[left] = (months + "-01").str.to_datetime("%Y-%m-%d", time_unit="us", strict=False).to_numpy()
    return pl.Series(text.name, found)


def _minutes(offset: str) -> int:
    """How far an offset as in +02:00, -0330 or Z is ahead of UTC."""
    if offset in "Zz":
        return 0
    digits = offset[1:].replace(":", "").ljust(4, "0")
    return (1 if offset[0] == "+" else -1) * (60 * int(digits[:2]) + int(digits[2:]))


def _on_clock(
    times: pl.Series, zoned: pl.Series | bool | None, series: pl.Series, data: DataConfig, counts: Counter[str] | None
) -> pl.Series:
    """Stamps moved to the one clock of the column: UTC, or the zone's."""
    zone = data.time_zone
    if zone is None or times.is_empty():
        return times
    stays_local = frequency.on_local_clock(data)
    if (stays_local and zoned is None) or (not stays_local and zoned is True):
        return times
    if stays_local:
        moved = pl.Series(calendar.local(times.to_numpy(), zone))
        return moved.zip_with(zoned, times) if isinstance(zoned, pl.Series) else moved
    named = zoned.to_numpy() if isinstance(zoned, pl.Series) else np.zeros(len(times), dtype=bool)
    local = np.flatnonzero(~named)
    utc = times.to_numpy().copy()
    utc[local], ambiguous = _undone(utc[local], series.gather(local), zone, times.name)
    if counts is not None and ambiguous:
        counts["ambiguous"] += ambiguous
    return pl.Series(utc)


def _undone(local_N: NDArray, series: pl.Series, zone: str, column: str) -> tuple[NDArray, int]:
    """A zone's own time as UTC, and how many stamps lay in an hour that came twice. Raises InputError where the zone
    skipped a stamp."""
    changes, offsets = calendar.transitions(zone, *calendar.years(local_N))
    # What the clock shows just before and just after each change bounds the hour that comes twice, or not at all.
    shown = np.sort(np.stack([changes + offsets[:-1], changes + offsets[1:]], axis=1), axis=1)
    place = np.searchsorted(shown.ravel(), local_N, side="right")
    utc_N = local_N - offsets[place // 2]
    special = np.flatnonzero(place % 2)
    if not len(special):
        return utc_N, 0
    change = place[special] // 2
    longer = offsets[change + 1] - offsets[change]
    skipped = np.flatnonzero(longer > np.timedelta64(0, "us"))
    if len(skipped):
        row, winter = int(special[skipped[0]]), offsets[change[skipped[0]]] // np.timedelta64(1, "h")
        raise InputError(
            f"column '{column}' holds {local_N[row].item()} in row {row}, which no clock in {zone} ever showed "
            f"({len(skipped)} such in all): the stamps are not on its clock with daylight saving; remove data.time_zone "
            f"where they are UTC, name a clock that never changes, such as Etc/GMT{-winter:+d}, or set data.frequency: 1d "
            "where steps are days"
        )
    later = _later(local_N, special, change, series)
    utc_N[special] -= np.where(later, longer, np.timedelta64(0, "us"))
    return utc_N, len(special)


def _later(local_N: NDArray, special: NDArray, change: NDArray, series: pl.Series) -> NDArray:
    """Which stamps in hours that came twice are of the second time, bool in the order of ``special``."""
    stamps = pl.DataFrame([series.alias("series"), pl.Series("stamp", local_N)])
    backwards = stamps.group_by("series").agg(back=pl.col("stamp").first() > pl.col("stamp").last())
    hour = stamps[special].with_columns(pl.Series("change", change), pl.Series("row", special))
    hour = hour.join(backwards, on="series", how="left", maintain_order="left").with_row_index("at")
    hour = hour.sort(pl.when("back").then(-pl.col("row")).otherwise("row"))
    group, same = ["series", "change"], ["series", "change", "stamp"]
    again = pl.int_range(pl.len()).over(same) > 0
    fell = (pl.col("stamp").diff().over(group) < 0).fill_null(False) & (pl.len().over(same) == 1)
    hour = hour.with_columns(again=again, shown=(again | fell).cum_max().over(group), once=pl.len().over(same) == 1)
    return hour.sort("at").select(pl.col("again") | pl.col("once") & pl.col("shown"))["again"].to_numpy()
