"""Whether what a process holds grows under steady load. Pure; knows no process.

Legend: T samples.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

SETTLE_SHARE = 0.25
"""Of a soak's beginning that is left out: caches fill then."""
MIN_SAMPLES = 20
MIN_FILES = 10.0
"""Open files that may come whatever the share: connections come and go."""


@dataclass(frozen=True)
class Growth:
    """A straight line through what a process held, over the soak without its beginning."""

    role: str
    """Of the process."""
    what: str
    """``memory`` (bytes) or ``files``."""
    start: float
    """Where the line begins."""
    growth: float
    """From there to its end."""
    low: float
    high: float
    """95 % interval of it."""
    seconds: float
    limit: float
    """Growth that is allowed."""
    state: str
    """``leaks`` (more than is allowed, for sure), ``grows`` (for sure, within the limit), ``steady``, or ``unclear`` (it may
    be more than is allowed)."""

    @property
    def per_hour(self) -> float:
        return 3_600 * self.growth / self.seconds

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "per_hour": self.per_hour}


def growth_of(role: str, what: str, time_T: NDArray, value_T: NDArray, max_growth: float) -> Growth | None:
    """Least squares; the interval allows for samples that follow each other (Newey and West, *Econometrica* 55, 1987).

    Args:
        max_growth: share of the start that may come over the fitted stretch.

    Returns: None where there are fewer than ``MIN_SAMPLES``.
    """
    if len(time_T) == 0:
        return None
    kept_T = time_T >= time_T[0] + SETTLE_SHARE * (time_T[-1] - time_T[0])
    time_T, value_T = time_T[kept_T] - time_T[kept_T][0], value_T[kept_T].astype(np.float64)
    if len(time_T) < MIN_SAMPLES:
        return None
    centred_T = time_T - time_T.mean()
    slope = float(centred_T @ value_T / (centred_T @ centred_T))
    start = float(value_T.mean() - slope * time_T.mean())
    rest_T = value_T - value_T.mean() - slope * centred_T
    error = _slope_error(centred_T, rest_T) if np.ptp(value_T) else 0.0
    seconds = float(time_T[-1])
    margin = float(stats.t.ppf(0.975, len(time_T) - 2)) * error * seconds
    # What never changed has a slope that is rounding alone.
    growth = slope * seconds if np.ptp(value_T) else 0.0
    limit = max_growth * max(start, 0.0)
    limit = max(limit, MIN_FILES) if what == "files" else limit
    return Growth(
        role, what, start, growth, growth - margin, growth + margin, seconds, limit, _state(growth, margin, limit)
    )


def _state(growth: float, margin: float, limit: float) -> str:
    if growth - margin > limit:
        return "leaks"
    if growth + margin > limit:
        return "unclear"
    return "grows" if growth - margin > 0 else "steady"


def _slope_error(centred_T: NDArray, rest_T: NDArray) -> float:
    """Standard error of a slope, with Bartlett weights over a lag that grows with the samples."""
    number = len(rest_T)
    score_T = centred_T * rest_T
    lags = math.floor(4 * (number / 100) ** (2 / 9)) + 1
    total = float(score_T @ score_T)
    for lag in range(1, lags + 1):
        total += 2 * (1 - lag / (lags + 1)) * float(score_T[lag:] @ score_T[:-lag])
    return math.sqrt(max(total, 0.0) * number / (number - 2)) / float(centred_T @ centred_T)


def growths_of(samples: Sequence[Any], max_growth: float) -> list[Growth]:
    """Of every role that ``processes.Sample`` names, its memory and its open files."""
    found = []
    for role in dict.fromkeys(sample.role for sample in samples):
        mine = [sample for sample in samples if sample.role == role]
        time_T = np.array([sample.time for sample in mine])
        for what, values in (("memory", [s.memory for s in mine]), ("files", [s.files for s in mine])):
            found.append(growth_of(role, what, time_T, np.array(values), max_growth))
    return [growth for growth in found if growth is not None]
