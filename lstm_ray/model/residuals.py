"""What a policy's forecasts missed, window by window, as a policy carries it to sample futures from. NumPy alone.

Shapes: R trajectories, H horizon, C targets, U times that hold any.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstm_ray.data.spread import at_common_times

FEWEST_TIMES = 100
"""Times that a library keeps before it leaves out series."""


@dataclass(frozen=True)
class Residuals:
    """Where in its own forecast each of some real windows came to lie: normal scores, whole trajectories of them.

    Ordered by time, then series. Series share their times as far as the data has them, so that what is drawn at one time
    for several series is what happened to them together.
    """

    levels: tuple[float, ...]
    """Of the quantiles that scores are told by; one alone (a point forecast): scores are ``Scaler.difference``."""
    score_RHC: NDArray
    """float32."""
    step_R: NDArray
    """int64 step of each window's origin on the common time axis, ascending."""
    series_R: NDArray
    """int64 index into ``names``."""
    names: list[str]

    @property
    def horizon(self) -> int:
        return int(self.score_RHC.shape[1])

    @cached_property
    def times(self) -> NDArray:
        """Every time at which a window begins, ascending."""
        return np.unique(self.step_R)

    @cached_property
    def drawn(self) -> dict[tuple[Any, ...], NDArray]:
        """Rows that were drawn before: scenarios and plans ask for the same ones over and over."""
        return {}

    def rows_of(self, name: str) -> NDArray:
        """A series' trajectories, in the order of time."""
        return self._rows.get(name, np.empty(0, np.int64))

    @cached_property
    def _rows(self) -> dict[str, NDArray]:
        order = np.argsort(self.series_R, kind="stable")
        parts = np.split(order, np.searchsorted(self.series_R[order], np.arange(1, len(self.names))))
        return dict(zip(self.names, parts, strict=True))

    def thinned(self, windows: int, values: int) -> Residuals:
        """At most so many trajectories, and numbers in them."""
        number = max(1, min(windows, values // self.score_RHC[0].size))
        return self.among(at_common_times(self.step_R, number, FEWEST_TIMES))

    def among(self, rows: NDArray) -> Residuals:
        """Some trajectories, told by ascending indices or a mask."""
        held, series_R = np.unique(self.series_R[rows], return_inverse=True)
        names = [self.names[s] for s in held]
        return Residuals(self.levels, self.score_RHC[rows], self.step_R[rows], series_R.astype(np.int64), names)

    def arrays(self) -> dict[str, NDArray]:
        """What is saved as numbers; ``words`` is the rest."""
        return {"score": self.score_RHC, "step": self.step_R, "series": self.series_R}

    def words(self) -> dict[str, Any]:
        return {"levels": list(self.levels), "names": self.names}

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray], words: Mapping[str, Any]) -> Residuals:
        """The inverse of ``arrays`` and ``words``."""
        return cls(tuple(words["levels"]), arrays["score"], arrays["step"], arrays["series"], list(words["names"]))
