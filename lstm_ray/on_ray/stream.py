"""Batches cut by Ray Data tasks, from segments that lie in the object store block by block.

No process needs all segments at once: a task reads the blocks that its sequences lie in, and Ray spills to disk the blocks
for which a node's object store has no room. A training worker holds where the segments begin and end, and its batches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import ray
import ray.data
from numpy.typing import NDArray

from lstm_ray.config import Config
from lstm_ray.data.feed import Items
from lstm_ray.data.windows import Batch, Segments, chunks, epoch_batches

BLOCK_BYTES = 64_000_000
"""Segments are put into the object store in blocks of about this size; none is cut between blocks."""
STEPS_PER_TASK = 8
"""Optimiser steps whose windows one Ray Data task cuts: fewer cost more scheduling than cutting."""


@dataclass(frozen=True)
class Blocks:
    """Scaled segments in the object store."""

    index: Segments
    """All segments with no values: enough to plan which rows a sequence reads."""
    refs: list[ray.ObjectRef]
    """Of Segments, one a block."""
    first_segment: NDArray
    """int64, one a block."""
    task_cpus: float = 1.0
    """Of each task that cuts batches."""


def put(scaled: Segments, block_bytes: int = BLOCK_BYTES, task_cpus: float = 1.0) -> Blocks:
    """Lay segments into the object store."""
    per_row = sum(value[:1].nbytes for value in _values(scaled).values())
    block_of = scaled.bounds[:-1] * per_row // block_bytes
    first = np.flatnonzero(np.diff(block_of, prepend=-1))
    ends = [*first[1:], len(scaled.series)]
    refs = [ray.put(_part(scaled, int(begin), int(end))) for begin, end in zip(first, ends, strict=True)]
    index = replace(scaled, **{name: value[:0] for name, value in _values(scaled).items()})
    return Blocks(index, refs, first.astype(np.int64), task_cpus)


class Stream:
    """The items of one part: a task is sent the few numbers that say which rows it has to cut."""

    def __init__(self, blocks: Blocks, items: Items, config: Config) -> None:
        self._config, self._numbers = config, items.number_MW
        self._cut = _cutter(blocks, items.cut, items.num_rows)
        self._task_cpus = blocks.task_cpus

    def train_batches(self, epoch: int, rank: int = 0, world: int = 1) -> Iterator[Batch]:
        """One worker's share of every batch of an epoch, as ``feed.train_batches``."""
        size = self._config.train.batch
        every = epoch_batches(len(self._numbers), size, self._config.seed, epoch)
        return self._batches([(chosen[rank::world], -(-len(chosen) // world), chosen[0]) for chosen in every])

    def all_batches(self, rank: int = 0, world: int = 1) -> Iterator[Batch]:
        """One worker's share of every item, in order, as ``feed.all_batches``."""
        own = np.arange(len(self._numbers))[rank::world]
        return self._batches([(chosen, len(chosen), 0) for chosen in chunks(own, self._config.train.batch)])

    def _batches(self, wanted: list[tuple[NDArray, int, int]]) -> Iterator[Batch]:
        """Batches of chosen items, each brought to a size by another item that teaches nothing."""
        if not wanted:
            return
        cut_them, width = self._cut, self._numbers.shape[1]

        def cut_steps(table: pa.Table) -> pa.Table:
            batches = []
            for numbers, count in zip(table["numbers"], table["count"].to_pylist(), strict=True):
                batch = cut_them(numbers.values.to_numpy().reshape(-1, width))
                batches.append(batch if len(batch.label_B) == count else batch.silent_after(count))
            return _packed(batches)

        tables = []
        for few in (wanted[first : first + STEPS_PER_TASK] for first in range(0, len(wanted), STEPS_PER_TASK)):
            padded = [np.append(own, np.full(size - len(own), filler)) for own, size, filler in few]
            numbers = [self._numbers[chosen].ravel() for chosen in padded]
            tables.append(pa.table({"numbers": numbers, "count": [len(own) for own, _, _ in few]}))
        context = ray.data.DataContext.get_current()
        context.execution_options.preserve_order = True
        context.enable_progress_bars = False
        dataset = ray.data.from_arrow(tables).map_batches(
            cut_steps, batch_format="pyarrow", batch_size=None, num_cpus=self._task_cpus
        )
        for table in dataset.iter_batches(batch_size=1, batch_format="pyarrow"):
            yield _unpacked(table)


def _cutter(blocks: Blocks, cut_one: Callable[[Segments, NDArray], Batch], num_rows: int) -> Callable[[NDArray], Batch]:
    """Cut items that may lie in several blocks.

    Args:
        cut_one: a block's segments and items' numbers to a batch.
        num_rows: so many of an item's first numbers are rows; 0: its first is its segment's.
    """
    refs, index = blocks.refs, blocks.index
    first = index.bounds[blocks.first_segment] if num_rows else blocks.first_segment

    def cut_numbers(number_MW: NDArray) -> Batch:
        block_M = np.searchsorted(first, number_MW[:, 0], side="right") - 1
        whole: dict[str, NDArray] = {}
        for block in np.unique(block_M):
            here = np.flatnonzero(block_M == block)
            moved = number_MW[here]
            moved[:, : num_rows or 1] -= first[block]
            for name, value in vars(cut_one(ray.get(refs[block]), moved)).items():
                whole.setdefault(name, np.empty((len(number_MW), *value.shape[1:]), value.dtype))[here] = value
        return Batch(**whole)

    return cut_numbers


def _part(segments: Segments, first: int, end: int) -> Segments:
    """The segments from ``first`` to before ``end``."""
    rows = slice(segments.bounds[first], segments.bounds[end])
    return replace(
        segments,
        **{name: value[rows] for name, value in _values(segments).items()},
        bounds=segments.bounds[first : end + 1] - segments.bounds[first],
        series=segments.series[first:end],
        first_step=segments.first_step[first:end],
        label=None if segments.label is None else segments.label[first:end],
        category_SK=segments.category_SK[first:end],
        part_S=None if segments.part_S is None else segments.part_S[first:end],
        label_R=None if segments.label_R is None else segments.label_R[rows],
    )


def _values(segments: Segments) -> dict[str, Any]:
    """What lies in blocks alone, a row a step: enough to cut by, not to plan by."""
    names = ("target_RC", "observed_RC", "past_RP", "known_RK", "weight_R")
    return {name: value for name in names if (value := getattr(segments, name)) is not None}


def _packed(batches: list[Batch]) -> pa.Table:
    """One row a batch: every array as its bytes, shape and type. Arrow has no tensors of no elements, or of two sizes."""
    columns: dict[str, list] = {}
    for name, value in ((name, value) for batch in batches for name, value in vars(batch).items()):
        columns.setdefault(name, []).append(np.ascontiguousarray(value).tobytes())
        columns.setdefault(f"{name}:shape", []).append([value.dtype.str, *map(str, value.shape)])
    return pa.table({name: pa.array(v, pa.large_binary() if ":" not in name else None) for name, v in columns.items()})


def _unpacked(table: pa.Table) -> Batch:
    arrays = {}
    for name in (name for name in table.column_names if ":" not in name):
        kind, *shape = table[f"{name}:shape"][0].as_py()
        # Arrow's buffers are read-only, and torch would warn of that at every step.
        flat = np.frombuffer(table[name][0].as_buffer(), dtype=kind).copy()
        arrays[name] = flat.reshape([int(length) for length in shape])
    return Batch(**arrays)
