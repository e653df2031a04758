"""Segments as flat arrays, and windows as row indices into them until a batch needs their values.

NumPy alone: knows nothing of files, torch or Ray. Windows are never stored; memory grows with the data.
Shapes: R rows of all segments, S segments, C targets, P past, K known inputs (of a ``category``: categorical columns), M
windows, B sequences of a batch, T steps, N origins of a sequence, L history, H horizon.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import lcm

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from lstm_ray.data import room
from lstm_ray.data.lags import lagged_rows
from lstm_ray.data.parts import PARTS, Boundaries, Part
from lstm_ray.data.quality.clean import seen
from lstm_ray.data.scaling import units
from lstm_ray.data.schema import Scaler, Schema
from lstm_ray.sections.prepare import WindowConfig

IGNORED = -100
"""The label of a sequence that is not counted."""
UNSEEN = "(unseen)"
"""Stands for a categorical value of which the code alone, 0, was kept."""


@dataclass(frozen=True)
class Segments:
    """Every segment back to back. Values are imputed and, unless ``scaled``, in the data's own units."""

    target_RC: NDArray
    observed_RC: NDArray
    """1 where the target was measured, 0 where it was imputed; of past inputs, [R, P] (task: label)."""
    past_RP: NDArray
    known_RK: NDArray
    """Known and static columns, then the calendar's."""
    bounds: NDArray
    """int64 [S + 1]: the rows of segment s are ``bounds[s]:bounds[s + 1]``."""
    series: list[str]
    """[S] name of each segment's series."""
    first_step: NDArray
    """int64 [S] number of each segment's first step on the common time axis."""
    label: NDArray | None
    """int64 [S] class of each segment (task: classify)."""
    schema: Schema
    category_SK: NDArray
    """int64 [S, K] code of each categorical column, constant in a segment: 0 is unseen, codes from 1 are the values of
    ``schema.categories``."""
    label_R: NDArray | None = None
    """float32 [R] class or value of each step, NaN where it has none (task: label)."""
    weight_R: NDArray | None = None
    """float32 [R] how much each row counts in the training loss; none: all alike (data.weight)."""

    part_S: NDArray | None = None
    """int8 [S] the part (index into PARTS; -1: none) that holds each segment's series, where series are dealt to parts
    (split.by: order or group); none: steps are."""

    spread_C: NDArray | None = None
    """float32 [C] training deviation of each target as it is scaled; none: 1 (preprocess.scale)."""

    def held_by(self, part: Part) -> NDArray:
        """Which segments a part may hold steps of, bool [S]: where series are dealt those dealt to it, else all."""
        if self.part_S is None:
            return np.ones(len(self.series), dtype=bool)
        return self.part_S == PARTS.index(part)

    def series_of(self, rows: NDArray) -> NDArray:
        """Index of the segment that each row belongs to."""
        return np.searchsorted(self.bounds, rows, side="right") - 1

    def steps(self, rows: NDArray) -> NDArray:
        """Number of each row on the common time axis."""
        segment = self.series_of(rows)
        return self.first_step[segment] + rows - self.bounds[segment]

    def times(self, rows: NDArray) -> NDArray:
        """datetime64[us] (or integer steps) of each row."""
        return self.schema.times(self.steps(rows))

    def stretches(self, range_M2: NDArray) -> Segments:
        """Copies of the rows from each first to before each end, as segments of their own; none crosses a segment."""
        first, length = range_M2[:, 0], range_M2[:, 1] - range_M2[:, 0]
        bounds = np.concatenate([[0], np.cumsum(length)]).astype(np.int64)
        rows, of = np.repeat(first - bounds[:-1], length) + np.arange(bounds[-1]), self.series_of(first)
        return replace(
            self,
            target_RC=self.target_RC[rows],
            observed_RC=self.observed_RC[rows],
            past_RP=self.past_RP[rows],
            known_RK=self.known_RK[rows],
            bounds=bounds,
            series=[self.series[s] for s in of],
            first_step=self.steps(first),
            category_SK=self.category_SK[of],
            label=None if self.label is None else self.label[of],
            label_R=None if self.label_R is None else self.label_R[rows],
            part_S=None if self.part_S is None else self.part_S[of],
            weight_R=None if self.weight_R is None else self.weight_R[rows],
        )

    def words(self, segment: int) -> dict[str, str]:
        """A segment's values of the categorical columns; UNSEEN where the training part does not hold its own."""
        columns = self.schema.categories.items()
        codes_K = self.category_SK[segment]
        return {name: [UNSEEN, *values][code] for (name, values), code in zip(columns, codes_K, strict=True)}

    def scaled(self, scaler: Scaler) -> Segments:
        """The same segments as a network reads them. Beside the answer, one chunk of rows at a time is worked on."""
        mine = seen(self, scaler)
        own, num_columns = units.of_segments(mine, scaler), len(self.schema.known)
        target_RC, past_RP = (room.empty(values.shape, np.float32) for values in (mine.target_RC, mine.past_RP))
        # The calendar's columns are read as they are; where there are no others, they are no copy.
        known_RK = room.empty(mine.known_RK.shape, np.float32) if num_columns else mine.known_RK
        for first in range(0, len(target_RC), room.CHUNK_ROWS):
            rows = slice(first, first + room.CHUNK_ROWS)
            of_rows = None
            if own is not None:
                of_rows = own.take(self.series_of(np.arange(first, min(rows.stop, len(target_RC)))))
            target_RC[rows] = scaler.scale(mine.target_RC[rows], "target", of_rows)
            past_RP[rows] = scaler.scale(mine.past_RP[rows], "past")
            if num_columns:
                known_RK[rows, :num_columns] = scaler.scale(mine.known_RK[rows, :num_columns], "known")
                known_RK[rows, num_columns:] = mine.known_RK[rows, num_columns:]
            room.let_go(target_RC, past_RP, known_RK, self.target_RC, self.past_RP, self.known_RK)
        label_R = None if self.label_R is None else scaler.scale_label(self.label_R)
        spread_C = scaler.spread("target")
        return replace(
            mine,
            target_RC=target_RC,
            past_RP=past_RP,
            known_RK=known_RK,
            label_R=label_R,
            spread_C=None if (spread_C == 1).all() else spread_C,
        )


