"""New sequences from real ones, in NumPy: noise, another clock, a blend of two, another time's deviations on their own season.

Everything is done to rows of scaled segments, whole sequences back to back. Knows no torch, no Ray, no files.
Shapes: R rows of the new sequences, M of them, F columns, S segments.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from lstm_ray.data.windows import Segments, numbered

JITTER = 0.1
"""Deviation of the noise, in training deviations (Um et al. 2017)."""
WARP, KNOTS, SLOWEST = 0.2, 4, 0.1
"""Deviation of a clock's speed, the random values it passes through, and its least (Um et al. 2017, as train.augment)."""
CYCLES = 7
"""Seasons that a seasonal mean is taken over, as the smoother of STL does by default (Cleveland et al. 1990)."""
BLOCK_SEASONS = 2
"""Length of a block of deviations (Bergmeir, Hyndman & Benitez 2016)."""


@dataclass(frozen=True)
class Stretches:
    """Which rows new sequences are made from, each of one segment."""

    first_M: NDArray
    end_M: NDArray

    @property
    def bounds(self) -> NDArray:
        return np.concatenate([[0], np.cumsum(self.end_M - self.first_M)]).astype(np.int64)

    @property
    def rows(self) -> NDArray:
        of_R, turn_R = self.numbered
        rows_R: NDArray = self.first_M[of_R] + turn_R
        return rows_R

    @property
    def numbered(self) -> tuple[NDArray, NDArray]:
        """Of each row: its sequence, and its number there."""
        return numbered(self.end_M - self.first_M)

    def copied(self, segments: Segments) -> Segments:
        return segments.stretches(np.stack([self.first_M, self.end_M], axis=1))


def jittered(copies: Segments, spread_C: NDArray, random: np.random.Generator) -> Segments:
    """The copies with noise on targets and past inputs.

    Args:
        spread_C: training deviation of each target, as it is scaled (past inputs: 1).
    """

    def noisy(values_RF: NDArray, unit: NDArray | float) -> NDArray:
        noise = JITTER * unit * random.standard_normal(values_RF.shape, dtype=np.float32)
        return (values_RF + noise).astype(np.float32)

    return replace(copies, target_RC=noisy(copies.target_RC, spread_C), past_RP=noisy(copies.past_RP, 1.0))


def time_warped(segments: Segments, taken: Stretches, random: np.random.Generator) -> Segments:
    """Each sequence read along a clock that runs from its first step to its last at a speed that changes smoothly."""
    low, share = [], []
    for first, end in zip(taken.first_M, taken.end_M, strict=True):
        at_T = _clock(int(end - first), random)
        low_T = np.minimum(np.floor(at_T).astype(np.int64), max(0, end - first - 2))
        low.append(first + low_T)
        share.append(at_T - low_T)
    low_R, share_R = np.concatenate(low), np.concatenate(share).astype(np.float32)
    last_R = taken.end_M[taken.numbered[0]] - 1
    return _between(segments, taken, low_R, np.minimum(low_R + 1, last_R), share_R)


def mixed(segments: Segments, taken: Stretches, partner_M2: NDArray, random: np.random.Generator) -> Segments:
    """Each sequence blended with another (Zhang et al. 2018), its own share the larger one.

    Args:
        partner_M2: first row of the other and the one after its last; of another length it is read at that pace.
    """
    of_R, turn_R = taken.numbered
    length_M, other_M = taken.end_M - taken.first_M, partner_M2[:, 1] - partner_M2[:, 0]
    pace_M = (other_M - 1) / np.maximum(1, length_M - 1)
    partner_R = partner_M2[of_R, 0] + np.rint(turn_R * pace_M[of_R]).astype(np.int64)
    given_M = 0.5 * random.random(len(length_M), dtype=np.float32)
    return _between(segments, taken, taken.rows, partner_R, given_M[of_R])


def recombined(segments: Segments, taken: Stretches, donor_R: NDArray, smooth_of: NDArray) -> Segments:
    """Each sequence's own trend and season with the deviations of other rows, at the same place in their season.

    Args:
        donor_R: the rows that deviations are taken from.
        smooth_of: ``smooth`` of targets and past inputs of every row of the segments, [all rows, C + P].
    """
    copies, rows_R = taken.copied(segments), taken.rows
    channels = segments.target_RC.shape[1]
    change_RF = smooth_of[rows_R] - smooth_of[donor_R]
    return replace(
        copies,
        target_RC=segments.target_RC[donor_R] + change_RF[:, :channels],
        past_RP=segments.past_RP[donor_R] + change_RF[:, channels:],
        observed_RC=np.minimum(copies.observed_RC, segments.observed_RC[donor_R]),
        weight_R=None if copies.weight_R is None else np.minimum(copies.weight_R, segments.weight_R[donor_R]),  # type: ignore[index]
    )


