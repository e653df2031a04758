"""Some whole series of a table that need not fit in memory, and facts of all of it: what exploring reads.

A small table is read once. A large one is read piece by piece, once for who is there and once for the rows of the series
that were chosen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import polars as pl
import pyarrow as pa

from lstm_ray.config import Config
from lstm_ray.data.preparing.blocks import WHOLE_BYTES, Whole, key_columns, numbered, pieces_of, read
from lstm_ray.data.preparing.facts import Facts, facts_of, joined, keys_of, require_rows
from lstm_ray.data.source.files import Piece
from lstm_ray.data.timeline import grid
from lstm_ray.data.timeline.grid import SERIES
from lstm_ray.progress import bar

Choose = Callable[[pl.DataFrame], list[str] | None]
"""The series to look at, given columns series and rows; none: all of them."""


def read_some(config: Config, choose: Choose) -> tuple[Facts, pl.DataFrame, int]:
    """Facts of the whole table, the chosen series' rows (``grid.typed``), and how many rows of a single long series were
    left out before its newest.

    Of a large table, differences between time stamps and what was put right are counted in the rows that were chosen.
    Raises InputError where the table cannot be read.
    """
    pieces = pieces_of(config)
    if sum(piece.num_bytes for piece in pieces) < WHOLE_BYTES:
        whole = Whole(config, pieces)
        (facts,) = whole.facts()
        names = choose(facts.series.select(SERIES, "rows"))
        return facts, whole.typed if names is None else whole.typed.filter(pl.col(SERIES).is_in(names)), 0
    facts = _facts_of_pieces(config, pieces)
    names = choose(facts.series.select(SERIES, "rows"))
    table, left = _rows_of(config, pieces, names)
    chosen = facts_of(table.select(key_columns(config, table.column_names)), config)
    facts = replace(facts, differences=chosen.differences, counts=chosen.counts)
    require_rows(table.num_rows, config.data)
    return facts, grid.typed(table, config.data), left


def _facts_of_pieces(config: Config, pieces: Sequence[Piece]) -> Facts:
    """Who is in a table and when; nothing that needs neighbours."""
    keys, found, row = keys_of(config.data), None, 0
    wanted = [*keys.columns, *([config.split.group] if config.split.group else [])]
    with bar("looking for series", len(pieces)) as move:
        for piece in pieces:
            table = read(config, piece, wanted)
            own = facts_of(numbered(table, row), config)
            row += table.num_rows
            found = own if found is None else replace(found, series=joined(found.series, own.series))
            move("")
    assert found is not None, "a source has at least one piece"
    if config.data.time is None:
        found = replace(found, series=found.series.with_columns(last=pl.col("rows") - 1))
    return found


def _rows_of(config: Config, pieces: Sequence[Piece], names: list[str] | None) -> tuple[pa.Table, int]:
    """Rows of some series; of one that is all the table, its newest."""
    if names is None:
        newest: list[pa.Table] = []
        size = 0
        for piece in reversed(pieces):
            newest.insert(0, read(config, piece))
            size += piece.num_bytes
            if size > WHOLE_BYTES:
                break
        left = sum(piece.num_rows or 0 for piece in pieces[: len(pieces) - len(newest)])
        return pa.concat_tables(newest), left
    series, kept = pl.DataFrame({SERIES: names}), []
    with bar("reading a sample", len(pieces)) as move:
        for piece in pieces:
            table = read(config, piece)
            frame = pl.DataFrame(table).with_columns(grid.series_of(config.data).alias(_NAME))
            chosen = frame.join(series, left_on=_NAME, right_on=SERIES, how="semi", maintain_order="left")
            kept.append(chosen.drop(_NAME).to_arrow().cast(table.schema))
            move("")
    return pa.concat_tables(kept), 0


_NAME = "name of the series"
