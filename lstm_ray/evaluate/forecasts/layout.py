"""What came in a batch of windows, laid out so that sums by step ahead, by window and by row of the data are one pass each.

Windows stand side by side, each in a slot, its steps ahead below each other: [C, H, W]. After every run of neighbouring
origins H - 1 slots stay empty, so that all forecasts of one row of the data lie on a diagonal, at (h, row - h), which a view
reads as a column. What a row decides (its hour, its month) is summed by row first: H times fewer values to sort into groups.
Values are float32 where these can hold them, sums by group float64. Knows arrays alone.

Legend: M windows, H horizon, W slots, C target channels, K statistics, G groups.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import DTypeLike, NDArray

MOST_SLOTS = 6
"""Slots a window beyond which empty ones cost more than sorting every step into its group."""
SMALLEST, LARGEST, SMALLEST_SCALE = 1e-12, 1e12, 1e-6
"""Batches that reach beyond are worked on in float64: float32 could not hold their squares and ratios."""
NOTHING = 1e-20
"""An actual value smaller than this is 0 where something is divided by it."""
TRUTH = ("count", "actual", "nonzero", "scaled_count")
"""Statistics of what came alone: those of all forecasters of a batch."""

Index = tuple[NDArray, int]
"""Group of each item, and the number of groups."""


@dataclass(frozen=True)
class Groups:
    """Which group each window or row counts for."""

    index: NDArray
    """By window [C, M]; by row [1, W], or [1, H * W] where rows have no diagonals. Counts through ``held``."""
    num: int
    held: NDArray | slice
    """The groups that occur, where they are few of many."""
    size: int
    """How many these are."""

    @classmethod
    def of(cls, index: NDArray, num: int) -> Groups:
        if num <= 4 * index.size:
            return cls(index, num, slice(None), num)
        held, found = np.unique(index, return_inverse=True)
        return cls(found.reshape(index.shape), num, held, len(held))


@dataclass(frozen=True)
class Slots:
    """Where the windows of a batch stand."""

    slot_M: NDArray | slice
    num: int
    """W."""
    row_W: NDArray | None
    """Row of the data on each diagonal; None where windows lie too far apart for diagonals."""

    @classmethod
    def of(cls, origins_M: NDArray, horizon: int) -> Slots:
        """For windows with ascending origins."""
        num = len(origins_M)
        begins = np.flatnonzero(np.diff(origins_M, prepend=-2) != 1)
        width = num + (horizon - 1) * len(begins)
        if width > MOST_SLOTS * num:
            return cls(slice(0, num), num, None)
        lengths = np.diff(begins, append=num)
        slot_M = np.arange(num) + np.repeat(np.arange(len(begins)), lengths) * (horizon - 1)
        first = np.repeat(origins_M[begins] + 1 - slot_M[begins], lengths + horizon - 1)
        return cls(slice(0, num) if len(begins) == 1 else slot_M, width, first + np.arange(width))

    def laid_out(self, values_MHC: NDArray, dtype: DTypeLike) -> NDArray:
        """[M, H, C] -> [C, H, W], 0 in empty slots."""
        num, horizon, channels = values_MHC.shape
        laid: NDArray = (np.empty if self.num == num else np.zeros)((channels, horizon, self.num), dtype)
        laid[:, :, self.slot_M] = values_MHC.transpose(2, 1, 0)
        return laid


class Sums:
    """Sums of several statistics of a batch: by step ahead, by window and by row."""

    def __init__(self, truth: Truth, num_statistics: int) -> None:
        channels, horizon, _ = truth.shape
        slots = truth.slots
        self._truth = truth
        self._step_KCH = np.empty((num_statistics, channels, horizon), truth.dtype)
        self._slot_KCW = np.empty((num_statistics, channels, slots.num), truth.dtype)
        has_diagonals = bool(truth.by_row) and slots.row_W is not None
        self._row_KCW = np.empty((num_statistics, channels, slots.num if has_diagonals else 0), truth.dtype)
        self._row_KGC = (
            {}
            if has_diagonals
            else {name: np.empty((num_statistics, groups.size, channels)) for name, groups in truth.by_row.items()}
        )

    def take(self, statistic: int, channels: slice, values_CHW: NDArray) -> None:
        """Add up one statistic of some channels."""
        np.add.reduce(values_CHW, axis=2, out=self._step_KCH[statistic, channels])
        np.add.reduce(values_CHW, axis=1, out=self._slot_KCW[statistic, channels])
        if self._row_KCW.size:
            num, horizon, width = values_CHW.shape
            channel, _, item = values_CHW.strides
            # Where a diagonal leaves the windows it runs through empty slots, which hold zeros.
            diagonals = as_strided(values_CHW, (num, horizon, width), (channel, (width - 1) * item, item))
            np.add.reduce(diagonals, axis=1, out=self._row_KCW[statistic, channels])
        for name, found in self._row_KGC.items():
            groups = self._truth.by_row[name]
            found[statistic, :, channels] = _grouped(values_CHW.reshape(1, len(values_CHW), -1), groups)[0]

    def of_windows(self, statistic: int) -> NDArray:
        """Sums over the steps of each window, [C, M]."""
        found: NDArray = self._slot_KCW[statistic][:, self._truth.slots.slot_M]
        return found

    def by_group(self) -> dict[str, NDArray]:
        """float64 [K, held groups, C] by grouping: ``horizon``, and those of the truth."""
        window_KCM = self._slot_KCW[:, :, self._truth.slots.slot_M]
        found = {"horizon": self._step_KCH.transpose(0, 2, 1).astype(np.float64)}
        found |= {name: _grouped(window_KCM, groups) for name, groups in self._truth.by_window.items()}
        if self._row_KCW.size:
            found |= {name: _grouped(self._row_KCW, groups) for name, groups in self._truth.by_row.items()}
        return found | self._row_KGC


@dataclass(frozen=True)
class Truth:
    """What came in a batch of windows, with the groups that it counts for."""

    actual_CHW: NDArray
    size_CHW: NDArray
    """Absolute actual values."""
    inverse_CHW: NDArray
    """1 over these; 0 where the value is 0 or was not measured."""
    hidden_MHC: NDArray | None
    """Where nothing was measured; None: nowhere."""
    seen_CHW: NDArray
    """1 where a value was measured, 0 elsewhere and in empty slots."""
    inverse_scale_CW: NDArray
    """1 over MASE's denominator, 0 where there is none."""
    inverse_square_scale_CW: NDArray
    """1 over RMSSE's, likewise."""
    slots: Slots
    by_window: dict[str, Groups]
    by_row: dict[str, Groups]

    @classmethod
    def of(
        cls,
        actual_MHC: NDArray,
        observed_MHC: NDArray,
        scale_MC: NDArray,
        square_scale_MC: NDArray,
        by_window: Mapping[str, Index],
        origins_M: NDArray | None = None,
        by_row: Callable[[NDArray], Mapping[str, Index]] | None = None,
        dtype: type | None = None,
    ) -> Truth:
        """Lay out at least one window.

        Args:
            observed_MHC: 1 where the actual value was measured, 0 where it was imputed (and may be NaN).
            scale_MC: in-sample seasonal naive error of each window's series (``metrics.seasonal_scale``), NaN where unknown.
            square_scale_MC: the root of its mean square, likewise.
            by_window: groups of windows, [M] or [M, C].
            origins_M: row of each window's origin, ascending; needed with ``by_row``.
            by_row: groups of rows of the data, for any shape of row numbers.
            dtype: what is worked in; none: float32 where it can hold the squares of actual values.
        """
        num, horizon, channels = actual_MHC.shape
        slots, rows = Slots(slice(0, num), num, None), None
        if by_row is not None:
            assert origins_M is not None, "rows are counted from origins"
            slots = Slots.of(origins_M, horizon)
            rows = slots.row_W if slots.row_W is not None else origins_M + np.arange(1, horizon + 1)[:, None]
        hidden = observed_MHC == 0
        some_hidden = bool(hidden.any())
        measured = np.where(hidden, 0, actual_MHC) if some_hidden else actual_MHC
        dtype = dtype or (np.float32 if _fits(measured, scale_MC, square_scale_MC) else np.float64)
        actual, seen = slots.laid_out(measured, dtype), slots.laid_out(~hidden, dtype)
        size, least = np.abs(actual), NOTHING
        return cls(
            actual_CHW=actual,
            size_CHW=size,
            inverse_CHW=np.reciprocal(np.maximum(size, least)) * (size >= least),
            hidden_MHC=hidden if some_hidden else None,
            seen_CHW=seen,
            inverse_scale_CW=_inverse(scale_MC, slots, dtype),
            inverse_square_scale_CW=_inverse(square_scale_MC, slots, dtype),
            slots=slots,
            by_window={
                name: Groups.of(_by_channel(index, channels), size) for name, (index, size) in by_window.items()
            },
            by_row={}
            if by_row is None or rows is None
            else {name: Groups.of(index.reshape(1, -1), size) for name, (index, size) in by_row(rows).items()},
        )

    @property
    def shape(self) -> tuple[int, ...]:
        """C, H, W."""
        return self.actual_CHW.shape

    @property
    def dtype(self) -> np.dtype:
        return self.actual_CHW.dtype

    def sums(self) -> Sums:
        """Of what TRUTH names."""
        found = Sums(self, len(TRUTH))
        for c in range(self.shape[0]):
            one = slice(c, c + 1)
            seen = self.seen_CHW[one]
            scaled = seen * (self.inverse_scale_CW[one, None] > 0)
            for k, values in enumerate((seen, self.size_CHW[one], np.sign(self.inverse_CHW[one]), scaled)):
                found.take(k, one, values)
        return found


