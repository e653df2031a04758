"""A table as blocks of whole series: what preparing it works through. Knows which rows belong together, not what is done.

A table that fits is one block. One that does not is cut where the files hold its series one after the other, and otherwise
dealt to partitions by a hash of the series (``on_ray/blocks.py`` does either). Nothing is ever sorted as a whole.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from lstm_ray.config import Config
from lstm_ray.data.preparing.facts import ROW, Facts, facts_of_typed, keys_of, require_rows
from lstm_ray.data.preparing.prepare import Plan, Prepared, prepare_typed
from lstm_ray.data.source import files
from lstm_ray.data.source.files import Piece
from lstm_ray.data.timeline import grid
from lstm_ray.data.timeline.grid import SERIES

WHOLE_BYTES = 450_000_000
"""A source of fewer bytes is prepared whole, in this process, where preprocess.engine leaves it open."""
BLOCK_ROWS = 1_000_000
"""Rows of a block, about; one with a longer series has that one alone."""
ROWS = "rows"


class Blocks(Protocol):
    """A table in blocks of whole series."""

    @property
    def words(self) -> str:
        """How it was cut, for people."""

    def facts(self) -> Iterator[Facts]:
        """Of every block."""

    def prepared(self, plan: Plan) -> Iterator[Prepared]:
        """Every block as a file of segments."""


class Whole:
    """The table as one block in this process."""

    words = "whole, in this process"

    def __init__(self, config: Config, pieces: Sequence[Piece]) -> None:
        table = pa.concat_tables([read(config, piece) for piece in pieces])
        require_rows(table.num_rows, config.data)
        if config.split.by == "order":
            table = numbered(table, 0)
        # Typed once for both passes: putting rows in order is most of the work.
        self._counts = Counter[str]()
        self.typed = grid.typed(table, config.data, self._counts)
        keys = table.select(key_columns(config, table.column_names))
        self._facts = facts_of_typed(self.typed, self._counts, keys, config)

    def facts(self) -> Iterator[Facts]:
        yield self._facts

    def prepared(self, plan: Plan) -> Iterator[Prepared]:
        yield prepare_typed(self.typed, self._counts, plan)


@dataclass(frozen=True)
class Run:
    """Rows of a piece, from ``first`` to before ``end``."""

    piece: int
    first: int
    end: int


def pieces_of(config: Config) -> list[Piece]:
    """The source in pieces, in the order of its rows. Raises InputError where a file cannot be read."""
    return files.pieces(config.data, also=files.also_read(config))


def read(config: Config, piece: Piece, columns: Sequence[str] | None = None) -> pa.Table:
    """A piece's columns of the config's roles, and split.group."""
    return files.read_piece(config.data, piece, columns, also=files.also_read(config))


def numbered(table: pa.Table, first: int) -> pa.Table:
    """The table with the numbers of its rows in the source."""
    return table.append_column(ROW, pa.array(np.arange(first, first + table.num_rows)))


def key_columns(config: Config, names: Sequence[str]) -> list[str]:
    """Of a block's columns those that ``facts_of`` reads."""
    wanted = {*keys_of(config.data).columns, config.split.group, ROW}
    return [name for name in names if name in wanted]


def runs_in(ids: pa.Table, config: Config) -> pl.DataFrame | None:
    """Unbroken runs of rows of one series: series, rows. None where a series comes back in the same piece, so that the rows
    of most tables that are by time are not counted one by one."""
    names = pl.DataFrame(ids).select(grid.series_of(keys_of(config.data)).alias(SERIES))
    begins = names.select(series_begins().arg_true()).to_series()
    if names[SERIES].n_unique() < len(begins):
        return None
    ends = pl.concat([begins[1:], pl.Series([names.height], dtype=begins.dtype)])
    return pl.DataFrame({SERIES: names[SERIES].gather(begins), ROWS: (ends - begins).cast(pl.Int64)})


def comes_back(runs: Sequence[pl.DataFrame]) -> bool:
    """Whether a series lies in more than one stretch of some pieces, given ``runs_in`` each."""
    names = pl.concat([part.select(SERIES) for part in runs])
    return int(names.select(series_begins().sum()).item()) > names[SERIES].n_unique()


def series_begins() -> pl.Expr:
    """Rows at which another series begins."""
    return (pl.col(SERIES) != pl.col(SERIES).shift()).fill_null(True)


def cut_between_series(runs: Sequence[pl.DataFrame | None], block_rows: int = BLOCK_ROWS) -> list[list[Run]] | None:
    """Blocks of about so many rows, cut between series; None where some series does not lie in one stretch of the source.

    Args:
        runs: ``runs_in`` each piece, in the order of the source.
    """
    held = [part for part in runs if part is not None]
    if len(held) < len(runs) or comes_back(held):
        return None
    pieces = np.repeat(np.arange(len(held)), [part.height for part in held])
    table = pl.concat(held).with_columns(piece=pl.Series(pieces, dtype=pl.Int64))
    new = table.select(series_begins()).to_series()
    end_row = table[ROWS].cum_sum().to_numpy()
    starts = (end_row - table[ROWS].to_numpy())[new.to_numpy()]
    piece_ends = np.cumsum([part[ROWS].sum() for part in held])
    return [
        _runs_between(int(first), int(end), piece_ends) for first, end in cuts(starts, int(end_row[-1]), block_rows)
    ]


def cuts(starts: NDArray, num_rows: int, block_rows: int) -> Iterator[tuple[int, int]]:
    """First row and the row after the last of each block, given the rows at which series begin."""
    first = 0
    while first < num_rows:
        following = starts[np.searchsorted(starts, first + block_rows) :]
        end = int(following[0]) if len(following) else num_rows
        yield first, end
        first = end


def _runs_between(first: int, end: int, piece_ends: NDArray) -> list[Run]:
    runs = []
    for piece in range(int(np.searchsorted(piece_ends, first, side="right")), len(piece_ends)):
        begin = int(piece_ends[piece - 1]) if piece else 0
        if begin >= end:
            break
        runs.append(Run(piece, max(first, begin) - begin, min(end, int(piece_ends[piece])) - begin))
    return runs
