"""What time and cores a job of any size takes, from a few that were measured. Knows nothing of how these were made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

HOUR = 3600.0


@dataclass(frozen=True)
class Line:
    """Seconds of a job on so many workers: a start, whatever its size, and an equal time for every unit of work."""

    workers: int
    start_seconds: float
    unit_seconds: float

    @classmethod
    def of(cls, workers: int, sizes: Sequence[float], seconds: Sequence[float]) -> Line:
        """Through measurements of two sizes or more, by least squares; a start is never less than nothing."""
        assert len(set(sizes)) > 1, "one size cannot tell the start from the work"
        unit, start = (float(value) for value in np.polyfit(sizes, seconds, 1))
        if start < 0:
            # The best line of those through nothing: the steeper one would miss what it was made from.
            return cls(workers, 0.0, float(np.dot(sizes, seconds) / np.dot(sizes, sizes)))
        return cls(workers, start, unit)

    def seconds(self, size: float) -> float:
        return self.start_seconds + size * self.unit_seconds

    def core_hours(self, size: float) -> float:
        """Hours of all workers' cores together, the start included."""
        return self.workers * self.seconds(size) / HOUR


def serial_share(seconds: Mapping[int, float]) -> float:
    """The share of one worker's time that more workers do not shorten (Amdahl 1967), fitted by least squares to the seconds
    that the same work takes on each number of workers; between 0 and 1."""
    one = seconds[1]
    away = np.array([1 - 1 / workers for workers in seconds if workers > 1])
    left = np.array([value / one - 1 / workers for workers, value in seconds.items() if workers > 1])
    # seconds(n) / seconds(1) = s + (1 - s) / n, so s (1 - 1 / n) is what is left beside 1 / n.
    return float(np.clip(away @ left / (away @ away), 0.0, 1.0))


def most_speedup(share: float) -> float:
    """What any number of workers can gain, where such a share is serial."""
    return 1 / share if share else float("inf")


def miss(predicted: float, measured: float) -> float:
    """How far a prediction was off, as a share of what was measured."""
    return abs(predicted / measured - 1)
