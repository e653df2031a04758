"""Filling what is missing in arrays, causally. NumPy alone, so that a served policy fills exactly as training did."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def forward_fill(values_TF: NDArray) -> NDArray:
    """Replace NaN by the last value before it in the same column; what comes before any value stays NaN.

    Args:
        values_TF: floats, T steps by F columns. Returned as a new array.
    """
    rows = np.where(np.isnan(values_TF), -1, np.arange(len(values_TF))[:, None])
    last = np.maximum.accumulate(rows, axis=0)
    filled: NDArray = np.take_along_axis(values_TF, np.maximum(last, 0), axis=0)
    return filled
