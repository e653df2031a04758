"""Filling forward in arrays, told value by value."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lstm_ray.data.impute import forward_fill

VALUES = arrays(
    np.float64, st.tuples(st.integers(1, 12), st.integers(1, 3)), elements=st.sampled_from([np.nan, 1, 2, 3])
)


@given(VALUES)
def test_each_hole_takes_the_newest_value_before_it(values_TF: np.ndarray) -> None:
    given_before = values_TF.copy()
    filled_TF = forward_fill(values_TF)
    for column in range(values_TF.shape[1]):
        last = np.nan
        for row, value in enumerate(values_TF[:, column]):
            last = last if np.isnan(value) else value
            np.testing.assert_equal(filled_TF[row, column], last)
    np.testing.assert_array_equal(values_TF, given_before)
