"""A table of any size over a Ray cluster: actors that hold the policy forecast block after block. No process holds the table.

Blocks are those that preparing a table makes: cut between series where the files lie so, else dealt by a hash of the series.
An actor that is lost is replaced, and its block forecast again; parts are written by the driver alone, each once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import ray

from lstm_ray.config import Config
from lstm_ray.data.source.files import Piece
from lstm_ray.errors import InputError
from lstm_ray.model.policy import Policy
from lstm_ray.on_ray.blocks import GIVEN_UP, ByHash, BySeries, Stretches, read_here, spread
from lstm_ray.on_ray.forecasting.predicting import Told, part_of
from lstm_ray.on_ray.pool import actor_pool
from lstm_ray.serving.bundle import Packed

MEND = "give each node more memory, or fewer CPUs; the same command goes on after the finished parts"


class Spread:
    """The source's blocks over the cluster that is connected, or started here."""

    def __init__(self, files: Packed, config: Config, pieces: Sequence[Piece]) -> None:
        self._files, self._config = files, config
        blocks = spread(config, pieces, "forecast")
        assert isinstance(blocks, BySeries | ByHash)
        self._of: Any = _of_rows if isinstance(blocks, BySeries) else _of_tables
        self._tasks: list[Any] = blocks.stretches() if isinstance(blocks, BySeries) else blocks.dealt()

    def __len__(self) -> int:
        return len(self._tasks)

    def parts(self, numbers: Sequence[int]) -> Iterator[tuple[int, bytes, Told]]:
        """Those of some blocks, as they come; only once, for dealt rows are let go."""
        tasks: list[tuple[Any, ...]] = [(self._tasks[number],) for number in numbers]
        self._tasks = []
        if not tasks:
            return
        asks = self._config.resources
        with actor_pool(self._files, self._config, len(tasks), mend=MEND, asks=asks, stage="forecast") as pool:
            for turn, (content, told) in pool.each(self._of, tasks):
                # The rows are needed no more: Ray takes back what they lie in.
                tasks[turn] = ()
                yield numbers[turn], content, told


def _of_rows(policy: Policy, config: Config, runs: Stretches) -> tuple[bytes, Told]:
    """Of rows that are read where they are forecast."""
    table = pa.concat_tables([read_here(config, piece)[first:end] for piece, first, end in runs])
    return part_of(policy, config, table)


def _of_tables(policy: Policy, config: Config, tables: list[ray.ObjectRef]) -> tuple[bytes, Told]:
    """Of rows that were dealt to a partition. A hash may leave one of a table with few series empty."""
    try:
        found = ray.get(tables)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, InputError | OSError):
            raise error.cause from None
        raise
    except GIVEN_UP as error:
        raise InputError(f"rows that were dealt to a block are lost ({type(error).__name__}); {MEND}") from None
    return part_of(policy, config, pa.concat_tables(found))
