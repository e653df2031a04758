"""Times that several columns tell together, which no role can name. Knows nothing of roles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from lstm_ray.explore.kinds import Kind, is_clock

WORDS = ("year", "month", "day", "hour", "minute")


def in_parts(text: pl.DataFrame, kinds: Mapping[str, Kind], stamps: Sequence[str]) -> list[str]:
    """The columns that only together tell the time: a date and a time of day, or year, month, and maybe day and hour."""
    days = [name for name in stamps if not text[name].drop_nulls().str.contains(r"\d:\d").any()]
    clocks = [name for name, kind in kinds.items() if kind == "text" and is_clock(text[name])]
    if days and clocks and len(days) == len(stamps):
        return [days[0], clocks[0]]
    if stamps:
        return []
    numbers = {name.lower(): name for name, kind in kinds.items() if kind == "number"}
    parts = [numbers[word] for word in WORDS if word in numbers]
    return parts if {"year", "month"} <= numbers.keys() else []
