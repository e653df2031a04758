"""Lengths of steps as people write them, and steps that a calendar gives. Knows nothing of tables.

A step is a number of microseconds; of months, which have no such number (1mo, 1q, 1y); or of integers. With
data.time_zone, a declared step of whole days or months is one of the zone's own clock, on which each day has 24 hours.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import combinations

from lstm_ray.errors import InputError
from lstm_ray.sections.data import DataConfig

MICROSECONDS = {
    "us": 1,
    "ms": 1_000,
    "s": 1_000_000,
    "m": 60_000_000,
    "h": 3_600_000_000,
    "d": 86_400_000_000,
    "w": 604_800_000_000,
}
MONTHS = {"mo": 1, "q": 3, "y": 12}
DAY, WEEK, HOUR = MICROSECONDS["d"], MICROSECONDS["w"], MICROSECONDS["h"]
MONTH_DAYS = 365.2425 / 12
SLACK_DAYS = 2.5
"""How much months of 28 to 31 days, and a change of the clocks, may differ from so many average ones."""


MOSTLY = 0.95
"""Share of differences that must be those of a calendar: a stamp or two may be wrong."""


def declared(data: DataConfig) -> tuple[int, str] | None:
    """data.frequency as a number and its unit, such as (15, "m"); the unit of integers is empty. None: not declared.

    Raises InputError for what is no frequency.
    """
    if data.frequency is None:
        return None
    match = re.fullmatch(r"(\d+)\s*([a-z]*)", data.frequency.strip())
    if match is None or match[2] not in ("", *MICROSECONDS, *MONTHS):
        raise InputError(f"data.frequency '{data.frequency}' is no duration; write such as 30s, 15m, 1h, 1d, 1w or 1mo")
    if not int(match[1]):
        raise InputError(f"data.frequency '{data.frequency}' is no step at all; write such as 15m, 1h or 1d")
    return int(match[1]), match[2]


def months(data: DataConfig) -> int | None:
    """The declared step in months, where it is one: time is then counted in months since 1970."""
    found = declared(data)
    return found[0] * MONTHS[found[1]] if found and found[1] in MONTHS else None


def on_local_clock(data: DataConfig) -> bool:
    """Times are those of the zone's clocks, not UTC: its days, declared as the step, have 23 or 25 hours of UTC."""
    found = declared(data)
    return data.time_zone is not None and found is not None and found[1] in ("d", "w", *MONTHS)


def describe_step(step: int, is_time: bool = True, in_months: bool = False) -> str:
    """A step in words people use, such as 1h or 15m."""
    if in_months:
        return f"{step // 12}y" if step % 12 == 0 else f"{step}mo"
    if not is_time:
        return str(step)
    for unit in ("w", "d", "h", "m", "s"):
        if step % MICROSECONDS[unit] == 0:
            return f"{step // MICROSECONDS[unit]}{unit}"
    return f"{step} microseconds"


def of_calendar(counts: Sequence[tuple[int, int]], time_zone: str | None = None) -> str | None:
    """The step to declare where differences between time stamps are those of a calendar: months, quarters or years, or
    days whose clocks changed. None where a fixed step may do.

    Args:
        counts: pairs of a difference in microseconds and how often it comes, the commonest first.
    """
    if len(counts) < 2:
        return None
    commonest = counts[0][0]
    if time_zone and commonest % DAY == 0 and all(_apart(d, DAY) <= HOUR for d, _ in counts):
        changed = any(d % DAY for d, _ in counts)
        return describe_step(commonest) if changed else None
    months = [(d, n) for d, n in counts if (m := _months(d)) and abs(d / DAY - m * MONTH_DAYS) <= SLACK_DAYS]
    if sum(n for _, n in months) < MOSTLY * sum(n for _, n in counts):
        return None
    # Differences that one fixed step explains, as every 28 days with a gap, are none of a calendar.
    if not any(a % b and b % a for (a, _), (b, _) in combinations(months[:12], 2)):
        return None
    step = _months(months[0][0])
    return {1: "1mo", 3: "1q", 12: "1y"}.get(step, f"{step}mo")


def _months(difference: int) -> int:
    return round(difference / DAY / MONTH_DAYS)


def _apart(difference: int, unit: int) -> int:
    """How far a difference is from the nearest whole number of units."""
    return min(difference % unit, -difference % unit)
