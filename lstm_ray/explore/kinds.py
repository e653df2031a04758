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

LOOKED_AT, FEW_LOOKED_AT = 500, 5
"""Values by which the type of a column is told, and by which it is told whether some may be time stamps."""
PARTS_OF_TIME = ("year", "month", "day", "hour", "minute", "second", "weekday", "ordinal_day", "week", "quarter")

MOSTLY = 0.9
"""Share of values that are of a kind, from which the others are taken for mistakes."""
MONTH_OR_DAY = r"^\d{1,2}[/-]\d{1,2}[/-]\d{2,4}\b"
DATE = r"^\d{1,4}[./-]\d{1,2}[./-]\d{1,4}\b"
DECORATION = r"[\s,'\u2019$€£¥%]"
"""What stands in numbers for people."""
CLOCK = r"^\s*\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?\s*([AaPp][Mm])?\s*$"

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


def almost(column: pl.Series) -> str | None:
    """Why text is no column of numbers or times though it nearly is, in words with a value; None where it is words."""
    seen = pl.DataFrame({"value": column}).with_row_index("row").drop_nulls()
    text, num = seen["value"].str.strip_chars(), seen.height
    if text.str.contains(MONTH_OR_DAY).mean() >= MOSTLY:  # type: ignore[operator]
        return (
            f"holds dates such as {text[0]!r}, of which nothing says whether day or month comes first; write 2024-01-31"
        )
    dates = text.str.contains(DATE)
    if dates.mean() >= MOSTLY and not _begins_with_times(text):  # type: ignore[operator]
        return f"holds dates such as {text.filter(dates)[0]!r}, written in no form that is read; write 2024-01-31 05:00"
    plain = text.str.replace_all(DECORATION, "")
    if text.cast(pl.Float64, strict=False).is_null().mean() > MOSTLY and (  # type: ignore[operator]
        plain.cast(pl.Float64, strict=False).is_not_null().mean() >= MOSTLY  # type: ignore[operator]
    ):
        at = int(plain.cast(pl.Float64, strict=False).is_not_null().arg_max() or 0)
        return f"holds numbers written as {text[at]!r}; write {plain[at]}"
    for read, what in ((text.cast(pl.Float64, strict=False), "numbers"), (_times(text), "time stamps")):
        wrong = read.is_null()
        if what == "numbers" and text.filter(wrong).str.contains(r"\d").any() and is_whole(text.filter(~wrong)):
            continue  # whole numbers and words with digits are codes, as 22423 and 85123A
        if 0 < wrong.sum() <= (1 - MOSTLY) * num or (what == "time stamps" and 0 < wrong.sum() <= num / 2):
            first = int(wrong.arg_max() or 0)
            return (
                f"holds {what}, but for {wrong.sum():,} of {num:,} values, such as {text[first]!r} in row "
                f"{seen['row'][first]:,}; mend them" + (", or leave them empty" if what == "numbers" else "")
            )
    return None


def _times(text: pl.Series) -> pl.Series:
    """Time stamps, null where there is none; those of other forms than the first are not looked for among plain words."""
    if not _begins_with_times(text):
        return pl.Series([None] * len(text), dtype=pl.Datetime("us"))
    return times.understood(text)


def _begins_with_times(text: pl.Series) -> bool:
    return any(as_times(text[at : at + 1]) is not None for at in range(min(len(text), FEW_LOOKED_AT)))


def is_clock(column: pl.Series) -> bool:
    """Whether text is times of day throughout, without a date."""
    return bool(column.drop_nulls().str.contains(CLOCK).all())


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
