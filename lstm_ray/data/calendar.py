"""Calendar cycles as sine and cosine, known for any time. NumPy alone, shared by training and serving."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray


def _hour(times: NDArray) -> NDArray:
    return (times - times.astype("datetime64[D]")) / np.timedelta64(1, "D")


def _weekday(times: NDArray) -> NDArray:
    return ((times.astype("datetime64[D]").astype(np.int64) + 3) % 7 + _hour(times)) / 7


def _month(times: NDArray) -> NDArray:
    return times.astype("datetime64[M]").astype(np.int64) % 12 / 12


CYCLES: Mapping[str, Callable[[NDArray], NDArray]] = {"hour": _hour, "weekday": _weekday, "month": _month}
"""Each cycle's position in [0, 1): through the day, through the week from Monday, month of the year."""


def names(cycles: Sequence[str]) -> list[str]:
    """The columns that ``features`` makes, in its order."""
    return [f"{cycle}_{wave}" for cycle in cycles for wave in ("sin", "cos")]


def features(times: NDArray, cycles: Sequence[str]) -> NDArray:
    """Sine and cosine of each cycle.

    Args:
        times: datetime64, shape [T].

    Returns:
        float32, shape [T, 2 * len(cycles)].
    """
    columns = np.empty((len(times), 2 * len(cycles)), dtype=np.float32)
    for index, cycle in enumerate(cycles):
        angle = 2 * np.pi * CYCLES[cycle](times)
        columns[:, 2 * index], columns[:, 2 * index + 1] = np.sin(angle), np.cos(angle)
    return columns
