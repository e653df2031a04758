"""A table that fits into this process, block by block in it. Starts no Ray."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue

import pyarrow as pa

from lstm_ray.config import Config
from lstm_ray.data.preparing.blocks import BLOCK_ROWS, cuts, read
from lstm_ray.data.preparing.facts import require_rows
from lstm_ray.data.source.files import Piece
from lstm_ray.data.timeline import grid, order
from lstm_ray.model.policy import Policy
from lstm_ray.on_ray.forecasting.predicting import Told, part_of_typed
from lstm_ray.serving.bundle import Packed, unpack


class Here:
    """The whole table, cut between series.

    Args:
        files: of the policy, which each thread holds on its own.

    Raises:
        InputError: it holds no rows, or they cannot be read.
    """

    def __init__(self, files: Packed, config: Config, pieces: Sequence[Piece]) -> None:
        self._files, self._config = files, config
        table = pa.concat_tables([read(config, piece) for piece in pieces])
        require_rows(table.num_rows, config.data)
        self._frame = grid.typed(table, config.data)
        self._cuts = list(cuts(order.runs_of(self._frame).starts, self._frame.height, BLOCK_ROWS))

    def __len__(self) -> int:
        return len(self._cuts)

    def parts(self, numbers: Sequence[int]) -> Iterator[tuple[int, bytes, Told]]:
        """Those of some blocks, in order; a thread for each CPU forecasts one after the other."""
        policies: SimpleQueue[Policy] = SimpleQueue()
        cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        threads = max(1, min(len(numbers), cpus))
        for _ in range(threads):
            policies.put(unpack(self._files))

        def part(number: int) -> tuple[bytes, Told]:
            policy, (first, end) = policies.get(), self._cuts[number]
            try:
                return part_of_typed(policy, self._config, self._frame[first:end])
            finally:
                policies.put(policy)

        workers = ThreadPoolExecutor(threads, "forecasts")
        try:
            for number, (content, told) in zip(numbers, workers.map(part, numbers), strict=True):
                yield number, content, told
        finally:
            workers.shutdown(cancel_futures=True)
