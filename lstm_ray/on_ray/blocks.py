"""Blocks of whole series over a Ray cluster: cut between series where the files allow it, dealt by a hash where not.

Tasks read, hash and prepare; Ray's object store carries rows between them, and spills to disk what does not fit. This
shuffle is by hand: every task deals a piece of a file to all partitions, in order, and a partition is put together where it
is prepared. Ray Data's repartition by keys does the same ten times slower on two cores.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import polars as pl
import pyarrow as pa
import ray

from lstm_ray.config import Config
from lstm_ray.data.preparing.blocks import (
    BLOCK_ROWS,
    Blocks,
    Run,
    comes_back,
    cut_between_series,
    key_columns,
    numbered,
    read,
    runs_in,
)
from lstm_ray.data.preparing.facts import Facts, facts_of, keys_of, require_rows
from lstm_ray.data.preparing.prepare import Plan, Prepared, prepare
from lstm_ray.data.source.files import Piece
from lstm_ray.data.store import NUM_STEPS
from lstm_ray.data.timeline import grid
from lstm_ray.errors import InputError
from lstm_ray.on_ray import cluster, metrics, resources
from lstm_ray.progress import bar
from lstm_ray.sections.resources import Stage

AHEAD = 2
"""Tasks that wait or run for each that the cluster could hold at a time: more would only fill the object store with what
nobody has fetched."""
CALLS = 32
"""Tasks after which a worker process is replaced: pages of the object store that it has touched stay counted as its own."""
PARTITION = "partition"
Stretches = list[tuple[Piece, int, int]]
"""Pieces of a block, and of each the first row and the one after the last."""
GIVEN_UP = (
    ray.exceptions.WorkerCrashedError,
    ray.exceptions.NodeDiedError,
    ray.exceptions.OutOfMemoryError,
    ray.exceptions.OutOfDiskError,
    ray.exceptions.ObjectStoreFullError,
    ray.exceptions.ObjectLostError,
)
"""What Ray raises where it has tried again in vain: a process that is killed is replaced, and its task run once more."""
MOST_SAID = 300
"""Characters of Ray's own words that are passed on."""


def spread(config: Config, pieces: Sequence[Piece], stage: Stage = "preprocess") -> Blocks:
    """The source's blocks over the cluster that is connected, or started. Reads the names of all series once.

    Raises InputError where no node that could hold one of the stage's tasks comes.
    """
    cluster.ensure()
    asked = _task_of(config, stage)
    resources.wait_for(asked, 1, config.resources)
    num_rows, runs = _stretches(config, pieces, asked)
    require_rows(sum(num_rows), config.data)
    blocks = cut_between_series(runs) if runs is not None else None
    if blocks is not None:
        return BySeries(config, pieces, blocks, asked)
    return ByHash(config, pieces, num_rows, asked)


def _task_of(config: Config, stage: Stage) -> resources.Process:
    """What each task asks for: a CPU, unless the YAML says otherwise."""
    return resources.process(config.resources, stage, 1.0)


def _stretches(
    config: Config, pieces: Sequence[Piece], asked: resources.Process
) -> tuple[list[int], list[pl.DataFrame] | None]:
    """The rows of each piece, and where series lie in it; None where one comes back, and so needs no stretch."""
    known = [piece.num_rows for piece in pieces if piece.num_rows is not None]
    num_rows, runs, compared, is_by_series = list[int](), list[pl.DataFrame](), 0, True
    found = _each(_runs_in, ((config, piece) for piece in pieces), len(pieces), "looking for series", asked)
    for rows, own in found:
        num_rows.append(rows)
        if not is_by_series:
            continue
        if own is not None:
            # Names are compared each time they have doubled: those of a table by time would be a row for each of its rows.
            runs.append(own)
            height = sum(part.height for part in runs)
            if height <= 2 * compared:
                continue
            compared = height
            if not comes_back(runs):
                continue
        is_by_series, runs = False, []
        if len(known) == len(pieces):
            found.close()
            return known, None
    return num_rows, runs if is_by_series else None


class BySeries:
    """Files that hold one series after the other: a block is a stretch of rows, read where it is worked on."""

    def __init__(
        self, config: Config, pieces: Sequence[Piece], blocks: list[list[Run]], asked: resources.Process
    ) -> None:
        self._config, self._pieces, self._blocks, self._asked = config, pieces, blocks, asked
        self.words = f"in {len(blocks)} blocks as the files hold them, series after series"

    def facts(self) -> Iterator[Facts]:
        held = ray.put(self._config)
        calls = ((held, *block) for block in self._described())
        return _each(_facts_of_runs, calls, len(self._blocks), "reading time stamps", self._asked)

    def prepared(self, plan: Plan) -> Iterator[Prepared]:
        held = ray.put(plan)
        calls = ((held, *block) for block in self._described())
        return _counted(_each(_prepared_runs, calls, len(self._blocks), "preparing", self._asked))

    def stretches(self) -> list[Stretches]:
        """Each block's pieces and their rows."""
        return [runs for runs, _ in self._described()]

    def _described(self) -> Iterator[tuple[Stretches, int]]:
        """Each block's pieces with their rows, and the number of its first row in the source."""
        row = 0
        for block in self._blocks:
            yield [(self._pieces[run.piece], run.first, run.end) for run in block], row
            row += sum(run.end - run.first for run in block)


