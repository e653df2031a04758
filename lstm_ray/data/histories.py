"""The newest steps of many series as flat arrays, as they were read: what forecasts of a table begin from. NumPy alone.

Shapes: S series, R steps of all of them, F columns (targets, past, known and static), H steps ahead, K known and static ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Histories:
    """Some series back to back on a policy's grid, every step between their first and last there; NaN is missing."""

    names: list[str]
    bounds: NDArray
    """int64 [S + 1]: the steps of series s are ``bounds[s]:bounds[s + 1]``, and it has at least one."""
    last_S: NDArray
    """int64 tick of each one's last step."""
    given_RF: NDArray
    """float64, in the data's own units."""
    future_SHK: NDArray
    """float64 known and static columns of the steps ahead, of which there are none unless something is forecast."""
    words: Mapping[str, Sequence[str | None]]
    """By categorical column, the word of each series; None: it has none."""

    @property
    def lengths(self) -> NDArray:
        return np.diff(self.bounds)

    def take(self, index: NDArray) -> Histories:
        """Some of the series, in that order."""
        length = self.lengths[index]
        bounds = np.append(0, np.cumsum(length))
        rows = np.repeat(self.bounds[index] - bounds[:-1], length) + np.arange(bounds[-1])
        return Histories(
            [self.names[s] for s in index],
            bounds,
            self.last_S[index],
            self.given_RF[rows],
            self.future_SHK[index],
            {column: [words[s] for s in index] for column, words in self.words.items()},
        )
