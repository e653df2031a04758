"""Order statistics and running sums of ranges, told one range at a time."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lstm_ray.data.quality.ranks import kth, medians, running

VALUES = arrays(np.float64, st.integers(1, 50), elements=st.integers(-5, 5).map(float))


@given(VALUES, st.lists(st.tuples(st.integers(0, 49), st.integers(0, 49)), min_size=1, max_size=8))
def test_medians_of_ranges_are_those_of_each(values_N: np.ndarray, ends: list[tuple[int, int]]) -> None:
    low, high = np.minimum(np.sort(np.array(ends), axis=1), len(values_N)).T
    found = medians(values_N, low, high)
    for one, first, end in zip(found, low, high, strict=True):
        np.testing.assert_equal(one, np.median(values_N[first:end]) if end > first else np.nan)


@given(VALUES)
def test_the_kth_of_everything_are_the_sorted_values(values_N: np.ndarray) -> None:
    number = len(values_N)
    found = kth(values_N, np.zeros(number, np.int64), np.full(number, number), np.arange(number))
    np.testing.assert_array_equal(found, np.sort(values_N))


@given(VALUES, st.sets(st.integers(0, 49)))
def test_running_sums_begin_anew_with_each_group_and_know_no_other(values_N: np.ndarray, starts: set[int]) -> None:
    values_N = values_N * np.pi
    begins_N = np.isin(np.arange(len(values_N)), [0, *starts])
    found = running(values_N, begins_N)
    parts = np.split(values_N, np.flatnonzero(begins_N)[1:])
    np.testing.assert_array_equal(found, np.concatenate([np.cumsum(part) for part in parts]))
