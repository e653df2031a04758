"""What findings and figures of a forecast are made from: scores by forecaster, and the windows they are of.

Legend: M windows, C target channels, G groups.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lstm_ray.data.windows import Segments
from lstm_ray.evaluate.forecasts.metrics import ForecastSums
from lstm_ray.evaluate.forecasts.score import Scores
from lstm_ray.sections.prepare import WindowConfig


@dataclass(frozen=True)
class View:
    """What the findings and figures of a forecast are made from."""

    scores: dict[str, Scores]
    """By forecaster, the policy among them."""
    policy: str
    rival: str
    """The baseline with the least mean absolute error."""
    segments: Segments
    origins_M: NDArray
    window: WindowConfig
    deviation_C: NDArray
    normalisation: str
    """The policy's model.normalisation."""
    before: int = 0
    """``Yardstick.before``: read too where windows are forecast again, or they would be told another answer than was scored."""

    @property
    def unit(self) -> str:
        """One target is shown in its own units; several are pooled in training deviations."""
        target = self.segments.schema.target
        return target[0] if len(target) == 1 else "training deviations"

    @property
    def pooled(self) -> str:
        """Said after an error where the target's name does not tell its unit."""
        return "" if len(self.deviation_C) == 1 else " training deviations"

    def sums(self, name: str, grouping: str) -> ForecastSums:
        """A forecaster's sums in the unit that is shown.

        Args:
            grouping: a key of ``Scores.by``.
        """
        sums = self.scores[name].by[grouping]
        return sums if len(self.deviation_C) == 1 else sums.in_units_of(self.deviation_C)

    def mae(self, name: str, grouping: str) -> NDArray:
        """Mean absolute error by group, float64 [G], NaN where a group is empty."""
        return self.sums(name, grouping).columns()["mae"]

    def label(self, window_index: int) -> str:
        """A window in words: its series and the time of its origin."""
        row = self.origins_M[window_index]
        time = self.segments.times(np.asarray([row]))[0]
        when = (
            np.datetime_as_string(time, unit="m").replace("T", " ")
            if isinstance(time, np.datetime64)
            else f"step {time}"
        )
        return f"{self.segments.series[int(self.segments.series_of(row))]} after {when}"
