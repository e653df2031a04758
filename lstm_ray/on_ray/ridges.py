"""Closed forms over workers: each sums over its share of the data, the sums are added up, and none reads all of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import ray
import torch
from numpy.typing import NDArray

from lstm_ray.config import Config
from lstm_ray.data.parts import Boundaries
from lstm_ray.data.windows import Segments
from lstm_ray.model.choosing import Sum
from lstm_ray.model.closed_forms import By, Reader, Solved, Whole, solved
from lstm_ray.on_ray.stream import Blocks


def closed_forms(
    config: Config, segments: Segments | Blocks, bounds: Boundaries, rank: int, world: int, add_up: Sum
) -> list[Solved]:
    """``closed_forms.closed_forms``, to be called by all workers at once.

    Args:
        segments: scaled, or their blocks in the object store.
        add_up: sums a float64 tensor over all workers.
    """

    def add_up_arrays(sums: NDArray) -> NDArray:
        return add_up(torch.from_numpy(sums)).cpu().numpy()

    return solved(config, reader(segments, rank, world, add_up_arrays), bounds)


def reader(
    segments: Segments | Blocks, rank: int, world: int, add_up: Callable[[NDArray], NDArray] = lambda sums: sums
) -> Reader:
    """What one worker reads of the data."""
    kind = Whole if isinstance(segments, Segments) else InBlocks
    return kind(segments, rank, world, add_up)  # type: ignore[arg-type]


class InBlocks:
    """Segments in the object store; a worker's share of the items are those in every ``world``-th block."""

    def __init__(self, blocks: Blocks, rank: int, world: int, add_up: Callable[[NDArray], NDArray]) -> None:
        self._blocks, self._rank, self._world, self.add_up = blocks, rank, world, add_up

    @property
    def index(self) -> Segments:
        return self._blocks.index

    def own(self, items_M: NDArray, by: By) -> Iterator[tuple[Segments, NDArray]]:
        return self._read(items_M, by, range(self._rank, len(self._blocks.refs), self._world))

    def every(self, items_M: NDArray, by: By) -> Iterator[tuple[Segments, NDArray]]:
        return self._read(items_M, by, range(len(self._blocks.refs)))

    def _read(self, items_M: NDArray, by: By, wanted: range) -> Iterator[tuple[Segments, NDArray]]:
        """Block by block, one in memory at a time; blocks without an item are not fetched."""
        first = self._blocks.first_segment
        if by == "row":
            first = self.index.bounds[first]
        block_M = np.searchsorted(first, items_M, side="right") - 1
        for block in wanted:
            own_M = items_M[block_M == block] - first[block]
            if len(own_M):
                yield ray.get(self._blocks.refs[block]), own_M
