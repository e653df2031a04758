"""What one column of an unknown table holds, by its values, and what its name says. Knows nothing of other columns."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Literal

import numpy as np
import polars as pl

from lstm_ray.data.timeline import times
from lstm_ray.errors import InputError
from lstm_ray.sections.data import DataConfig

LOOKED_AT = 500
"""Values by which the type of a column is told."""
PARTS_OF_TIME = ("year", "month", "day", "hour", "minute", "second", "weekday", "ordinal_day", "week", "quarter")

Kind = Literal["number", "time", "text", "nothing"]


def kind_of(column: pl.Series) -> Kind:
    """What a column of text holds, by some of its values."""
    some = column.drop_nulls().gather_every(max(1, len(column) // LOOKED_AT)).head(LOOKED_AT)
    if some.is_empty():
        return "nothing"
    if not some.cast(pl.Float64, strict=False).null_count():
        return "number"
    return "text" if as_times(some) is None else "time"


def as_times(column: pl.Series) -> pl.Series | None:
    """The column as time stamps; None where it holds none."""
    series = pl.Series("series", ["all"]).new_from_index(0, len(column))
    try:
        found = times.read(column, series, DataConfig(source="unused", time=column.name))
    except InputError:
        return None
    return found if isinstance(found.dtype, pl.Datetime) else None


def says(name: str, pattern: str) -> bool:
    """Whether a name, or a word of it, matches a pattern: snake case and camel case are taken apart."""
    words = [word for word in re.split(r"[^a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()) if word]
    return re.fullmatch(pattern, name.lower()) is not None or any(re.fullmatch(pattern, word) for word in words)


def counts_on(names: list[str]) -> bool:
    """Whether names are numbers that rise by one, with the same word before each; or dates."""
    parts = [re.fullmatch(r"(.*?)(\d+)", name) for name in names]
    if all(parts):
        prefixes = {part[1] for part in parts if part}
        numbers = [int(part[2]) for part in parts if part]
        if len(prefixes) == 1 and all(b - a == 1 for a, b in pairwise(numbers)):
            return True
    return as_times(pl.Series("names", names)) is not None


def is_whole(column: pl.Series) -> bool:
    """Whether text is whole numbers throughout."""
    seen = column.drop_nulls().cast(pl.Float64, strict=False)
    return not seen.null_count() and bool((seen == seen.round(0)).all())


def agrees(values: pl.Series, part: pl.Series) -> float:
    """Share of rows in which a column is a part of the time, on a clock that may start elsewhere (0 or 1, another zone)."""
    apart = (values - part).drop_nulls().to_numpy()
    if not len(apart) or part.n_unique() < 2:
        return float(np.mean(values.to_numpy() == part.to_numpy()))
    _, counts = np.unique(apart, return_counts=True)
    return float(counts.max() / len(apart))
