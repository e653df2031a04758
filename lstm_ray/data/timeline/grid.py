"""One typed table to a regular grid: times read, rows in order, steps found, gaps made rows. Knows nothing of imputation.

Every function but ``load`` takes any whole series and gives for them what it would give for the whole table, so a large
one is worked through block by block. What all series share, their step and their offset on the grid, is found from facts of
the blocks: ``step_of``, ``aligned``, ``require_one_grid``, ``require_values``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np
import polars as pl
import pyarrow as pa

from lstm_ray.config import Config, parse
from lstm_ray.data.source import files
from lstm_ray.data.timeline import frequency as steps
from lstm_ray.data.timeline import holidays, order, times
from lstm_ray.data.timeline.frequency import MICROSECONDS as MICROSECONDS
from lstm_ray.data.timeline.frequency import describe_step as describe_step
from lstm_ray.data.timeline.order import SERIES as SERIES
from lstm_ray.data.timeline.order import TIME as TIME
from lstm_ray.errors import InputError
from lstm_ray.sections.data import TIME_DELTA, DataConfig

SEPARATOR = " | "
MONDAY = 4 * steps.DAY
"""Resampled weeks begin on Mondays; 1970 began on a Thursday."""
MOST_DIFFERENCES = 10_000
MAX_SAMPLE_BYTES = 256_000_000
"""A first piece of a source that is larger is not read only to learn its frequency."""
MAX_STEPS, MAX_GROWTH = 50_000_000, 1000
"""A table whose grid has more steps than this, and so many for each row, has a wrong time stamp or a wrong step."""


def load(data: DataConfig) -> pl.DataFrame:
    """The source as a table sorted by series and time.

    Columns: ``series`` (the series_id columns joined; one constant without them), ``time`` (Datetime in microseconds of
    UTC; of the zone's clock where the declared step is whole days; Int64 steps, or months since 1970), the numeric columns
    as Float64 with missing as null, the categorical ones and the label. Without data.time, each series' rows are numbered
    from 0.
    Raises InputError for unparsable or duplicate time stamps and for a target without values.
    """
    frame = typed(files.read(data), data)
    require_values({column: frame.height - frame[column].null_count() for column in data.target})
    return frame


def typed(table: pa.Table, data: DataConfig, counts: Counter[str] | None = None) -> pl.DataFrame:
    """``load`` for a table of whole series that is already in memory, whatever its targets hold.

    Args:
        counts: grows by "duplicates" (rows that were joined) and "ambiguous" (stamps in hours that came twice).
    """
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    delta = data.irregular == "time_delta" and data.time is not None
    numeric = [column for column in data.numeric if not (delta and column == TIME_DELTA)]
    label = [data.label] if data.label else []
    numbers, words = [*numeric, *label], [*data.categorical]
    if data.label_kind != "value":
        numbers, words = numeric, [*words, *label]
    _refuse_infinite(frame, numbers)
    names = frame.select(series_of(data).alias(SERIES))[SERIES]
    if data.time:
        time = times.read(frame[data.time], names, data, counts)
    else:
        time = frame.select(pl.int_range(pl.len(), dtype=pl.Int64).over(series_of(data)).alias(TIME))[TIME]
    values = frame.select(*(pl.col(c).fill_nan(None) for c in numbers), *(pl.col(c) for c in words))
    frame = pl.DataFrame([names, time.alias(TIME), *values])
    frame = order.distinct(*order.in_order(frame), data, counts)
    if steps.months(data):
        frame = _in_months(frame, data)
    return _as_steps(frame) if delta else frame


def series_of(data: DataConfig) -> pl.Expr:
    """The name of each row's series in a table as read."""
    if not data.series_id:
        return pl.repeat("all", pl.len(), dtype=pl.String)
    return pl.concat_str([pl.col(c).cast(pl.String).fill_null("") for c in data.series_id], separator=SEPARATOR)


def require_values(measured: Mapping[str, int]) -> None:
    """Raises InputError for a target of which no value was measured, in any block."""
    for column, number in measured.items():
        if not number:
            raise InputError(f"target '{column}' has no values at all; name another column in data.target")


def differences(frame: pl.DataFrame) -> pl.DataFrame:
    """How far neighbours in a series are apart, and how often: columns difference and n, both Int64, the commonest first.

    Those of blocks add up: concatenate them and sum n by difference.
    """
    between = pl.Series("difference", order.runs_of(frame).between)
    found = between.filter(between > 0).value_counts(name="n").with_columns(pl.col("n").cast(pl.Int64))
    return found.sort("n", "difference", descending=[True, False]).head(MOST_DIFFERENCES)


def step_of(found: pl.DataFrame, data: DataConfig, is_time: bool) -> int:
    """The grid's step: microseconds of time stamps, months where a calendar step is declared, or units of integers.

    The declared one, or the commonest of ``differences``; of equally common ones the smallest.
    Raises InputError where neither can be had, and where only a declared step of a calendar fits.
    """
    declared = steps.declared(data)
    if declared and not declared[1] and is_time:
        raise InputError(f"data.frequency '{data.frequency}' is no duration; write such as 30s, 15m, 1h, 1d, 1w or 1mo")
    if declared and declared[1] and not is_time and not steps.months(data):
        raise InputError(f"data.frequency '{data.frequency}' must be a whole number: '{data.time}' holds integers")
    if declared:
        return steps.months(data) or declared[0] * steps.MICROSECONDS.get(declared[1], 1)
    if found.is_empty():
        raise InputError("every series has one row, so no frequency can be found; set data.frequency")
    found = found.sort("n", "difference", descending=[True, False])
    if is_time and (calendar := steps.of_calendar(found.select("difference", "n").rows(), data.time_zone)):
        raise InputError(
            f"the time stamps in '{data.time}' follow the calendar, {calendar} apart, which is no fixed length; set "
            f"data.frequency: {calendar}"
        )
    return int(found["difference"][0])


def resolved(config: Config) -> Config:
    """``files.resolved``, and ``settled`` by the first piece of the source.

    Raises InputError where the source cannot be read or contradicts the config, and for holidays that are not known.
    """
    config = files.resolved(config)
    if config.preprocess.holidays:
        holidays.checked(config.preprocess.holidays)
    data = config.data
    if data.time is None or data.frequency or data.irregular != "error" or data.layout == "wide" or data.is_ts:
        return config
    piece = files.pieces(data)[0]
    if piece.num_bytes > MAX_SAMPLE_BYTES:
        return config
    frequency = settled(data, files.read_piece(data, piece, [*data.series_id, data.time])).frequency
    return (
        config
        if frequency is None
        else parse(config.model_dump() | {"data": data.model_dump() | {"frequency": frequency}})
    )


def settled(data: DataConfig, sample: pa.Table) -> DataConfig:
    """The section with the frequency of a calendar declared, where none is and that of a sample is one: months, quarters,
    years, or days on the clock of data.time_zone. A fixed step needs no declaring.

    Args:
        sample: rows of the source, with the columns of series_id and time.
    """
    if data.time is None or data.frequency or data.irregular != "error":
        return data
    none: list[str] = []
    keys = dict.fromkeys(("target", "past", "known", "static", "categorical"), none) | {"label": None, "weight": None}
    frame = typed(sample, data.model_copy(update={**keys, "label_kind": "auto", "duplicates": "last"}))
    if not isinstance(frame.schema[TIME], pl.Datetime):
        return data
    found = steps.of_calendar(differences(frame).rows(), data.time_zone)
    return data.model_copy(update={"frequency": found}) if found else data


def frequency(frame: pl.DataFrame, data: DataConfig) -> int:
    """``step_of`` a whole table, whose times must lie on one grid unless data.irregular says otherwise."""
    step = step_of(differences(frame), data, isinstance(frame.schema[TIME], pl.Datetime))
    if data.irregular == "error":
        _require_on_grid(frame, order.runs_of(frame), step, data)
    return step


def on_grid(
    frame: pl.DataFrame,
    step: int,
    data: DataConfig,
    counts: Counter[str] | None = None,
    *,
    longest_gap: int | None = None,
) -> pl.DataFrame:
    """Typed rows on the full grid (``regular``); off it, they are refused or resampled as data.irregular says.

    Args:
        counts: grows by "resampled", the rows that were moved or joined.
    """
    frame = resampled(frame, step, data, counts)
    runs = order.runs_of(frame)
    _require_on_grid(frame, runs, step, data)
    return _filled(frame, runs, step, longest_gap)


def aligned(ticks: pl.Expr, step: int, data: DataConfig) -> pl.Expr:
    """The tick (Int64) of the step that a tick lies in: itself, or where rows are resampled, the step's start.

    Resampled steps are counted from 1970 (weeks from a Monday) or from 0, so every series and block has the same.
    """
    if data.irregular != "resample":
        return ticks
    offset = MONDAY if step % steps.WEEK == 0 and not steps.months(data) else 0
    return (ticks - offset) // step * step + offset


def require_one_grid(firsts: pl.DataFrame, step: int, data: DataConfig) -> None:
    """Every series must lie on the grid of the others. Raises InputError that names one that does not.

    Args:
        firsts: a row per series: series, first (Int64, its first tick, ``aligned``).
    """
    off = firsts.filter((pl.col("first") - pl.col("first").min()) % step != 0)
    if off.height:
        raise InputError(
            f"{off.height} series of '{data.time}', such as '{off[SERIES][0]}', lie between the grid's steps: series start at "
            "different offsets; round the time stamps to data.frequency, or set data.irregular: resample"
        )


def regular(frame: pl.DataFrame, step: int, *, longest_gap: int | None = None) -> pl.DataFrame:
    """Every series on its full grid: missing time stamps become rows of nulls.

    Args:
        frame: sorted by series and time, each time once and on the grid.
        longest_gap: of a gap that is longer, only so many rows and one are made: enough to tell that it is.

    Raises InputError where a single time stamp makes the grid absurdly large.
    """
    return _filled(frame, order.runs_of(frame), step, longest_gap)


def _filled(frame: pl.DataFrame, runs: order.Runs, step: int, longest_gap: int | None) -> pl.DataFrame:
    if len(runs.starts) + np.count_nonzero(runs.between == step) == frame.height:
        return frame
    ahead = runs.between // step
    if longest_gap is not None:
        ahead = np.minimum(ahead, longest_gap + 2)
    ahead[runs.starts] = 1
    rows = np.cumsum(ahead) - 1
    total = int(rows[-1]) + 1
    if total > MAX_STEPS and total > MAX_GROWTH * frame.height:
        _refuse_absurd(frame, ahead, total)
    before = np.zeros(total, dtype=np.int64)
    before[rows] = np.arange(frame.height)
    before = np.maximum.accumulate(before)
    since = np.arange(total) - rows[before]
    there = pl.DataFrame({"row": before, "since": since}).select(pl.when(pl.col("since") == 0).then("row"))["row"]
    ticks = pl.Series(TIME, order.ticks_of(frame)[before] + since * step).cast(frame.schema[TIME])
    others = [column.gather(there) for column in frame.drop(SERIES, TIME)]
    return pl.DataFrame([frame[SERIES].gather(before), ticks, *others])


def resampled(frame: pl.DataFrame, step: int, data: DataConfig, counts: Counter[str] | None = None) -> pl.DataFrame:
    """Where data.irregular asks for it, the mean of each step's rows, at the step's start. ``counts`` as of ``on_grid``."""
    if data.irregular != "resample":
        return frame
    kind = frame.schema[TIME]
    moved = frame.with_columns(aligned(pl.col(TIME).to_physical(), step, data).cast(kind).alias(TIME))
    same = order.runs_of(moved).same
    changed = same | (order.ticks_of(moved) != order.ticks_of(frame))
    if counts is not None and changed.any():
        counts["resampled"] += int(changed.sum())
    return order.joined(moved, same, data, "mean")


def _in_months(frame: pl.DataFrame, data: DataConfig) -> pl.DataFrame:
    """Time stamps as months since 1970, whatever the day. Several rows in one are refused, unless they are resampled."""
    if not isinstance(frame.schema[TIME], pl.Datetime):
        raise InputError(f"data.frequency '{data.frequency}' must be a whole number: '{data.time}' holds integers")
    months = (pl.col(TIME).dt.year().cast(pl.Int64) - 1970) * 12 + pl.col(TIME).dt.month() - 1
    counted = frame.with_columns(months.alias(TIME))
    if data.irregular == "error":
        same = order.runs_of(counted).same
        if same.any():
            series, time = frame.row(int(np.argmax(same)))[:2]
            raise InputError(
                f"data.frequency is {data.frequency}, but {int(same.sum())} rows share a month with another, such as "
                f"{time} in series '{series}'; set data.irregular: resample to take each month's mean"
            )
    return counted


def _as_steps(frame: pl.DataFrame) -> pl.DataFrame:
    """Rows of each series numbered from 0, and the seconds (or integers) since the row before as an input."""
    unit = 1e6 if isinstance(frame.schema[TIME], pl.Datetime) else 1.0
    runs = order.runs_of(frame)
    numbers = np.arange(frame.height) - np.repeat(runs.starts, np.diff(runs.starts, append=frame.height))
    return frame.with_columns(pl.Series(TIME, numbers), pl.Series(TIME_DELTA, runs.between / unit))


def _require_on_grid(frame: pl.DataFrame, runs: order.Runs, step: int, data: DataConfig) -> None:
    far = runs.between[(runs.between != 0) & (runs.between != step)]
    if off := int((far % step != 0).sum()):
        number = frame.height - len(runs.starts)
        is_time = isinstance(frame.schema[TIME], pl.Datetime)
        raise InputError(
            f"{off} of {number} time differences in '{data.time}' are no multiple of the step "
            f"{describe_step(step, is_time, bool(steps.months(data)))}; set data.frequency to the true step, or "
            "data.irregular to resample or time_delta"
        )


def _refuse_absurd(frame: pl.DataFrame, ahead: np.ndarray, total: int) -> None:
    at = int(np.argmax(ahead))
    raise InputError(
        f"{frame.height:,} rows would need a grid of {total:,} steps: in series '{frame[SERIES][at]}', {frame[TIME][at]} "
        f"follows {frame[TIME][at - 1]}; mend that time stamp, or set data.frequency to a longer step"
    )


def _refuse_infinite(frame: pl.DataFrame, columns: list[str]) -> None:
    found = frame.select(pl.col(c).is_infinite().any() for c in columns)
    for column in columns:
        if found[column][0]:
            row = int(frame[column].is_infinite().fill_null(False).arg_max() or 0)
            raise InputError(
                f"column '{column}' holds {frame[column][row]} in row {row}; leave the field empty where nothing was measured"
            )
