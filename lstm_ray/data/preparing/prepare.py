"""One block of whole series, from its raw table to segments: what each process does alone. Knows no files and no Ray.

What a block tells of itself adds up: the answer is the same however series are spread over blocks.
"""

from __future__ import annotations

import io
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import polars as pl
import pyarrow as pa

from lstm_ray.config import Config
from lstm_ray.data.parts import Boundaries
from lstm_ray.data.preparing.segments import OBSERVED, SEGMENT, STEP, checked, labels_in, make_segments
from lstm_ray.data.scaling import fit
from lstm_ray.data.scaling.fit import TrainSums
from lstm_ray.data.schema import Schema
from lstm_ray.data.split import train_rows
from lstm_ray.data.store import index_of
from lstm_ray.data.timeline import grid
from lstm_ray.data.timeline.gaps import Gaps, gaps_of
from lstm_ray.data.timeline.grid import SERIES, TIME


@dataclass(frozen=True)
class Plan:
    """What every block is prepared by."""

    config: Config
    schema: Schema
    """Without classes and categories, which are known when all blocks were read."""
    parts: Boundaries
    dealt: pl.DataFrame | None = None
    """The part of each series, where whole series are dealt: series, part."""
    tail: pl.DataFrame | None = None
    """Where the series ended that the block's rows continue (``Prepared.tail``)."""


@dataclass(frozen=True)
class Told:
    """What some blocks tell of themselves; all of it adds up."""

    num_rows: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    """What was put right: duplicates and the like."""
    missing: Counter[str] = field(default_factory=Counter)
    """Empty cells of each input, in the table's rows."""
    imputed: Counter[str] = field(default_factory=Counter)
    """Filled steps of each observed column, in the segments."""
    present: Counter[str] = field(default_factory=Counter)
    """Measured values of each target."""
    labels: frozenset[Any] = frozenset()
    """The different labels (``segments.labels_in``)."""
    gaps: Gaps = field(default_factory=Gaps)
    """Runs of missing time stamps between rows, as read."""

    def __add__(self, other: Told) -> Told:
        return Told(
            self.num_rows + other.num_rows,
            self.counts + other.counts,
            self.missing + other.missing,
            self.imputed + other.imputed,
            self.present + other.present,
            self.labels | other.labels,
            self.gaps.merge(other.gaps),
        )


@dataclass(frozen=True)
class Prepared:
    """A block's segments as a Parquet file, and what is known of them."""

    content: bytes
    index: pl.DataFrame
    sums: TrainSums
    told: Told
    tail: pl.DataFrame
    """Of each series the last step of its last segment, as it is there, and the rows that follow it, as read: what later
    rows will continue. Columns of ``grid.typed``, and SEGMENT."""


def prepare(table: pa.Table, plan: Plan) -> Prepared:
    """A block of whole series, as read, to segments.

    Raises InputError for what ``grid.typed``, ``grid.on_grid`` and ``segments.checked`` refuse.
    """
    counts = Counter[str]()
    return prepare_typed(grid.typed(table, plan.config.data, counts), counts, plan)


def prepare_typed(read: pl.DataFrame, counts: Counter[str], plan: Plan) -> Prepared:
    """``prepare`` for rows that are typed already; ``counts`` is what that counted."""
    config, schema, counts = plan.config, plan.schema, Counter(counts)
    rows = grid.resampled(read, schema.step, config.data, counts)
    frame = rows if plan.tail is None else _continued(rows, plan.tail)
    checked(frame, config)
    train = train_rows(config.split, plan.parts)
    # What is never cut needs every step of its gaps.
    longest = config.preprocess.max_gap_steps if schema.observed else None
    regular = grid.on_grid(frame, schema.step, config.data, counts, longest_gap=longest)
    regular = with_part(regular, plan.dealt)
    segments = make_segments(regular, schema, config, train)
    tail = _tail(frame, segments, plan)
    if plan.tail is not None:
        segments, tail = _renumbered(segments, plan.tail), _renumbered(tail, plan.tail, drop=False)
    label = [config.data.label] if config.data.label and config.task == "classify" else []
    index = index_of(segments, [*config.data.categorical, *label])
    told = Told(
        read.height,
        counts,
        Counter({c: n for c in (*schema.target, *schema.past, *schema.known) if (n := read[c].null_count())}),
        Counter({c: n for c in schema.observed if (n := segments.height - int(segments[OBSERVED + c].sum()))}),
        Counter({c: read.height - read[c].null_count() for c in schema.target}),
        frozenset(labels_in(read, config).to_list()),
        gaps_of(frame if plan.tail is None else _from_the_end(frame, plan.tail), schema.step),
    )
    sums = fit.sums_of(with_part(segments, plan.dealt), train, schema, config)
    return Prepared(encoded(segments), index, sums, told, tail)


