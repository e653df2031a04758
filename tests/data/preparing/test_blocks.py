"""Blocks hold whole series and every row once, however files lie."""

from __future__ import annotations

from itertools import groupby, pairwise

import numpy as np
import polars as pl
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from lstm_ray.data.preparing.blocks import cut_between_series, numbered, runs_in
from lstm_ray.data.preparing.facts import ROW
from tests import made


@given(
    st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(1, 9)), min_size=1, max_size=8),
    st.lists(st.integers(0, 40), max_size=4),
    st.integers(1, 12),
)
def test_blocks_hold_whole_series_and_every_row_once(
    stretches: list[tuple[str, int]], cuts: list[int], block_rows: int
) -> None:
    rows = [name for name, length in stretches for _ in range(length)]
    edges = [0, *sorted(cut for cut in cuts if cut < len(rows)), len(rows)]
    pieces = [rows[first:end] for first, end in pairwise(edges)]
    config = made.make_config()
    runs = [runs_in(pa.table({"site": pa.array(piece, pa.string())}), config) for piece in pieces]
    blocks = cut_between_series(runs, block_rows)
    apart = [name for name, _ in groupby(rows)]
    if len(set(apart)) < len(apart):
        assert blocks is None, "a series that comes back lies in no single block"
        return
    assert blocks is not None
    held = [[row for run in block for row in pieces[run.piece][run.first : run.end]] for block in blocks]
    assert [row for block in held for row in block] == rows
    names = [set(block) for block in held]
    assert sum(map(len, names)) == len(set(rows)), "no series lies in two blocks"
    assert all(len(block) >= block_rows for block in held[:-1])


def test_a_table_by_time_is_told_from_one_by_series_without_counting_its_runs() -> None:
    by_time = pa.table({"site": ["a", "b"] * 50})
    assert runs_in(by_time, made.make_config()) is None
    assert cut_between_series([runs_in(by_time, made.make_config())]) is None


def test_a_table_of_one_series_is_one_block() -> None:
    config = made.make_config(data__series_id=[])
    runs = runs_in(pa.table({"when": np.arange(7)}), config)
    assert runs is not None
    assert runs["rows"].to_list() == [7]


def test_rows_are_numbered_as_in_the_source() -> None:
    table = numbered(pa.table({"site": ["a", "b"]}), 40)
    assert pl.DataFrame(table)[ROW].to_list() == [40, 41]