class ByHash:
    """Files in any other order: every series' rows, in the order of the source, in one of some partitions."""

    def __init__(self, config: Config, pieces: Sequence[Piece], num_rows: list[int], asked: resources.Process) -> None:
        self._config, self._asked, num = config, asked, -(-sum(num_rows) // BLOCK_ROWS)
        deal = _dealt.options(num_returns=num, **asked.options())
        held, first = ray.put(config), 0
        dealt = []
        for piece, rows in zip(pieces, num_rows, strict=True):
            found = deal.remote(held, piece, first, num)
            dealt.append(found if num > 1 else [found])
            first += rows
        self._partitions = list(zip(*dealt, strict=True))
        self.words = f"in {num} partitions by a hash of the series"

    def dealt(self) -> list[list[ray.ObjectRef]]:
        """Each partition's tables, once all pieces were dealt; they are this object's no more."""
        partitions, waiting = self._partitions, list(self._partitions[0])
        self._partitions = []
        with bar("dealing rows to blocks", len(waiting)) as move:
            while waiting:
                _, waiting = ray.wait(waiting, fetch_local=False)
                move("")
        return [list(parts) for parts in partitions]

    def facts(self) -> Iterator[Facts]:
        held, partitions = ray.put(self._config), self._partitions
        self._partitions = []
        calls = ((held, *parts) for parts in partitions)
        found = _each(_facts_of_parts, calls, len(partitions), "reading time stamps", self._asked)
        for parts, own in zip(partitions, found, strict=True):
            if own.num_rows:
                # A hash may leave a partition of a table with few series empty.
                self._partitions.append(parts)
                yield own

    def prepared(self, plan: Plan) -> Iterator[Prepared]:
        """As for all blocks; but once, for a partition is let go as it is taken up."""
        held, num, left = ray.put(plan), len(self._partitions), deque(self._partitions)
        self._partitions = []
        calls = ((held, *left.popleft()) for _ in range(num))
        return _counted(_each(_prepared_parts, calls, num, "preparing", self._asked))


def _counted(blocks: Iterator[Prepared]) -> Iterator[Prepared]:
    for block in blocks:
        metrics.tell("rows_prepared", float(block.index[NUM_STEPS].sum()))
        yield block


def _each(
    task: Any, calls: Iterable[tuple[Any, ...]], num: int, words: str, asked: resources.Process
) -> Generator[Any]:
    """Results of a task for each of so many calls, in their order; few run ahead of what was taken, and calls are asked for
    one by one, so that what they hold is let go.

    Raises InputError (and OSError) where a task does, as it was raised there, and where Ray itself gives up on one.
    """
    following, waiting = iter(calls), deque[ray.ObjectRef]()
    remote = task.options(**asked.options()).remote
    waiting.extend(remote(*call) for call in islice(following, AHEAD * max(1, resources.held(asked))))
    try:
        with bar(words, num) as move:
            while waiting:
                found = _got(waiting.popleft(), words)
                waiting.extend(remote(*call) for call in islice(following, 1))
                move("")
                yield found
    finally:
        for left in waiting if ray.is_initialized() else ():
            ray.cancel(left)


def _got(result: ray.ObjectRef, words: str) -> Any:
    try:
        return ray.get(result)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, InputError | OSError):
            raise error.cause from None
        # What a task was to read may be lost before it runs.
        if isinstance(error.cause, GIVEN_UP):
            raise _given_up(error.cause, words) from None
        raise
    except GIVEN_UP as error:
        raise _given_up(error, words) from None


def _given_up(error: BaseException, words: str) -> InputError:
    said = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, ray.exceptions.OutOfDiskError):  # its own words begin with the bytes of an address
        said = "the object store is full, and so is the disk that it spills to"
    return InputError(
        f"Ray gave up a block while {words} ({said[:MOST_SAID]}); give each node more memory or fewer CPUs, and Ray's folder "
        "of temporary files (RAY_TMPDIR) more room. What the run held before is whole"
    )


def read_here(config: Config, piece: Piece, columns: Sequence[str] | None = None) -> pa.Table:
    """As ``read``, on whatever node this is. Raises InputError where its disk is not the one that holds the file."""
    try:
        return read(config, piece, columns)
    except (InputError, OSError):
        file = piece.file
        if file.filesystem.type_name != "local" or os.path.exists(file.path):
            raise
        raise InputError(
            f"'{file.name}' of data.source is on the machine of this command, and not on the node "
            f"{ray.util.get_node_ip_address()} of the cluster, which was to read it; put it where all nodes see it under the "
            "same name: a shared file system, or an object store (s3://bucket/...)"
        ) from None


@ray.remote(max_calls=CALLS)
def _runs_in(config: Config, piece: Piece) -> tuple[int, pl.DataFrame | None]:
    ids = read_here(config, piece, config.data.series_id or config.data.columns[:1])
    return ids.num_rows, runs_in(ids, config)


@ray.remote(max_calls=CALLS)
def _facts_of_runs(config: Config, runs: Stretches, first: int) -> Facts:
    return facts_of(_stretch(config, runs, first, keys_of(config.data).columns), config)


@ray.remote(max_calls=CALLS)
def _prepared_runs(plan: Plan, runs: Stretches, first: int) -> Prepared:
    return prepare(_stretch(plan.config, runs, first), plan)


def _stretch(config: Config, runs: Stretches, first: int, columns: Sequence[str] | None = None) -> pa.Table:
    """Rows of some pieces, with their numbers where series are dealt in their order."""
    table = pa.concat_tables([read_here(config, piece, columns)[begin:end] for piece, begin, end in runs])
    return numbered(table, first) if config.split.by == "order" else table


@ray.remote(max_calls=CALLS)
def _dealt(config: Config, piece: Piece, first: int, num: int) -> pa.Table | list[pa.Table]:
    """A piece's rows by partition, each in the order of the source."""
    table = read_here(config, piece)
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