def encoded(segments: pl.DataFrame) -> bytes:
    """A table of segments as a Parquet file."""
    file = io.BytesIO()
    segments.write_parquet(file, compression="zstd", compression_level=1)
    return file.getvalue()


def with_part(frame: pl.DataFrame, dealt: pl.DataFrame | None) -> pl.DataFrame:
    """Rows of series with the part that each was dealt to, where they are dealt."""
    return frame if dealt is None else frame.join(dealt, on=SERIES, how="left", maintain_order="left")


def _tail(frame: pl.DataFrame, segments: pl.DataFrame, plan: Plan) -> pl.DataFrame:
    """``Prepared.tail`` of some whole series. Of rows that follow the last segment those that a later row could still join
    to it, and the last one, however many there are."""
    schema, constant = plan.schema, plan.config.data.categorical
    kind, columns = frame.schema[TIME], [c for c in frame.columns if c not in (SERIES, TIME)]
    last = segments.group_by(SERIES, maintain_order=True).last()
    time = (pl.col(STEP).cast(pl.Int64) * schema.step + schema.axis_start).cast(kind).alias(TIME)
    ends = last.select(SERIES, time, *columns, SEGMENT)
    after = frame.join(ends.select(SERIES, SEGMENT, _end=TIME), on=SERIES, how="left", maintain_order="left")
    after = after.filter(pl.col("_end").is_null() | (pl.col(TIME) > pl.col("_end")))
    reach = (
        pl.col(TIME).to_physical() - pl.col("_end").to_physical()
        <= (plan.config.preprocess.max_gap_steps + 1) * schema.step
    )
    last_row = pl.col(SERIES) != pl.col(SERIES).shift(-1)
    after = after.with_columns(pl.col(c).drop_nulls().first().over(SERIES) for c in constant)
    after = after.filter(reach.fill_null(False) | last_row.fill_null(True))
    return pl.concat([ends, after.select(ends.columns)]).sort(SERIES, TIME)


def _from_the_end(frame: pl.DataFrame, tail: pl.DataFrame) -> pl.DataFrame:
    """Rows that continue some series, after the last that was read before."""
    ends = tail.group_by(SERIES).agg(_end=pl.col(TIME).max())
    rows = frame.join(ends, on=SERIES, how="left", maintain_order="left")
    return rows.filter(pl.col("_end").is_null() | (pl.col(TIME) >= pl.col("_end"))).drop("_end")


def _continued(read: pl.DataFrame, tail: pl.DataFrame) -> pl.DataFrame:
    """Rows of some series after what they continue."""
    before = tail.join(read.select(SERIES).unique(), on=SERIES, how="semi").select(read.columns)
    return pl.concat([before, read]).sort(SERIES, TIME)


def _renumbered(frame: pl.DataFrame, tail: pl.DataFrame, drop: bool = True) -> pl.DataFrame:
    """Segments counted on from where their series ended; ``drop``: without the step that is in a file already."""
    ends = tail.drop_nulls(SEGMENT).group_by(SERIES).agg(_number=pl.col(SEGMENT).first())
    frame = frame.join(ends, on=SERIES, how="left", maintain_order="left")
    if drop:
        first = pl.col(STEP) == pl.col(STEP).min().over(SERIES)
        frame = frame.filter(pl.col("_number").is_null() | ~first)
    return frame.with_columns((pl.col(SEGMENT) + pl.col("_number").fill_null(0)).cast(pl.Int32)).drop("_number")
