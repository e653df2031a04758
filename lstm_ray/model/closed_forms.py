"""What networks hold that is solved, not learned: sums over the data, added up over processes, then one equation.

Knows no Ray: where the data lies and who sums which share of it is the reader's business.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from lstm_ray.config import Config, with_values
from lstm_ray.data.feed import class_weights
from lstm_ray.data.parts import Boundaries, Part
from lstm_ray.data.windows import (
    IGNORED,
    Segments,
    chunks,
    cut_sequences,
    longest_sequence,
    origins,
    sequence_weights,
    sequences,
)
from lstm_ray.model import kernels, ridge
from lstm_ray.model.inputs import statistics
from lstm_ray.model.views import kinds, views

Solved = dict[str, NDArray]
"""A network's buffers by name, float32; empty where its config asks for no closed form."""
By = Literal["row", "segment"]
"""What items number: origins' rows, or segments."""
Fit = Callable[[Segments, NDArray], ridge.LinearSums]
"""Sums over some items."""
SAMPLE_STEPS, SAMPLE = 100_000, 256
"""Steps and sequences that kernels' thresholds are read from, at most."""
PENALTIES = (1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0)
"""Of a ridge on features that may be more than the sequences, in shares of their variance."""


class Reader(Protocol):
    """Segments as one of several processes sees them."""

    @property
    def index(self) -> Segments:
        """All segments, perhaps without their values."""

    def own(self, items_M: NDArray, by: By) -> Iterator[tuple[Segments, NDArray]]:
        """This process's share of some items: segments that hold them, and the items as numbered there."""

    def every(self, items_M: NDArray, by: By) -> Iterator[tuple[Segments, NDArray]]:
        """All of these items, in order."""

    def add_up(self, sums: NDArray) -> NDArray:
        """Over all processes."""


class Whole:
    """All segments in this process's memory, of which it sums every ``world``-th item."""

    def __init__(
        self,
        scaled: Segments,
        rank: int = 0,
        world: int = 1,
        add_up: Callable[[NDArray], NDArray] = lambda sums: sums,
    ) -> None:
        self.index, self._rank, self._world, self.add_up = scaled, rank, world, add_up

    def own(self, items_M: NDArray, by: By) -> Iterator[tuple[Segments, NDArray]]:
        yield self.index, items_M[self._rank :: self._world]

    def every(self, items_M: NDArray, by: By) -> Iterator[tuple[Segments, NDArray]]:
        yield self.index, items_M


def closed_forms(config: Config, scaled: Segments, bounds: Boundaries) -> list[Solved]:
    """``solved`` from all of the data in this process."""
    return solved(config, Whole(scaled), bounds)


def solved(config: Config, reader: Reader, bounds: Boundaries) -> list[Solved]:
    """The closed forms of every network of a config, in the order of ``views.members``; called by all processes at once."""
    found = [solved_for(view, reader, bounds) for view in views(config)]
    return [found[kind] for kind in kinds(config)]


def solved_for(view: Config, reader: Reader, bounds: Boundaries) -> Solved:
    """The closed form of one kind of network, its penalty chosen on validation, and the size of changes."""
    found = {"difference.change_C": typical_changes(view, reader, bounds)} if view.model.difference else {}
    if view.model.linear == "none" or view.task == "label":
        return found
    if view.task == "classify":
        return _kernel_ridge(view, reader, bounds)
    found["highway.ridge_AH"] = _ridge(view, reader, bounds)
    if view.model.linear == "average":
        plain = with_values(view, {"model.normalisation": "last", "model.normalisation_steps": None})
        found["highway.plain_AH"] = _ridge(plain, reader, bounds)
    return found


def _ridge(view: Config, reader: Reader, bounds: Boundaries) -> NDArray:
    train, validation = (window_sums_of(view, reader, bounds, part) for part in ("train", "validation"))
    return ridge.solve(train, validation)[0]


def window_sums_of(view: Config, reader: Reader, bounds: Boundaries, part: Part) -> ridge.LinearSums:
    """Sums over a part's windows, normalised as the network normalises them; over all, or about as many as are enough."""
    index = reader.index
    rows_M = ridge.spread(origins(index, bounds, part, view.window), len(index.schema.target))
    none = ridge.LinearSums.none(1 + view.window.history, view.window.horizon)
    weighted = part == "train"
    return _total(reader, rows_M, "row", none, lambda segments, own_M: window_sums(view, segments, own_M, weighted))


