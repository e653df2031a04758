"""Order statistics and sums of many ranges of one array at a time. NumPy alone; knows nothing of series.

Shapes: N values, Q ranges.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def kth(values_N: NDArray, low_Q: NDArray, high_Q: NDArray, k_Q: NDArray) -> NDArray:
    """The k-th smallest (0: smallest) of ``values[low:high]`` for each range, by a wavelet matrix (Claude, Navarro and
    Ordonez 2015): one pass over the values for each bit of their ranks, whatever the ranges. No range is empty."""
    order = np.argsort(values_N, kind="stable")
    rank_N: NDArray = np.empty(len(values_N), np.int32 if len(values_N) < 2**31 else np.int64)
    rank_N[order] = np.arange(len(values_N))
    found_Q = np.zeros(len(low_Q), np.int64)
    for bit in range(max(len(values_N) - 1, 0).bit_length() - 1, -1, -1):
        upper_N = (rank_N >> bit & 1).astype(bool)
        below = np.zeros(len(values_N) + 1, rank_N.dtype)
        np.cumsum(~upper_N, out=below[1:])
        below_low_Q, below_high_Q = below[low_Q], below[high_Q]
        num_Q = below_high_Q - below_low_Q
        is_upper_Q = k_Q >= num_Q
        k_Q = np.where(is_upper_Q, k_Q - num_Q, k_Q)
        low_Q = np.where(is_upper_Q, below[-1] + low_Q - below_low_Q, below_low_Q)
        high_Q = np.where(is_upper_Q, below[-1] + high_Q - below_high_Q, below_high_Q)
        found_Q |= is_upper_Q.astype(np.int64) << bit
        rank_N = np.concatenate([rank_N[~upper_N], rank_N[upper_N]])
    return values_N[order[found_Q]]


def medians(values_N: NDArray, low_Q: NDArray, high_Q: NDArray) -> NDArray:
    """The median of ``values[low:high]`` for each range, [Q] float64; NaN where it is empty."""
    found_Q = np.full(len(low_Q), np.nan)
    some = high_Q > low_Q
    if some.any():
        low, high = np.tile(low_Q[some], 2), np.tile(high_Q[some], 2)
        # The two in the middle, which are one where the number is odd.
        k = (high - low - np.repeat([1, 0], some.sum())) // 2
        found_Q[some] = kth(values_N, low, high, k).astype(np.float64).reshape(2, -1).mean(axis=0)
    return found_Q


def running(values_N: NDArray, begins_N: NDArray) -> NDArray:
    """Sums of each group's values so far, [N]; a group goes from where one ``begins`` to the next.

    Each group is added up by itself, so that its sums are the same to the last bit whatever stands beside it.
    """
    first = np.flatnonzero(begins_N)
    count = np.diff(np.append(first, len(values_N)))
    group_N = np.cumsum(begins_N) - 1
    place_N = np.arange(len(values_N)) - first[group_N]
    # Groups of similar length are the lines of one table, which is at most half empty.
    size = np.ceil(np.log2(count)).astype(np.int64)
    sums_N = np.empty(len(values_N))
    for one in np.unique(size):
        chosen = size == one
        line = np.cumsum(chosen) - 1
        of_N = chosen[group_N]
        where = line[group_N[of_N]], place_N[of_N]
        table = np.zeros((int(chosen.sum()), int(count[chosen].max())))
        table[where] = values_N[of_N]
        sums_N[of_N] = np.cumsum(table, axis=1)[where]
    return sums_N