def _fits(values: NDArray, *scales: NDArray) -> bool:
    largest = float(max(values.max(), -values.min())) if values.size else 0.0
    least = min(float(scale.min(initial=np.inf, where=scale > 0)) for scale in scales)
    return SMALLEST < largest < LARGEST and least > SMALLEST_SCALE


def _inverse(scale_MC: NDArray, slots: Slots, dtype: DTypeLike) -> NDArray:
    known = np.isfinite(scale_MC) & (scale_MC > 0)
    inverse_MC = np.where(known, 1 / np.where(known, scale_MC, 1), 0)
    return slots.laid_out(inverse_MC[:, None], dtype)[:, 0]


def _by_channel(index: NDArray, channels: int) -> NDArray:
    """[M] or [M, C] -> [C, M]."""
    return np.broadcast_to(index.T, (channels, len(index)))


def _grouped(values_KCX: NDArray, groups: Groups) -> NDArray:
    """Sum items into the groups that are held, float64 [K, G, C]."""
    num, channels, _ = values_KCX.shape
    first_KC1 = np.arange(num)[:, None, None] * groups.size * channels + np.arange(channels)[:, None]
    cell = groups.index * channels + first_KC1
    flat = np.bincount(cell.ravel(), weights=values_KCX.ravel(), minlength=num * groups.size * channels)
    return flat.reshape(num, groups.size, channels)