@dataclass(frozen=True)
class Batch:
    """Sequences cut for the network, scaled; a window at a time is the case N = 1."""

    target_BTC: NDArray
    observed_BTC: NDArray
    past_BTP: NDArray
    known_BTK: NDArray
    """Known and static columns, the calendar's, and those of window.lags (``lags``)."""
    origin_BN: NDArray
    """1 where the n-th origin of the sequence teaches, 0 where its horizon is not all there; where whole sequences are
    read, 1 for patches that hold data."""
    label_B: NDArray
    """int64 class of each sequence (task: classify), else 0."""
    category_BS: NDArray
    """int64 [B, K] code of each categorical column; 0 is unseen."""
    label_BT: NDArray
    """float32 class or scaled value of each answered step, NaN where it teaches nothing (task: label), else [B, 0]."""
    weight_BT: NDArray
    """float32 weight of each step in the training loss; of a whole sequence to classify its mean, [B, 1]; [B, 0] where all
    count alike."""

    def silent_after(self, count: int) -> Batch:
        """The same batch, its sequences from ``count`` on teaching nothing."""
        taught = np.arange(len(self.label_B)) < count
        if self.label_BT.shape[1]:
            return replace(self, label_BT=np.where(taught[:, None], self.label_BT, np.float32(np.nan)))
        if self.target_BTC.shape[2]:
            return replace(self, origin_BN=self.origin_BN * taught[:, None])
        return replace(self, label_B=np.where(taught, self.label_B, IGNORED))


