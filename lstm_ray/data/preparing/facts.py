"""What must be known of a whole table before any of it can be put on a grid, added up block by block. Polars.

A block is a table of whole series; nothing here depends on which series lie in which block.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import polars as pl
import pyarrow as pa

from lstm_ray.config import Config
from lstm_ray.data.split import APPEARS, GROUP, groups_of
from lstm_ray.data.timeline import grid
from lstm_ray.data.timeline.grid import SERIES, TIME
from lstm_ray.errors import InputError
from lstm_ray.sections.data import DataConfig

ROW = "row number"
"""Column of a block that says where its rows lie in the source, where their order matters."""
RAW = "raw:"
"""Before the names of a block's own columns, which may be named as ours are."""
DIFFERENCE, NUM = "difference", "n"


class NoRowsError(InputError):
    """Files that can be read hold no rows at all."""


@dataclass(frozen=True)
class Facts:
    """Who is in a table, when, and how far apart."""

    series: pl.DataFrame
    """A row per series: series, rows, first and last (time as Int64), appears (first row in the source, where ROW was
    given) and group (where split.group was read)."""
    differences: pl.DataFrame
    """How often each difference between neighbouring time stamps occurs: difference, n."""
    is_time: bool
    counts: Counter[str] = field(default_factory=Counter)
    """What was put right on reading: duplicates and the like."""

    @property
    def num_rows(self) -> int:
        return int(self.series["rows"].sum())

    @property
    def axis(self) -> tuple[int, int]:
        """First and last time."""
        return int(self.series["first"].min()), int(self.series["last"].max())  # type: ignore[arg-type]


def keys_of(data: DataConfig) -> DataConfig:
    """The roles that name a row, and no other."""
    none: list[str] = []
    return data.model_copy(
        update=dict.fromkeys(("target", "past", "known", "static", "categorical"), none)
        | {"label": None, "label_kind": "auto", "weight": None, "static_source": None}
    )


def facts_of(table: pa.Table, config: Config) -> Facts:
    """Of one block's key columns (``keys_of``), and of split.group and ROW where the block has them.

    Raises InputError for time stamps that cannot be read, and for duplicates that are refused.
    """
    counts = Counter[str]()
    return facts_of_typed(grid.typed(table, keys_of(config.data), counts), counts, table, config)


def facts_of_typed(frame: pl.DataFrame, counts: Counter[str], table: pa.Table, config: Config) -> Facts:
    """``facts_of`` a block whose rows are typed already, in one frame; ``counts`` is what that counted."""
    data = keys_of(config.data)
    own = [pl.len().alias("rows"), pl.col(TIME).cast(pl.Int64).min().alias("first")]
    series = frame.group_by(SERIES).agg(*own, pl.col(TIME).cast(pl.Int64).max().alias("last"))
    group = config.split.group
    numbered = ROW in table.column_names
    wanted = {*data.series_id, *([ROW] if numbered else []), *([group] if group else [])}
    if numbered or group:
        raw = pl.DataFrame(table.select([name for name in table.column_names if name in wanted]))
        raw = raw.select(grid.series_of(data).alias(SERIES), pl.all().name.prefix(RAW))
        if numbered:
            series = series.join(raw.group_by(SERIES).agg(pl.col(RAW + ROW).min().alias(APPEARS)), on=SERIES)
        if group:
            series = series.join(groups_of(raw, group, RAW + group), on=SERIES)
    is_time = isinstance(frame.schema[TIME], pl.Datetime)
    return Facts(series, grid.differences(frame), is_time, counts)


def require_rows(number: int, data: DataConfig) -> None:
    """Raises NoRowsError where a source holds none."""
    if not number:
        raise NoRowsError(f"data.source {data.source!r} holds no rows; name files that hold data")


def total(parts: Iterable[Facts]) -> Facts:
    """All blocks together. Raises InputError where there is no row, or some blocks hold time stamps and others numbers."""
    parts = list(parts)
    if not parts:
        raise NoRowsError("data.source holds no rows; name files that hold data")
    if len({part.is_time for part in parts}) > 1:
        raise InputError("data.time holds whole numbers in some rows and time stamps in others; write one of them")
    differences = pl.concat([part.differences for part in parts]).group_by(DIFFERENCE).agg(pl.col(NUM).sum())
    series = pl.concat([part.series for part in parts]).sort(SERIES)
    counts = sum((part.counts for part in parts), Counter[str]())
    return Facts(series, differences.sort(DIFFERENCE), parts[0].is_time, counts)


def followed(one: Facts, other: Facts) -> Facts:
    """Facts of a table and of later rows, which go on where its series ended or are of new ones."""
    both = one.series.join(other.series.select(SERIES, next="first"), on=SERIES)
    between = both.select(difference=pl.col("next") - pl.col("last")).filter(pl.col(DIFFERENCE) > 0)
    between = between.group_by(DIFFERENCE).agg(pl.len().cast(pl.Int64).alias(NUM))
    differences = pl.concat([one.differences, other.differences, between]).group_by(DIFFERENCE).agg(pl.col(NUM).sum())
    series = joined(one.series, other.series)
    return Facts(series, differences.sort(DIFFERENCE), one.is_time, one.counts + other.counts)


def joined(one: pl.DataFrame, other: pl.DataFrame) -> pl.DataFrame:
    """``Facts.series`` of two tables that may share series."""
    ends = [pl.col("rows").sum(), pl.col("first").min(), pl.col("last").max()]
    further = {APPEARS: pl.col(APPEARS).min(), GROUP: pl.col(GROUP).first()}
    ends += [expression for name, expression in further.items() if name in one.columns]
    return pl.concat([one, other.select(one.columns)]).group_by(SERIES).agg(ends).sort(SERIES)


def axis_of(facts: Facts, step: int, data: DataConfig) -> tuple[int, int]:
    """First and last tick of the common axis. Raises InputError where series start between each other's steps."""
    ends = facts.series.select(
        SERIES, *(grid.aligned(pl.col(name), step, data).alias(name) for name in ("first", "last"))
    )
    grid.require_one_grid(ends, step, data)
    return int(ends["first"].min()), int(ends["last"].max())  # type: ignore[arg-type]