def typical_changes(view: Config, reader: Reader, bounds: Boundaries) -> NDArray:
    """Root mean square of each target's changes over model.difference steps, measured at both ends, float32 [C]; 1 where
    there are none. Of the training part's origins, or about as many as are enough."""
    index, steps = reader.index, view.model.difference
    assert steps is not None, "asked for where values are read as changes"
    channels = len(index.schema.target)

    def fit(segments: Segments, rows_M: NDArray) -> ridge.LinearSums:
        both_MC = segments.observed_RC[rows_M] * segments.observed_RC[rows_M - steps]
        if segments.weight_R is not None:
            learned_M = (segments.weight_R[rows_M] > 0) & (segments.weight_R[rows_M - steps] > 0)
            both_MC = both_MC * learned_M[:, None]
        change_MC = (segments.target_RC[rows_M] - segments.target_RC[rows_M - steps]).astype(np.float64)
        ones_M = np.ones(len(rows_M))
        return ridge.sums_of(ones_M[:, None], np.concatenate([change_MC**2 * both_MC, both_MC], axis=1), ones_M)

    rows_M = ridge.spread(origins(index, bounds, "train", view.window), channels)
    sums = _total(reader, rows_M, "row", ridge.LinearSums.none(1, 2 * channels), fit)
    squares_C, count_C = np.split(sums.xy_AH[0], 2)
    size_C = np.sqrt(squares_C / np.maximum(count_C, 1))
    return np.where(size_C > 0, size_C, 1.0).astype(np.float32)


def window_sums(view: Config, scaled: Segments, origins_M: NDArray, weighted: bool = True) -> ridge.LinearSums:
    """Sums over the windows of some origins, each with the mean weight of its horizon's steps where ``weighted``
    (data.weight)."""
    model, window = view.model, view.window
    spread_C = None if scaled.spread_C is None else torch.from_numpy(scaled.spread_C)

    def normalise(history_ML: NDArray) -> tuple[NDArray, NDArray]:
        steps = model.normalisation_steps or window.history
        target_MLC = torch.from_numpy(np.ascontiguousarray(history_ML))[..., None]
        # A row is one channel of a window, channels side by side.
        spread = 1.0 if spread_C is None else spread_C.repeat(len(history_ML) // len(spread_C))[:, None, None]
        level, scale = statistics(target_MLC, window.history, model.normalisation, steps, spread)
        return level[..., 0].numpy(), scale[..., 0].numpy()

    weight_R = scaled.weight_R if weighted else None
    return ridge.linear_sums(scaled.target_RC, scaled.observed_RC, origins_M, window, normalise, weight_R)


def _kernel_ridge(view: Config, reader: Reader, bounds: Boundaries) -> Solved:
    """Thresholds read from a few training sequences, then the ridge from features to classes of 0 and 1."""
    index = reader.index
    assert index.label is not None, "sequences to classify have classes"
    network = kernels.KernelRidge(view, index.schema)
    steps, patch = longest_sequence(index, view.window.history), view.window.patch
    weight_K = class_weights(index, bounds, view)
    if weight_K is None:
        weight_K = np.ones(len(index.schema.classes), np.float32)

    def fit(segments: Segments, ids_M: NDArray, weighted: bool) -> ridge.LinearSums:
        sums, own_weights = (
            none,
            sequence_weights if weighted else lambda segments, some: np.ones(len(some), np.float32),
        )
        for some in chunks(ids_M, view.train.batch):
            batch = cut_sequences(segments, some, steps, patch)
            features_MA = network.features(*kernels.read(batch)).numpy()
            # Features that hardly vary keep their variance in float64 alone, and are then brought to one deviation.
            x = np.concatenate([np.ones((len(some), 1)), features_MA], axis=1)
            weight_M = weight_K[batch.label_B] * own_weights(segments, some)
            sums += ridge.sums_of(x, np.eye(len(weight_K), dtype=np.float32)[batch.label_B], weight_M)
        return sums

    none = ridge.LinearSums.none(*network.ridge_AK.shape)
    ids = {part: sequences(index, bounds, part) for part in ("train", "validation")}
    taught = {part: ids_M[index.label[ids_M] != IGNORED] for part, ids_M in ids.items()}
    sample_M = ridge.spread(taught["train"], most=min(SAMPLE, max(1, SAMPLE_STEPS // steps)))
    read = [kernels.read(cut_sequences(some, own, steps, patch)) for some, own in reader.every(sample_M, "segment")]
    inputs, inside = (torch.cat(parts) for parts in zip(*read, strict=True))
    threshold_VJW = network.thresholds(inputs, inside)
    network.threshold_VJW.copy_(torch.from_numpy(threshold_VJW))
    train, validation = (
        _total(reader, ids_M, "segment", none, partial(fit, weighted=part == "train")) for part, ids_M in taught.items()
    )
    ridge_AK = ridge.solve(train, validation, PENALTIES, standardise=True)[0]
    # A network that was given another's weights may have drawn other kernels.
    return {"weight_VJFL": network.weight_VJFL.numpy(), "threshold_VJW": threshold_VJW, "ridge_AK": ridge_AK}


def _total(reader: Reader, items_M: NDArray, by: By, none: ridge.LinearSums, fit: Fit) -> ridge.LinearSums:
    own = sum((fit(segments, some) for segments, some in reader.own(items_M, by)), none)
    return ridge.LinearSums.from_flat(reader.add_up(own.flat()), *none.xy_AH.shape)
