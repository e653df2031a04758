"""What a training reads: which items there are, and each worker's share of every batch. NumPy; knows no torch or Ray."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lstm_ray.config import Config
from lstm_ray.data.parts import PARTS, Boundaries, Part
from lstm_ray.data.steps import class_counts, cut_steps, labelled_rows, plan_part
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
from lstm_ray.errors import InputError, nearest


@dataclass(frozen=True)
class Items:
    """The items of one part, planned: where each lies, with no values of its own."""

    number_MW: NDArray
    """int64: each item's first row, the row after its last and its origins; to classify, its segment alone; to label, the
    rows of ``steps.StepPlan``."""
    num_windows: int
    """Windows that the items hold together; for classification the items themselves, for labels the labelled steps."""
    cut: Callable[[Segments, NDArray], Batch]
    """Cuts items from scaled segments by their numbers there, [B, W]."""
    num_rows: int = 2
    """So many of an item's first numbers are rows; 0: its first is its segment's."""

    @property
    def num_items(self) -> int:
        return len(self.number_MW)


@dataclass(frozen=True)
class Source:
    """The items of one part, and how to cut a batch of them."""

    num_items: int
    num_windows: int
    cut: Callable[[NDArray], Batch]


def planned(scaled: Segments, bounds: Boundaries, part: Part, config: Config) -> Items:
    """The items of a part; reads no values. Raises InputError where there are none, or classes that training could not
    learn."""
    window = config.window
    if config.task == "classify":
        _require_taught(scaled, bounds, part)
        ids_M1 = sequences(scaled, bounds, part)[:, None]
        padded = longest_sequence(scaled, window.history)

        def cut_whole(here: Segments, ids_B1: NDArray) -> Batch:
            return cut_sequences(here, ids_B1[:, 0], padded, window.patch)

        found = Items(ids_M1, len(ids_M1), cut_whole, num_rows=0)
    elif config.task == "label":
        return _planned_labels(scaled, bounds, part, config)
    else:
        plan = plan_sequences(scaled, bounds, part, window, config.train.origins)
        # A task is sent this function: it must not hold the rows of all sequences.
        shape = replace(plan, start_M=plan.start_M[:0], end_M=plan.end_M[:0], num_origins_M=plan.num_origins_M[:0])

        def cut_rows(here: Segments, rows_B3: NDArray) -> Batch:
            start_B, end_B, num_B = rows_B3.T
            plan_B = replace(shape, start_M=start_B, end_M=end_B, num_origins_M=num_B)
            return cut(here, plan_B, np.arange(len(rows_B3)))

        found = Items(np.stack([plan.start_M, plan.end_M, plan.num_origins_M], axis=1), plan.num_windows, cut_rows)
    if not found.num_windows:
        longest = int(np.diff(scaled.bounds).max(initial=0))
        raise InputError(
            f"the {part} part {bounds[part]} holds no window of {window.history} + {window.horizon} steps (the longest "
            f"segment has {longest}); lower window.history or window.horizon, or give split.{part} more"
        )
    return found


def _planned_labels(scaled: Segments, bounds: Boundaries, part: Part, config: Config) -> Items:
    """The sequences that tell a part's labelled steps."""
    if scaled.schema.classes:
        _require_taught(scaled, bounds, part)
    plan = plan_part(scaled, bounds, part, config.window, config.train.origins)
    if not len(plan):
        raise InputError(
            f"the {part} part {bounds[part]} holds no label in '{scaled.schema.label}'; give split.{part} more, or move the "
            "parts to where steps are labelled"
        )

    # A task is sent this function: it must not hold the rows of all sequences.
    shape = replace(plan, row_M5=plan.row_M5[:0])

    def cut_rows(here: Segments, rows_B5: NDArray) -> Batch:
        return cut_steps(here, replace(shape, row_M5=rows_B5), np.arange(len(rows_B5)))

    return Items(plan.row_M5, len(labelled_rows(scaled, bounds, part)), cut_rows, num_rows=5)


def source(scaled: Segments, bounds: Boundaries, part: Part, config: Config) -> Source:
    """``planned`` items with their values at hand."""
    return of_items(planned(scaled, bounds, part, config), scaled)


def of_items(items: Items, scaled: Segments) -> Source:
    """Planned items of these segments."""
    return Source(items.num_items, items.num_windows, lambda chosen: items.cut(scaled, items.number_MW[chosen]))


def class_weights(segments: Segments, bounds: Boundaries, config: Config) -> NDArray | None:
    """Weight of each class in the loss, float32 [K] in the order of ``schema.classes``; None: all 1.

    'balanced' gives every class the same total in the training part, and sequences (or steps) an average of 1 (King & Zeng
    2001).
    Raises InputError where train.class_weights names no class of the data.
    """
    wanted, classes = config.train.class_weights, segments.schema.classes
    if wanted == "none":
        return None
    if isinstance(wanted, dict):
        if unknown := sorted(set(wanted) - set(classes)):
            raise InputError(
                f"train.class_weights: '{unknown[0]}' is no class of the data{nearest(unknown[0], classes)}"
            )
        return np.array([wanted.get(name, 1.0) for name in classes], dtype=np.float32)
    count_K = _class_counts(segments, bounds, "train")
    held = count_K > 0
    return np.where(held, count_K.sum() / held.sum() / np.maximum(count_K, 1), 0).astype(np.float32)


def steps_per_epoch(items: Items | Source, config: Config) -> int:
    """Optimiser steps that read every item once."""
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


def _class_counts(segments: Segments, bounds: Boundaries, part: Part) -> NDArray:
    """Sequences (or steps) of each class in a part, int64 [K]."""
    if segments.label_R is not None:
        return class_counts(segments, bounds, part)
    assert segments.label is not None, "sequences to classify have labels"
    return np.bincount(segments.label[sequences(segments, bounds, part)], minlength=len(segments.schema.classes))


def _require_taught(segments: Segments, bounds: Boundaries, part: Part) -> None:
    """Every class of a part is in the training part too. What trains is checked against every part."""
    taught_K = _class_counts(segments, bounds, "train") > 0
    if not taught_K.any():
        return
    what = "sequences" if segments.label_R is None else "steps"
    for held_out in PARTS if part == "train" else (part,):
        count_K = _class_counts(segments, bounds, held_out)
        if (absent_K := (count_K > 0) & ~taught_K).any():
            names = ", ".join(
                f"'{name}'" for name, absent in zip(segments.schema.classes, absent_K, strict=True) if absent
            )
            raise InputError(
                f"the {held_out} part holds {int(count_K[absent_K].sum())} {what} of classes that the training part "
                f"lacks, {names}, so they cannot be learned; give split.train more, or drop these classes"
            )
