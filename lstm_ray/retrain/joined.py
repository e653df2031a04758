"""A challenger's table: the champion's, new rows beside, and how much each counts. One piece of the old is held at a time.

Weights make the sum of what is learned: rows of the reference slice teach nothing, old ones count as they did, and new ones
so much that they have their share of the loss. Every row stays there to be read as history.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

import polars as pl
from pydantic import BaseModel, ConfigDict

from lstm_ray.config import Config
from lstm_ray.errors import InputError
from lstm_ray.retrain.rows import KEY_SERIES, KEY_TICK, KEYS, written_time
from lstm_ray.retrain.stretches import Reference, Stretches

WEIGHT = "retrain_weight"
"""The column that a challenger is weighed by. The run's own weights, which are in it, stay beside it for the next one."""


class Joined(BaseModel):
    """What a joined table is made of, in numbers of rows."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    old: int
    new: int
    """After the end of the champion's table."""
    late: int
    """New, though of before its end."""
    changed: int
    """Of the champion's table, told otherwise or completed since."""
    left_out: int
    """Of series that the table cannot hold: their constant columns are not known."""
    reference: int
    """They teach nothing."""
    new_weight: float
    """Of a new row, where an old one counts 1."""
    cut: Stretches


def write_table(
    folder: Path, old: Iterable[pl.DataFrame], new: pl.DataFrame, cut: Stretches, slice_: Reference, config: Config
) -> Joined:
    """Write Parquet files, whole or not at all.

    Args:
        old: the champion's table in ``rows.in_one_form``, piece by piece; what lies after ``cut.old_end`` is not used.
        new: ``rows.newest``.

    Raises InputError where nothing new is left to learn from; OSError, as of a full disk.
    """
    temporary = folder.with_name(f"{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    writer = _Writer(temporary, new, cut, slice_, config)
    for piece in old:
        writer.add_old(piece)
    found = writer.add_new()
    shutil.rmtree(folder, ignore_errors=True)
    temporary.rename(folder)
    return found


class _Writer:
    def __init__(self, folder: Path, new: pl.DataFrame, cut: Stretches, slice_: Reference, config: Config) -> None:
        self._folder, self._cut, self._slice, self._config = folder, cut, slice_, config
        data = config.data
        self._own = data.weight
        self._constant = [*data.static, *data.categorical]
        self._columns = [*data.columns, WEIGHT]
        self._new, self._given = new, [c for c in new.columns if c not in (*KEYS, *data.series_id, data.time)]
        self._met: list[pl.DataFrame] = []
        self._of_series: list[pl.DataFrame] = []
        self._files = self._old = self._changed = self._slice_rows = 0
        self._old_sum = 0.0
        self._dtypes: dict[str, pl.DataType] = {}

    def add_old(self, piece: pl.DataFrame) -> None:
        """Write a piece with what has been told of its rows since."""
        piece = piece.filter(pl.col(KEY_TICK) < self._cut.old_end)
        if not piece.height:
            return
        told = [c for c in self._given if c not in self._constant and c in piece.columns]
        since = self._new.select(*KEYS, *(pl.col(c).alias(f"{c}:new") for c in told))
        both = piece.join(since, on=KEYS, how="left", maintain_order="left")
        other = pl.any_horizontal(
            *(pl.col(f"{c}:new").is_not_null() & pl.col(f"{c}:new").ne_missing(pl.col(c)) for c in told), False
        )
        self._changed += int(both.select(other.sum()).item())
        frame = both.with_columns(pl.coalesce(f"{c}:new", c).alias(c) for c in told).select(piece.columns)
        self._met.append(self._new.select(KEYS).join(frame.select(KEYS), on=KEYS, how="semi"))
        if self._constant:
            self._of_series.append(frame.select(KEY_SERIES, *self._constant).unique(KEY_SERIES))
        self._old += frame.height
        self._dtypes |= dict(frame.schema)
        frame = self._weighed(frame)
        self._old_sum += self._counted(frame)
        self._write(frame)

    def add_new(self) -> Joined:
        """Write the rows that no piece had, their weight being such that they have their share."""
        met = pl.concat(self._met) if self._met else self._new.select(KEYS).clear()
        rest = self._new.join(met, on=KEYS, how="anti", maintain_order="left")
        whole = self._with_constants(rest)
        left_out = rest.height - whole.height
        is_new = pl.col(KEY_TICK) >= self._cut.old_end
        share = self._config.retrain.new_share
        late = self._weighed(whole.filter(~is_new))
        new = self._weighed(whole.filter(is_new))
        self._old_sum += self._counted(late)
        teaching = self._counted(new.filter(pl.col(KEY_TICK) < self._cut.validation))
        if not teaching:
            raise InputError(
                f"of {new.height} new rows none before the stretch that is held out has a value to learn; bring more rows"
            )
        # Where nothing old counts, any weight is the whole of it.
        factor = share / (1 - share) * self._old_sum / teaching or 1.0
        self._write(pl.concat([late, new.with_columns(pl.col(WEIGHT) * factor)]).sort(KEY_TICK, KEY_SERIES))
        return Joined(
            old=self._old,
            new=new.height,
            late=late.height,
            changed=self._changed,
            left_out=left_out,
            reference=self._slice_rows,
            new_weight=factor,
            cut=self._cut,
        )

    def _with_constants(self, rows: pl.DataFrame) -> pl.DataFrame:
        """New rows with what their series' earlier rows tell; without the series of which something is not known."""
        lacking = [c for c in self._config.data.columns if c not in rows.columns]
        rows = rows.with_columns(pl.lit(None, self._dtypes.get(c, pl.Float64())).alias(c) for c in lacking)
        if not self._constant:
            return rows
        known = pl.concat(self._of_series).unique(KEY_SERIES) if self._of_series else None
        if known is not None:
            rows = rows.join(known, on=KEY_SERIES, how="left", suffix=":old", maintain_order="left")
            rows = rows.with_columns(pl.coalesce(f"{c}:old", c).alias(c) for c in self._constant)
        filled = rows.with_columns(pl.col(c).drop_nulls().first().over(KEY_SERIES) for c in self._constant)
        return filled.drop_nulls(self._constant)

    def _weighed(self, frame: pl.DataFrame) -> pl.DataFrame:
        own = pl.lit(1.0) if self._own is None else pl.col(self._own).fill_null(1.0)
        inside = pl.col(KEY_TICK).is_between(self._slice.first, self._slice.end, closed="left")
        self._slice_rows += int(frame.select(inside.sum()).item())
        return frame.with_columns(pl.when(inside).then(0.0).otherwise(own).alias(WEIGHT))

    def _counted(self, frame: pl.DataFrame) -> float:
        """Weights of all values that can be learned."""
        data = self._config.data
        learned = [data.label] if data.label else data.target
        values = [pl.col(c).is_not_null() * pl.col(WEIGHT) for c in learned if c in frame.columns]
        return float(frame.select(pl.sum_horizontal(*values).sum()).item()) / len(learned) if values else 0.0

    def _write(self, frame: pl.DataFrame) -> None:
        frame = frame.with_columns(written_time(self._config)).select(self._columns)
        file = self._folder / f"part-{self._files:05d}.parquet"
        frame.write_parquet(file, compression="zstd", compression_level=1)
        with file.open("rb") as written:
            os.fsync(written.fileno())
        self._files += 1
