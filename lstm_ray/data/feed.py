"""What a training reads: which items there are, and each worker's share of every batch. NumPy; knows no torch or Ray."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lstm_ray.config import Config
from lstm_ray.data.split import Boundaries, Part
from lstm_ray.data.windows import (
    Batch,
    Segments,
    chunks,
    cut,
    cut_sequences,
    epoch_batches,
    longest_sequence,
    plan_sequences,
    sequences,
)
from lstm_ray.errors import InputError


@dataclass(frozen=True)
class Source:
    """The items of one part, and how to cut a batch of them."""

    num_items: int
    num_windows: int
    """Windows that the items hold together; for classification the items themselves."""
    cut: Callable[[NDArray], Batch]


def source(scaled: Segments, bounds: Boundaries, part: Part, config: Config) -> Source:
    """The sequences of a part. Raises InputError where it holds none."""
    window = config.window
    if config.task == "classify":
        ids = sequences(scaled, bounds, part)
        steps = longest_sequence(scaled, window.history)
        found = Source(len(ids), len(ids), lambda chosen: cut_sequences(scaled, ids[chosen], steps, window.patch))
    else:
        plan = plan_sequences(scaled, bounds, part, window, config.train.origins)
        found = Source(len(plan), plan.num_windows, lambda chosen: cut(scaled, plan, chosen))
    if not found.num_windows:
        longest = int(np.diff(scaled.bounds).max(initial=0))
        raise InputError(
            f"the {part} part {bounds[part]} holds no window of {window.history} + {window.horizon} steps (the longest "
            f"segment has {longest}); lower window.history or window.horizon, or give split.{part} more"
        )
    return found


def steps_per_epoch(items: Source, config: Config) -> int:
    return -(-items.num_items // config.train.batch)


def train_batches(items: Source, config: Config, epoch: int, rank: int = 0, world: int = 1) -> Iterator[Batch]:
    """One worker's share of every batch of an epoch: every item once over all workers, the same steps on each."""
    for chosen in epoch_batches(items.num_items, config.train.batch, config.seed, epoch):
        yield share(items, chosen, rank, world, -(-len(chosen) // world))


def share(items: Source, chosen: NDArray, rank: int, world: int, size: int) -> Batch:
    """A worker's share of a batch, brought to ``size`` items by ones that teach nothing.

    Every worker so takes every step, also where the last batch has fewer items than there are workers.
    """
    own = chosen[rank::world]
    batch = items.cut(np.append(own, np.full(size - len(own), chosen[0], dtype=chosen.dtype)))
    return batch if len(own) == size else batch.silent_after(len(own))


def all_batches(items: Source, config: Config, rank: int = 0, world: int = 1) -> Iterator[Batch]:
    """One worker's share of every item, in order."""
    for chosen in chunks(np.arange(items.num_items)[rank::world], config.train.batch):
        yield items.cut(chosen)
