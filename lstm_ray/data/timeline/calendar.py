"""What a clock and a calendar tell of any time: cycles as sine and cosine, holidays, a zone's local time.

NumPy and the standard library alone, shared by training and serving. Times are UTC; zones come from the system's or
``tzdata``'s database.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

FIRST_YEAR, LAST_YEAR = 1900, 2200
"""Outside of these years a zone keeps the offset it has at their ends."""


def hours(times: NDArray) -> NDArray:
    """Whole hours since midnight, 0 to 23."""
    return ((times - times.astype("datetime64[D]")) // np.timedelta64(1, "h")).astype(np.int64)


def weekdays(times: NDArray) -> NDArray:
    """Days since Monday, 0 to 6."""
    return (times.astype("datetime64[D]").astype(np.int64) + 3) % 7


def months(times: NDArray) -> NDArray:
    """Months since January, 0 to 11."""
    return times.astype("datetime64[M]").astype(np.int64) % 12


def _hour(times: NDArray) -> NDArray:
    return (times - times.astype("datetime64[D]")) / np.timedelta64(1, "D")


def _weekday(times: NDArray) -> NDArray:
    return (weekdays(times) + _hour(times)) / 7


def _month(times: NDArray) -> NDArray:
    return months(times) / 12


CYCLES: Mapping[str, Callable[[NDArray], NDArray]] = {"hour": _hour, "weekday": _weekday, "month": _month}
"""Each cycle's position in [0, 1): through the day, through the week from Monday, month of the year."""


def names(cycles: Sequence[str]) -> list[str]:
    """The columns that ``features`` makes, in its order."""
    return [f"{cycle}_{wave}" for cycle in cycles for wave in ("sin", "cos")]


def features(times: NDArray, cycles: Sequence[str]) -> NDArray:
    """Sine and cosine of each cycle.

    Args:
        times: datetime64 on the clock that the cycles follow (``local``), shape [T].

    Returns:
        float32, shape [T, 2 * len(cycles)].
    """
    columns = np.empty((len(times), 2 * len(cycles)), dtype=np.float32)
    for index, cycle in enumerate(cycles):
        angle = 2 * np.pi * CYCLES[cycle](times)
        columns[:, 2 * index], columns[:, 2 * index + 1] = np.sin(angle), np.cos(angle)
    return columns


def holidays(first: NDArray, last: NDArray, dates: Sequence[str]) -> NDArray:
    """1 where a holiday lies in the days from ``first`` to ``last``, both included, else 0. float32, shape [T].

    Args:
        first, last: datetime64 on the local clock, shape [T]: the ends of each step.
        dates: holidays, ISO dates in order. After the last of them no day is one.
    """
    days = np.asarray(dates, dtype="datetime64[D]")
    before = np.searchsorted(days, first.astype("datetime64[D]"))
    return (np.searchsorted(days, last.astype("datetime64[D]"), side="right") > before).astype(np.float32)


def local(times: NDArray, zone: str | None) -> NDArray:
    """UTC as the zone's clocks show it, datetime64[us] of any shape; as it is without a zone."""
    if zone is None or not times.size:
        return times
    times = times.astype("datetime64[us]")
    changes, offsets = transitions(zone, *years(times))
    if not len(changes):
        return times + offsets[0]
    found: NDArray = times + offsets[np.searchsorted(changes, times, side="right")]
    return found


def years(times: NDArray) -> tuple[int, int]:
    """The first and the last year of datetime64 times; one wider on both sides, since a zone's year is another."""
    ends = np.asarray([times.min(), times.max()]).astype("datetime64[Y]").astype(np.int64) + 1970
    return int(ends[0]) - 1, int(ends[1]) + 1


@lru_cache(maxsize=64)
def transitions(zone: str, first_year: int, last_year: int) -> tuple[NDArray, NDArray]:
    """When a zone's clocks are set anew, and by how much they are ahead of UTC between.

    Returns:
        datetime64[us] in UTC [N], ascending, and timedelta64[us] [N + 1]: before the first, ..., after the last.
    """
    known = range(max(first_year, FIRST_YEAR), min(last_year, LAST_YEAR) + 1)
    changes = [change for year in known for change in _changes(zone, year)]
    start = datetime(min(max(first_year, FIRST_YEAR), LAST_YEAR), 1, 1, tzinfo=UTC)
    offsets = [_offset(ZoneInfo(zone), start), *(offset for _, offset in changes)]
    instants = np.asarray([instant.replace(tzinfo=None) for instant, _ in changes], dtype="datetime64[us]")
    return instants, np.asarray(offsets, dtype="timedelta64[us]")


@lru_cache(maxsize=4096)
def _changes(zone: str, year: int) -> list[tuple[datetime, timedelta]]:
    """Each change of a zone's offset in one year of UTC, to the second, and the offset from then on."""
    clock, found = ZoneInfo(zone), []
    low, second = datetime(year, 1, 1, tzinfo=UTC), timedelta(seconds=1)
    # No zone has changed its clocks twice within a day.
    while low.year == year:
        high = low + timedelta(days=1)
        if _offset(clock, low) != _offset(clock, high):
            left, right = low, high
            while right - left > second:
                middle = left + (right - left) // 2
                middle -= timedelta(microseconds=middle.microsecond)
                middle = max(middle, left + second)
                left, right = (middle, right) if _offset(clock, middle) == _offset(clock, low) else (left, middle)
            found.append((right, _offset(clock, right)))
        low = high
    return found


def _offset(clock: ZoneInfo, time: datetime) -> timedelta:
    offset = time.astimezone(clock).utcoffset()
    assert offset is not None, "a zone of the database has an offset at any time"
    return offset