@dataclass(frozen=True)
class Plan:
    """Which rows every training sequence reads: each window of a part is the origin of exactly one."""

    start_M: NDArray
    end_M: NDArray
    """Row after the last that the sequence may read."""
    num_origins_M: NDArray
    steps: int
    """T: steps of a sequence, history and horizon included."""
    origins: int
    """N: origins of a sequence, a patch apart."""
    every: int = 1
    """Patches from one origin that teaches to the next."""
    lags: tuple[int, ...] = ()
    """Of window.lags."""

    def teaches(self, chosen: NDArray) -> NDArray:
        """float32 [B, N]: 1 where the n-th origin of a chosen sequence teaches."""
        turn, left = np.divmod(np.arange(self.origins), self.every)
        return ((left == 0) & (turn < self.num_origins_M[chosen, None])).astype(np.float32)

    @property
    def num_windows(self) -> int:
        return int(self.num_origins_M.sum())

    def __len__(self) -> int:
        return len(self.start_M)


def origin_ranges(segments: Segments, bounds: Boundaries, part: Part, window: WindowConfig) -> NDArray:
    """First and after-last origin row of each segment in a part, int64 [S, 2].

    An origin is the last observed step of a window. Its horizon lies wholly in the part; its history lies in the same
    segment and may reach back into the part before, as it would be known by then. Of a dealt series every window that fits
    is its part's.
    """
    part_first, part_end = bounds[part]
    start, end = segments.bounds[:-1], segments.bounds[1:]
    row_of_step_0 = start - segments.first_step
    first = np.maximum(start + window.history - 1, row_of_step_0 + part_first - 1)
    last = np.minimum(end, row_of_step_0 + part_end) - window.horizon - 1
    if part == "train":
        first = np.maximum(first, row_of_step_0 + part_first + window.history - 1)
    return np.stack([first, np.where(segments.held_by(part), np.maximum(last + 1, first), first)], axis=1)


def origins(segments: Segments, bounds: Boundaries, part: Part, window: WindowConfig) -> NDArray:
    """Row of the last observed step of every window of a part, stride 1, int64 [M]."""
    return rows_of(origin_ranges(segments, bounds, part, window))


def rows_of(range_S2: NDArray) -> NDArray:
    """Every row of some ranges, in order, int64 [M]."""
    range_M, turn_M = numbered(range_S2[:, 1] - range_S2[:, 0])
    rows_M: NDArray = range_S2[range_M, 0] + turn_M
    return rows_M


def sequences(segments: Segments, bounds: Boundaries, part: Part) -> NDArray:
    """Segments (whole sequences) that begin in a part, or are dealt to it, int64 [M] (task: classify)."""
    first, end = bounds[part]
    begins_S = (segments.first_step >= first) & (segments.first_step < end)
    return np.flatnonzero(begins_S & segments.held_by(part))


def longest_sequence(segments: Segments, history: int) -> int:
    """Steps that every sequence is padded to: the longest one's, at most the history (task: classify)."""
    return int(min(history, np.diff(segments.bounds).max(initial=1)))


