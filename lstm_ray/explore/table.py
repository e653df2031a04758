"""What exploration looks at: facts of the whole table, and rows of some whole series of it in the forms analyses take.

Knows nothing of what is looked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from lstm_ray.config import Config
from lstm_ray.data.preparing.facts import Facts, axis_of
from lstm_ray.data.preparing.sample import read_some
from lstm_ray.data.split import deal, own_test_start
from lstm_ray.data.timeline import grid
from lstm_ray.data.timeline.frequency import on_local_clock
from lstm_ray.data.timeline.grid import SERIES, TIME
from lstm_ray.explore import gaps
from lstm_ray.explore.analysis import Analysis, Clock, clock_of
from lstm_ray.explore.parts import with_parts


@dataclass(frozen=True)
class Table:
    """What is looked at: facts of the whole table, and rows of some whole series of it."""

    facts: Facts
    clock: Clock
    axis: tuple[int, int]
    """First and last time of the whole table."""
    rows: pl.DataFrame
    """As they came, typed, sorted by series and time."""
    came: pl.DataFrame
    """Series and time of the rows, each on the grid and once."""
    frame: pl.DataFrame
    """The regular grid, with a column that is null where the time stamp was missing."""
    parts: pl.DataFrame
    """The rows with the column ``part``."""
    grid_parts: pl.DataFrame
    """The regular grid with the column ``part``."""
    train_end: Any
    """Last time of the training part; None where whole series are dealt."""

    @property
    def is_whole(self) -> bool:
        return self.rows.height == self.facts.num_rows


def table_of(config: Config, facts: Facts, rows: pl.DataFrame) -> Table:
    """What is looked at, from facts of the whole table and typed rows of some whole series.

    Raises InputError where the rows cannot be laid on the grid, or the table not be split as configured.
    """
    data = config.data
    counts = facts.counts
    if data.irregular == "time_delta" and data.time:
        step, axis = 1, (0, int(facts.series["rows"].max()) - 1)  # type: ignore[arg-type]
    else:
        step = grid.step_of(facts.differences, data, facts.is_time)
        axis = axis_of(facts, step, data)
    clock = clock_of(rows, step, data)
    came = rows.select(SERIES, TIME)
    if data.irregular == "resample":
        moved = grid.aligned(pl.col(TIME).to_physical(), step, data).cast(rows.schema[TIME]).alias(TIME)
        came = came.with_columns(moved).unique(maintain_order=True)
    marked = came.with_columns(pl.lit(True).alias(gaps.OBSERVED))
    # The grid refuses what lies off it before anything is joined to it.
    frame = grid.on_grid(rows, step, data, counts).join(marked, on=[SERIES, TIME], how="left", maintain_order="left")
    dealt = deal(facts.series, config) if config.split.by != "time" else None
    whole = config.task == "classify"
    test_start = own_test_start(data, axis[0]) if whole else None

    def parted(some: pl.DataFrame) -> pl.DataFrame:
        return with_parts(
            some,
            config.split,
            clock,
            axis,
            whole_sequences=whole,
            test_start=test_start,
            time_zone=None if on_local_clock(data) else data.time_zone,
            dealt=dealt,
        )

    parts = parted(rows)
    train_end = parts.filter(pl.col("part") == "train")[TIME].max() if dealt is None else None
    return Table(facts, clock, axis, rows, came, frame, parts, parted(frame), train_end)


def read(config: Config, notes: Analysis) -> tuple[Facts, pl.DataFrame]:
    """Facts of the table, and typed rows of whole series, drawn at random, at most explore.max_rows together; one series at
    least. ``notes`` says so where it is not all.

    Raises InputError where the table cannot be read, or a target has no values in what was drawn.
    """
    most = config.explore.max_rows
    facts, rows, left = read_some(config, lambda lengths: sampled(lengths, most, config.seed))
    grid.require_values({column: rows.height - rows[column].null_count() for column in config.data.target})
    num_looked, num_series = rows[SERIES].n_unique(), facts.series.height
    if left:
        words = f"The one series has {facts.num_rows:,} rows, more than fit; all that is said here is of its newest "
        notes.say("info", f"{words}{rows.height:,}.")
    elif num_looked < num_series:
        notes.say(
            "info",
            f"The table has {facts.num_rows:,} rows; beside the number of missing time stamps, all that is said here is of "
            f"{num_looked:,} of its {num_series:,} series, drawn at random ({rows.height:,} rows; explore.max_rows is "
            f"{most:,}).",
        )
    elif rows.height > most:
        notes.say(
            "info", f"The one series has {rows.height:,} rows, over explore.max_rows ({most:,}); a series is not cut."
        )
    return facts, rows


def sampled(lengths: pl.DataFrame, max_rows: int, seed: int) -> list[str] | None:
    """Names of the series that are looked at; None where all of them are.

    Args:
        lengths: series and rows.
    """
    lengths = lengths.sort(SERIES)
    if int(lengths["rows"].sum()) <= max_rows or lengths.height == 1:
        return None
    order = np.random.default_rng(seed).permutation(lengths.height)
    total = np.cumsum(lengths["rows"].to_numpy()[order])
    kept = order[: max(1, int(np.searchsorted(total, max_rows, side="right")))]
    return lengths[SERIES].gather(np.sort(kept)).to_list()
