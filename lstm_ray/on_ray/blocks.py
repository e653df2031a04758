"""Blocks of whole series over a Ray cluster: cut between series where the files allow it, dealt by a hash where not.

Tasks read, hash and prepare; Ray's object store carries rows between them, and spills to disk what does not fit. This
shuffle is by hand: every task deals a piece of a file to all partitions, in order, and a partition is put together where it
is prepared. Ray Data's repartition by keys does the same ten times slower on two cores.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import polars as pl
import pyarrow as pa
import ray

from lstm_ray.config import Config
from lstm_ray.data.preparing.blocks import (
    BLOCK_ROWS,
    Blocks,
    Run,
    cut_between_series,
    key_columns,
    numbered,
    read,
    runs_in,
)
from lstm_ray.data.preparing.facts import Facts, facts_of, keys_of
from lstm_ray.data.preparing.prepare import Plan, Prepared, prepare
from lstm_ray.data.source.files import Piece
from lstm_ray.data.timeline import grid
from lstm_ray.errors import InputError
from lstm_ray.on_ray import cluster
from lstm_ray.progress import bar

AHEAD = 2
"""Tasks for each CPU that wait or run: more would only fill the object store with what nobody has fetched."""
CALLS = 32
"""Tasks after which a worker process is replaced: pages of the object store that it has touched stay counted as its own."""
PARTITION = "partition"


def spread(config: Config, pieces: Sequence[Piece]) -> Blocks:
    """The source's blocks over the cluster that is connected, or started. Reads the names of all series once."""
    cluster.ensure()
    runs = list(_each(_runs_in.remote, [(config, piece) for piece in pieces], "looking for series"))
    num_rows = [rows for rows, _ in runs]
    if not sum(num_rows):
        raise InputError(f"data.source {config.data.source!r} holds no rows; name files that hold data")
    blocks = cut_between_series([found for _, found in runs])
    if blocks is not None:
        return BySeries(config, pieces, num_rows, blocks)
    return ByHash(config, pieces, num_rows)


class BySeries:
    """Files that hold one series after the other: a block is a stretch of rows, read where it is worked on."""

    def __init__(self, config: Config, pieces: Sequence[Piece], num_rows: list[int], blocks: list[list[Run]]) -> None:
        self._config, self._pieces, self._num_rows, self._blocks = config, pieces, num_rows, blocks
        self.words = f"in {len(blocks)} blocks as the files hold them, series after series"

    def facts(self) -> Iterator[Facts]:
        held = ray.put(self._config)
        return _each(_facts_of_runs.remote, [(held, *block) for block in self._described()], "reading time stamps")

    def prepared(self, plan: Plan) -> Iterator[Prepared]:
        held = ray.put(plan)
        return _each(_prepared_runs.remote, [(held, *block) for block in self._described()], "preparing")

    def _described(self) -> Iterator[tuple[list[tuple[Piece, int, int]], int]]:
        """Each block's pieces with their rows, and the number of its first row in the source."""
        row = 0
        for block in self._blocks:
            yield [(self._pieces[run.piece], run.first, run.end) for run in block], row
            row += sum(run.end - run.first for run in block)


class ByHash:
    """Files in any other order: every series' rows, in the order of the source, in one of some partitions."""

    def __init__(self, config: Config, pieces: Sequence[Piece], num_rows: list[int]) -> None:
        self._config, num = config, -(-sum(num_rows) // BLOCK_ROWS)
        deal = _dealt.options(num_returns=num) if num > 1 else _dealt
        held, first = ray.put(config), 0
        dealt = []
        for piece, rows in zip(pieces, num_rows, strict=True):
            found = deal.remote(held, piece, first, num)
            dealt.append(found if num > 1 else [found])
            first += rows
        self._partitions = list(zip(*dealt, strict=True))
        self.words = f"in {num} partitions by a hash of the series"

    def facts(self) -> Iterator[Facts]:
        held, partitions = ray.put(self._config), self._partitions
        self._partitions = []
        calls = [(held, *parts) for parts in partitions]
        for parts, found in zip(partitions, _each(_facts_of_parts.remote, calls, "reading time stamps"), strict=True):
            if found.num_rows:
                # A hash may leave a partition of a table with few series empty.
                self._partitions.append(parts)
                yield found

    def prepared(self, plan: Plan) -> Iterator[Prepared]:
        held = ray.put(plan)
        return _each(_prepared_parts.remote, [(held, *parts) for parts in self._partitions], "preparing")


def _each(task: Any, calls: Sequence[tuple[Any, ...]], words: str) -> Iterator[Any]:
    """Results of a task for each call, in the order of the calls; few run ahead of what was taken.

    Raises InputError where a task does, as it was raised there.
    """
    most = AHEAD * cluster.num_cpus()
    waiting = [task(*call) for call in calls[:most]]
    with bar(words, len(calls)) as move:
        for number in range(len(calls)):
            try:
                found = ray.get(waiting.pop(0))
            except ray.exceptions.RayTaskError as error:
                if isinstance(error.cause, InputError):
                    raise error.cause from None
                raise
            if number + most < len(calls):
                waiting.append(task(*calls[number + most]))
            move("")
            yield found


@ray.remote(max_calls=CALLS)
def _runs_in(config: Config, piece: Piece) -> tuple[int, pl.DataFrame | None]:
    ids = read(config, piece, config.data.series_id or config.data.columns[:1])
    return ids.num_rows, runs_in(ids, config)


@ray.remote(max_calls=CALLS)
def _facts_of_runs(config: Config, runs: list[tuple[Piece, int, int]], first: int) -> Facts:
    return facts_of(_stretch(config, runs, first, keys_of(config.data).columns), config)


@ray.remote(max_calls=CALLS)
def _prepared_runs(plan: Plan, runs: list[tuple[Piece, int, int]], first: int) -> Prepared:
    return prepare(_stretch(plan.config, runs, first), plan)


def _stretch(
    config: Config, runs: list[tuple[Piece, int, int]], first: int, columns: Sequence[str] | None = None
) -> pa.Table:
    """Rows of some pieces, with their numbers where series are dealt in their order."""
    table = pa.concat_tables([read(config, piece, columns)[begin:end] for piece, begin, end in runs])
    return numbered(table, first) if config.split.by == "order" else table


@ray.remote(max_calls=CALLS)
def _dealt(config: Config, piece: Piece, first: int, num: int) -> pa.Table | list[pa.Table]:
    """A piece's rows by partition, each in the order of the source."""
    table = read(config, piece)
    if config.split.by == "order":
        table = numbered(table, first)
    if num == 1:
        return table
    frame = pl.DataFrame(table).with_columns((grid.series_of(config.data).hash(seed=0) % num).alias(PARTITION))
    parts = frame.partition_by(PARTITION, as_dict=True, include_key=False, maintain_order=True)
    empty = frame.drop(PARTITION).clear()
    return [parts.get((number,), empty).to_arrow() for number in range(num)]


@ray.remote(max_calls=CALLS)
def _facts_of_parts(config: Config, *parts: pa.Table) -> Facts:
    columns = key_columns(config, parts[0].column_names)
    return facts_of(pa.concat_tables([part.select(columns) for part in parts]), config)


@ray.remote(max_calls=CALLS)
def _prepared_parts(plan: Plan, *parts: pa.Table) -> Prepared:
    return prepare(pa.concat_tables(parts), plan)
