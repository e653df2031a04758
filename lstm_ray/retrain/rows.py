"""Rows of the run's table, of files beside it and of a server's store in one form. Knows no weights and no challenger.

One form: the columns of the run's roles under their own names, the time as the run's axis reads it, and two columns to find
rows by: KEY_SERIES, the series' name, and KEY_TICK, its time as the axis counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import polars as pl
import pyarrow as pa

from lstm_ray.config import Config
from lstm_ray.data.schema import Schema
from lstm_ray.data.source import files
from lstm_ray.data.timeline import frequency, grid, times
from lstm_ray.errors import InputError
from lstm_ray.sections.data import DataConfig

KEY_SERIES, KEY_TICK = "_series", "_tick"
KEYS = [KEY_SERIES, KEY_TICK]


def require_joinable(config: Config) -> None:
    """Raises InputError where new rows cannot be told from old ones, or a newest stretch cannot be held out."""
    data, task = config.data, config.task
    if task == "classify":
        raise InputError(
            "task 'classify' is not retrained from rows: whole sequences come in files. Add them to data.source and run the "
            "YAML again with train.start_from, then 'lstm-ray update'"
        )
    if data.time is None:
        raise InputError("data.time is none, so nothing tells which rows are new; name the column of time stamps")
    if data.irregular == "time_delta":
        raise InputError(
            "data.irregular is time_delta: steps are numbered in each series, so no newest stretch is common to all; use "
            "resample, or train anew"
        )
    if config.split.by != "time":
        raise InputError(
            f"split.by is {config.split.by}: whole series are dealt to parts, and no stretch of time is held out to judge a "
            "challenger on; retraining needs split.by: time"
        )


def of_source(config: Config, schema: Schema) -> Iterator[pl.DataFrame]:
    """A source piece by piece; only one is held at a time."""
    for piece in files.pieces(config.data):
        yield in_one_form(files.read_piece(config.data, piece), config, schema)


def of_files(config: Config, brought: DataConfig, schema: Schema, sources: Sequence[str]) -> pl.DataFrame | None:
    """All rows of files with the run's columns. None where no file is named.

    Args:
        brought: how the run's own files are read.

    Raises InputError where a file lacks a column or cannot be read.
    """
    if not sources:
        return None
    if brought.layout == "wide":
        raise InputError(
            "data.layout is wide, so the values of a file are numbered from its first: nothing tells that they are new; name "
            "files with a row for each series and time (layout long) in data.source, and train anew"
        )
    data = brought.model_copy(update={"source": list(sources)})
    own = config.model_copy(update={"data": data})
    return pl.concat(list(of_source(own, schema)))


def in_one_form(table: pa.Table, config: Config, schema: Schema) -> pl.DataFrame:
    """A typed table of a source."""
    data = config.data
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    assert data.time is not None, "rows without times are refused"
    names = frame.select(grid.series_of(data).alias(KEY_SERIES))[KEY_SERIES]
    time = times.read(frame[data.time], names, data)
    if isinstance(time.dtype, pl.Datetime) != schema.has_dates:
        kinds = ("whole numbers", "time stamps")
        found, wanted = kinds[isinstance(time.dtype, pl.Datetime)], kinds[schema.has_dates]
        raise InputError(f"column '{data.time}' of {data.source!r} holds {found}; the run was trained on {wanted}")
    numbers = [pl.col(name).cast(pl.Float64).fill_nan(None) for name in data.numeric if name in frame.columns]
    return frame.with_columns(*numbers, time.alias(data.time), names, _ticks(time, schema))


def of_store(frame: pl.DataFrame, config: Config, schema: Schema) -> tuple[pl.DataFrame, int]:
    """Rows that a server kept, and how many of them are of no series that the table could hold.

    Args:
        frame: columns ``series``, ``tick`` and inputs, which may lack some of the run's or have others.
    """
    data = config.data
    assert data.time is not None, "rows without times are refused"
    num = len(data.series_id)
    if not num and frame["series"].n_unique() > 1:
        raise InputError(
            f"data.series_id is empty, so the table holds one series, and the server was told of {frame['series'].n_unique()}; "
            "send rows of one name, or name data.series_id and train anew"
        )
    parts = frame["series"].str.split(grid.SEPARATOR)
    fits = parts.list.len() == num if num else pl.Series([True] * frame.height, dtype=pl.Boolean)
    kept, parts = frame.filter(fits), parts.filter(fits)
    time = pl.Series(data.time, schema.of_ticks(kept["tick"].to_numpy()))
    inputs = {c: kept[c].cast(pl.Float64).fill_nan(None) for c in (*data.target, *data.past, *data.known) if c in kept}
    made = pl.DataFrame(
        [
            *(parts.list.get(place).alias(name) for place, name in enumerate(data.series_id)),
            time,
            *(column.alias(name) for name, column in inputs.items()),
            (kept["series"] if num else pl.repeat("all", kept.height, eager=True)).alias(KEY_SERIES),
            kept["tick"].cast(pl.Int64).alias(KEY_TICK),
        ]
    )
    return made, frame.height - kept.height


def newest(parts: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """One row for each series and time: of each column what was told last, the parts being in the order of their telling."""
    whole = pl.concat(parts, how="diagonal")
    values = [pl.col(c).drop_nulls().last() for c in whole.columns if c not in KEYS]
    return whole.group_by(KEYS, maintain_order=True).agg(values).sort(KEYS)


def without_strays(new: pl.DataFrame, last_old: int, longest_gap: int, needed: int) -> pl.DataFrame:
    """Rows without those that a clock which jumped put far from all others, and of which no window could be cut.

    Args:
        last_old: the newest tick of the table before.
        longest_gap: ticks; rows further apart lie in different segments.
        needed: ticks that a window spans.
    """
    tick = new[KEY_TICK].unique().append(pl.Series(KEY_TICK, [last_old], pl.Int64)).unique().sort()
    run = (tick.diff() > longest_gap).fill_null(False).cum_sum().alias("run")
    runs = pl.DataFrame([tick, run]).with_columns(
        span=pl.col(KEY_TICK).max().over("run") - pl.col(KEY_TICK).min().over("run"),
        whole=(pl.col(KEY_TICK) == last_old).any().over("run"),
    )
    # Rows of before the end correct or complete what is there already.
    held = runs.filter((pl.col("span") >= needed) | pl.col("whole") | (pl.col(KEY_TICK) <= last_old))
    return new.join(held.select(KEY_TICK), on=KEY_TICK, how="semi", maintain_order="left")


def written_time(config: Config) -> pl.Expr:
    """The time column as a file must hold it to be read as the same time again."""
    data = config.data
    assert data.time is not None, "rows without times are refused"
    column = pl.col(data.time)
    in_utc = data.time_zone is not None and not frequency.on_local_clock(data)
    return column.dt.replace_time_zone("UTC") if in_utc else column


def _ticks(time: pl.Series, schema: Schema) -> pl.Series:
    return pl.Series(KEY_TICK, schema.ticks(time.to_numpy()), pl.Int64)