def plan_sequences(segments: Segments, bounds: Boundaries, part: Part, window: WindowConfig, num_origins: int) -> Plan:
    """Cover every window of a part once, by sequences with at most ``num_origins`` origins a patch apart.

    Windows that teach lie ``window.stride`` steps apart in a segment, counted from its first; those that are scored, one.
    Origins that one sequence can answer lie a common multiple of stride and patch apart: with stride 3 and patch 2, every
    third patch teaches. They are dealt to sequences in runs; the runs of all phases together are all windows.
    """
    ranges = origin_ranges(segments, bounds, part, window)
    stride = window.stride if part == "train" else 1
    apart = lcm(stride, window.patch)
    every = apart // window.patch
    longest = int(np.max((ranges[:, 1] - ranges[:, 0] + apart - 1) // apart, initial=1))
    teaching = max(1, min(-(-num_origins // every), longest))
    first_S, end_S = ranges.T
    segment_P, phase_P = numbered(-(-np.minimum(apart, end_S - first_S) // stride))
    first_P = first_S[segment_P] + phase_P * stride
    held_P = -(-(end_S[segment_P] - first_P) // apart)
    phase_M, turn_M = numbered(-(-held_P // teaching))
    first_rows = first_P[phase_M] + turn_M * teaching * apart - window.history + 1
    num = np.minimum(teaching, held_P[phase_M] - teaching * turn_M)
    end_rows = end_S[segment_P[phase_M]] + window.horizon
    origins_each = (teaching - 1) * every + 1
    steps = window.history + (origins_each - 1) * window.patch + window.horizon
    return Plan(first_rows, end_rows, num, steps, origins_each, every, tuple(window.lags))


def numbered(count_N: NDArray) -> tuple[NDArray, NDArray]:
    """For things that hold so many others each: which thing every other is of, and its number there, from 0."""
    of = np.repeat(np.arange(len(count_N)), count_N)
    return of, np.arange(len(of)) - np.repeat(np.cumsum(count_N) - count_N, count_N)


def epoch_batches(num_sequences: int, batch: int, seed: int, epoch: int) -> list[NDArray]:
    """Sequence numbers of each optimiser step of an epoch: a seeded shuffle, every sequence once."""
    order = np.random.default_rng([seed, epoch]).permutation(num_sequences)
    return np.array_split(order, range(batch, num_sequences, batch))


def cut(segments: Segments, plan: Plan, chosen: NDArray) -> Batch:
    """Read the chosen sequences of a plan from scaled segments."""
    rows = plan.start_M[chosen, None] + np.arange(plan.steps)
    return _windows(segments, rows, plan.end_M[chosen] - 1, plan.teaches(chosen), plan.lags)


def cut_windows(segments: Segments, origin_M: NDArray, window: WindowConfig) -> Batch:
    """One window per origin from scaled segments; rows past the end of the data repeat the last one, unobserved."""
    steps, segment_M = window.history + window.horizon, segments.series_of(origin_M)
    last_B = segments.bounds[segment_M + 1] - 1
    if not window.lags and _follow_each_other(origin_M, segment_M) and origin_M[-1] + window.horizon <= last_B[-1]:
        return _neighbours(segments, int(origin_M[0]) - window.history + 1, len(origin_M), steps)
    rows = origin_M[:, None] + np.arange(1 - window.history, window.horizon + 1)
    return _windows(segments, rows, last_B, np.ones((len(rows), 1), np.float32), window.lags)


def _follow_each_other(origin_M: NDArray, segment_M: NDArray) -> bool:
    """Whether origins are steps of one segment, one after the other."""
    last = len(origin_M) - 1
    return last > 0 and segment_M[0] == segment_M[-1] and bool((origin_M == origin_M[0] + np.arange(last + 1)).all())


def _neighbours(segments: Segments, first: int, num: int, steps: int) -> Batch:
    """``_windows`` that begin at ``first`` and at the rows after it: copies of overlapping views, for looking up every step
    of every window takes five times as long, which a small network is not slower than."""
    stretch = slice(first, first + num + steps - 1)

    def views(values_RF: NDArray) -> NDArray:
        view_BFT = sliding_window_view(values_RF[stretch], steps, axis=0)
        # Never the view itself, which may not be written to: not of no columns either.
        return np.moveaxis(view_BFT, 1, 2).copy()

    segment_B = np.full(num, segments.series_of(np.array([first]))[0])
    return Batch(
        target_BTC=views(segments.target_RC),
        observed_BTC=views(segments.observed_RC),
        past_BTP=views(segments.past_RP),
        known_BTK=views(segments.known_RK),
        origin_BN=np.ones((num, 1), np.float32),
        label_B=np.zeros(num, np.int64),
        category_BS=segments.category_SK[segment_B],
        label_BT=np.zeros((num, 0), np.float32),
        weight_BT=np.zeros((num, 0), np.float32)
        if segments.weight_R is None
        else sliding_window_view(segments.weight_R[stretch], steps).copy(),
    )


def _windows(segments: Segments, row_BT: NDArray, last_B: NDArray, origin_BN: NDArray, lags: Sequence[int]) -> Batch:
    """Windows of consecutive rows; those past the last that may be read repeat it, unobserved."""
    inside_BT = row_BT <= last_B[:, None]
    read_BT = np.minimum(row_BT, last_B[:, None])
    observed_BTC = (segments.observed_RC.take(read_BT, 0) * inside_BT[:, :, None]).astype(np.float32)
    batch = read_rows(segments, read_BT, observed_BTC, origin_BN)
    if not lags:
        return batch
    first_B = segments.bounds[segments.series_of(row_BT[:, 0])]
    lagged_BTJ = lagged_rows(segments.target_RC, row_BT, lags, first_B, last_B)
    return replace(batch, known_BTK=np.concatenate([batch.known_BTK, lagged_BTJ], axis=2))


def cut_sequences(segments: Segments, ids_M: NDArray, steps: int, patch: int) -> Batch:
    """Whole sequences, their last ``steps`` at most, padded at the end to whole patches (task: classify).

    ``origin_BN`` is 1 for patches that hold at least one step of the sequence.
    """
    first, end = segments.bounds[ids_M], segments.bounds[ids_M + 1]
    first = np.maximum(first, end - steps)
    rows = first[:, None] + np.arange(-(-steps // patch) * patch)
    inside = rows < end[:, None]
    rows = np.minimum(rows, end[:, None] - 1)
    patches = inside[:, ::patch].astype(np.float32)
    assert segments.label is not None
    batch = read_rows(segments, rows, np.zeros((*rows.shape, 0), np.float32), patches)
    held = inside[:, :, None]
    past, known = batch.past_BTP * held, batch.known_BTK * held
    return replace(
        batch,
        past_BTP=past,
        known_BTK=known,
        label_B=segments.label[ids_M],
        weight_BT=batch.weight_BT if segments.weight_R is None else sequence_weights(segments, ids_M)[:, None],
    )


def sequence_weights(segments: Segments, ids_M: NDArray) -> NDArray:
    """Mean weight of each whole sequence, float32 [M]; 1 where nothing has a weight."""
    if segments.weight_R is None:
        return np.ones(len(ids_M), np.float32)
    total = np.concatenate([[0], np.cumsum(segments.weight_R, dtype=np.float64)])
    first, end = segments.bounds[ids_M], segments.bounds[ids_M + 1]
    return ((total[end] - total[first]) / (end - first)).astype(np.float32)


def chunks(items_M: NDArray, size: int) -> Iterator[NDArray]:
    """Runs of at most ``size`` items, in order."""
    for first in range(0, len(items_M), size):
        yield items_M[first : first + size]


def read_rows(segments: Segments, rows_BT: NDArray, observed_BTC: NDArray, origin_BN: NDArray) -> Batch:
    """The values in some rows of scaled segments, each sequence's of one segment; it has neither class nor labels yet."""
    # take() copies whole rows, four times as fast as an index does.
    target_BTC, past_BTP, known_BTK = (
        values.take(rows_BT, 0) for values in (segments.target_RC, segments.past_RP, segments.known_RK)
    )
    category_BS = segments.category_SK[segments.series_of(rows_BT[:, 0])]
    label_B, label_BT = np.zeros(len(rows_BT), np.int64), np.zeros((len(rows_BT), 0), np.float32)
    weight_BT = label_BT if segments.weight_R is None else segments.weight_R.take(rows_BT)
    return Batch(target_BTC, observed_BTC, past_BTP, known_BTK, origin_BN, label_B, category_BS, label_BT, weight_BT)