def donors(first: int, length: int, bounds: tuple[int, int], season: int, random: np.random.Generator) -> NDArray:
    """Rows of deviations for a stretch of one segment, int64 [length]: blocks from other times (moving-block bootstrap, Künsch
    1989), each at its place in the season.

    Args:
        bounds: rows of the segment that may be drawn from; they hold two blocks at least.
    """
    block = BLOCK_SEASONS * season
    found = []
    for at in range(first, first + length, block):
        earliest = bounds[0] + (at - bounds[0]) % season
        starts = np.arange(earliest, bounds[1] - block + 1, season)
        found.append(int(random.choice(starts)) + np.arange(block))
    rows: NDArray = np.concatenate(found)[:length]
    return rows


def smooth(values_TF: NDArray, season: int) -> NDArray:
    """Trend and season of consecutive rows: a centred mean over one season, and of what it leaves the mean at the same place
    of the ``CYCLES`` nearest seasons; float32 [T, F]."""
    trend_TF = _centred_mean(values_TF, season)
    left_TF = values_TF - trend_TF
    steps = len(values_TF)
    cycles = -(-steps // season)
    padded = np.full((cycles * season, values_TF.shape[1]), np.nan)
    padded[:steps] = left_TF
    by_cycle = padded.reshape(cycles, -1)
    held = ~np.isnan(by_cycle)
    season_YX = _window_sum(np.where(held, by_cycle, 0), CYCLES) / np.maximum(1, _window_sum(held * 1.0, CYCLES))
    found: NDArray = trend_TF + season_YX.reshape(padded.shape)[:steps]
    return found.astype(np.float32)


def _between(segments: Segments, taken: Stretches, low_R: NDArray, high_R: NDArray, share_R: NDArray) -> Segments:
    """Copies whose every row is a blend of two, ``share_R`` of it the second; measured where both are, and it counts as the
    lesser of them."""
    copies, share_R1 = taken.copied(segments), share_R[:, None]

    def values(values_RF: NDArray) -> NDArray:
        low_RF = values_RF[low_R]
        return (low_RF + share_R1 * (values_RF[high_R] - low_RF)).astype(np.float32)

    def least(values_R: NDArray) -> NDArray:
        low, both = values_R[low_R], share_R.reshape(-1, *[1] * (values_R.ndim - 1)) > 0
        return np.where(both, np.minimum(low, values_R[high_R]), low)

    return replace(
        copies,
        target_RC=values(segments.target_RC),
        past_RP=values(segments.past_RP),
        known_RK=values(segments.known_RK),
        observed_RC=least(segments.observed_RC),
        weight_R=None if segments.weight_R is None else least(segments.weight_R),
    )


def _clock(steps: int, random: np.random.Generator) -> NDArray:
    """Where a warped clock stands at each step, from 0 to the last, float64 [steps]."""
    knots = random.standard_normal(KNOTS)
    curve = CubicSpline(np.linspace(0, max(1, steps - 1), KNOTS), knots)(np.arange(steps))
    speed = np.maximum(1 + WARP * curve, SLOWEST)
    clock: NDArray = np.cumsum(speed) - speed[0]
    return clock * ((steps - 1) / clock[-1]) if steps > 1 else clock


def _centred_mean(values_TF: NDArray, season: int) -> NDArray:
    """Mean over the season about each step, its two ends by half where it is even; shorter at the ends of the stretch."""
    half = season // 2
    weight = np.ones(2 * half + 1)
    if season % 2 == 0:
        weight[[0, -1]] = 0.5
    count_T = np.convolve(np.ones(len(values_TF)), weight)[half : half + len(values_TF)]
    sums = [np.convolve(column, weight)[half : half + len(values_TF)] for column in values_TF.T.astype(np.float64)]
    return np.stack(sums, axis=1) / count_T[:, None] if sums else values_TF.astype(np.float64)


def _window_sum(values_YX: NDArray, width: int) -> NDArray:
    """Sums over the ``width`` rows about each, fewer at the ends."""
    half = width // 2
    total = np.concatenate([np.zeros((1, values_YX.shape[1])), np.cumsum(values_YX, axis=0)])
    at = np.arange(len(values_YX))
    found: NDArray = total[np.minimum(at + half + 1, len(values_YX))] - total[np.maximum(at - half, 0)]
    return found
