"""Sums over columns of numbers that merge into those of the whole: moments, a sketch that any function is summed over, and
a sample. NumPy; knows nothing of tables.

Shapes: N numbers, F columns, B bins, S series.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MANTISSA_BITS = 8
"""A bin of a sketch spans one part in 2 ** MANTISSA_BITS of its values: what is lost is one part in 10 ** 9."""
SHIFT = 52 - MANTISSA_BITS
SAMPLE_ROWS = 100_000
"""Rows of a sample; quantiles of fewer are exact."""


@dataclass(frozen=True)
class Moments:
    """Count, mean, sum of squares around the mean, least and greatest of each column, float64 [F] each.

    Merged by the parallel form of Chan, Golub & LeVeque 1979: nothing cancels where the mean is large. A column without
    values has mean 0; least and greatest are infinite where nobody asked for them.
    """

    count_F: NDArray
    mean_F: NDArray
    squares_F: NDArray
    low_F: NDArray
    high_F: NDArray

    @classmethod
    def of(cls, columns: Sequence[NDArray], extremes: bool) -> Moments:
        """Of columns of numbers, none missing."""
        found = np.array([_moments(values, extremes) for values in columns], dtype=np.float64).reshape(-1, 5)
        return cls(*found.T)

    @classmethod
    def weighted(cls, values_N: NDArray, weight_N: NDArray, low: float, high: float) -> Moments:
        """Of one column, given as numbers that count ``weight_N`` times."""
        count = float(weight_N.sum())
        mean = float(weight_N @ values_N) / count if count else 0.0
        squares = float(weight_N @ (values_N - mean) ** 2)
        return cls(*np.array([[count], [mean], [squares], [low], [high]]))

    def merge(self, other: Moments) -> Moments:
        count = self.count_F + other.count_F
        share = other.count_F / np.maximum(count, 1)
        away = other.mean_F - self.mean_F
        return Moments(
            count,
            self.mean_F + away * share,
            self.squares_F + other.squares_F + away**2 * self.count_F * share,
            np.minimum(self.low_F, other.low_F),
            np.maximum(self.high_F, other.high_F),
        )

    def column(self, index: int) -> Moments:
        return Moments(*(values[index : index + 1] for values in vars(self).values()))

    @classmethod
    def beside(cls, columns: Sequence[Moments]) -> Moments:
        """Moments of columns, side by side."""
        return cls(*(np.concatenate([vars(one)[name] for one in columns]) for name in cls.__dataclass_fields__))

    def pooled(self) -> Moments:
        """Of all columns as one, said of each."""
        whole = self.column(0)
        for index in range(1, len(self.count_F)):
            whole = whole.merge(self.column(index))
        return Moments(*(values.repeat(len(self.count_F)) for values in vars(whole).values()))


@dataclass(frozen=True)
class Sketch:
    """One column as bins, each with its count and the sums of distance and squared distance from its middle.

    A bin is the numbers that agree in sign, exponent and first bits, so any numbers lie in the same bins in every block, and
    the sums add up. ``points`` stand for the numbers: what a smooth function sums to over both differs by 1e-9.
    """

    bin_B: NDArray
    """int64, ascending."""
    sum_B3: NDArray

    @classmethod
    def of(cls, values_N: NDArray) -> Sketch:
        if not len(values_N):
            return cls(np.empty(0, np.int64), np.empty((0, 3)))
        bin_N = values_N.view(np.int64) >> SHIFT
        first = int(bin_N.min())
        away_N = values_N - _middle(bin_N)
        bin_N -= first
        sums = [np.bincount(bin_N, weights) for weights in (None, away_N, away_N**2)]
        held = np.flatnonzero(sums[0])
        return cls(held + first, np.stack([column[held] for column in sums], axis=1).astype(np.float64))

    def merge(self, other: Sketch) -> Sketch:
        bin_B, index = np.unique(np.concatenate([self.bin_B, other.bin_B]), return_inverse=True)
        both = np.concatenate([self.sum_B3, other.sum_B3])
        return Sketch(bin_B, np.stack([np.bincount(index, column, len(bin_B)) for column in both.T], axis=1))

    def points(self) -> tuple[NDArray, NDArray]:
        """Numbers and their weights, float64 [2 B] each: two of each bin, with its mean and deviation."""
        count_B, away_B, squares_B = self.sum_B3.T
        away_B = away_B / count_B
        deviation_B = np.sqrt(np.maximum(squares_B / count_B - away_B**2, 0))
        mean_B = _middle(self.bin_B) + away_B
        return np.concatenate([mean_B - deviation_B, mean_B + deviation_B]), np.tile(count_B / 2, 2)


@dataclass(frozen=True)
class Sample:
    """Rows with the smallest hashes: the same ones however rows are dealt to blocks."""

    hash_N: NDArray
    """uint64"""
    values_NF: NDArray
    """float64, NaN where a value is missing."""

    @classmethod
    def of(cls, hash_N: NDArray, values_NF: NDArray) -> Sample:
        if len(hash_N) > SAMPLE_ROWS:
            chosen = np.argpartition(hash_N, SAMPLE_ROWS)[:SAMPLE_ROWS]
            hash_N, values_NF = hash_N[chosen], values_NF[chosen]
        return cls(hash_N, values_NF)

    def merge(self, other: Sample) -> Sample:
        return Sample.of(np.concatenate([self.hash_N, other.hash_N]), np.concatenate([self.values_NF, other.values_NF]))


def mixed(key_N: NDArray) -> NDArray:
    """uint64 keys to hashes that look drawn at random (splitmix64, Steele et al. 2014)."""
    key_N = key_N + np.uint64(0x9E3779B97F4A7C15)
    key_N = (key_N ^ (key_N >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    key_N = (key_N ^ (key_N >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return key_N ^ (key_N >> np.uint64(31))


def _moments(values_N: NDArray, extremes: bool) -> tuple[float, float, float, float, float]:
    count = len(values_N)
    if not count:
        return 0.0, 0.0, 0.0, np.inf, -np.inf
    mean = float(values_N.mean())
    away_N = values_N - mean
    low, high = (float(values_N.min()), float(values_N.max())) if extremes else (np.inf, -np.inf)
    return count, mean, float(away_N @ away_N), low, high


def _middle(bin_B: NDArray) -> NDArray:
    """The number in the middle of each bin."""
    return ((bin_B << SHIFT) | (1 << (SHIFT - 1))).view(np.float64)
