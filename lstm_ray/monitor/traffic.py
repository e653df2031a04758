"""What a server answered in a moment: sums that a replica keeps and hands on. Knows no HTTP library and no Ray."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lstm_ray.monitor.drift.drift import Counts, add

EDGES_SECONDS = np.geomspace(1e-4, 100, 121)
"""Latency bins, 12 % apart: a quantile is known to within that."""
MAX_STEPS = 1_000_000
"""Steps of rows that a replica holds until it hands them on; more in one moment are lost."""
MAX_ANSWERS = 2_000
"""Forecasts a replica holds until it hands them on; more in one moment are not scored."""


@dataclass(frozen=True)
class Answer:
    """One named series' prediction, kept to be held against what really came."""

    name: str
    first_tick: int
    """Time of the first step predicted: microseconds since 1970, or the integer (forecast)."""
    median_HC: NDArray
    """[H, C]; a classification has shape [1, 1] and holds the index of the class."""
    lower_HC: NDArray | None = None
    upper_HC: NDArray | None = None
    """Its outermost quantiles, float32; None where it has none."""


@dataclass(frozen=True)
class Rows:
    """Steps of one named series as they came, with a request or as an observation."""

    name: str
    tick_T: NDArray
    """int64, microseconds since 1970 or whole steps; in any order, and any of them may have come before."""
    values_TF: NDArray
    """Columns as in ``Watched.columns``, targets first; NaN where not measured, or not told."""


@dataclass(frozen=True)
class Observed:
    """What came of observations. None: no rows are kept."""

    scored: int
    """Predicted values that they were held against."""
    new: int | None = None
    duplicates: int | None = None
    completed: int | None = None
    contradictory: int | None = None
    late: int | None = None
    lost: int | None = None


@dataclass(frozen=True)
class Load:
    """What one replica has to do, as it last said."""

    in_flight: int
    """Requests being answered."""
    most: int
    """Of these at once since it said so before."""
    queued: int
    """Of these, waiting to be predicted."""
    capacity: int
    """Requests that it takes at once; those that come meanwhile wait before it, and are not seen here."""


@dataclass
class Compared:
    """What came of copies of the champion's requests: sums over those that a shadow answered."""

    num_requests: int = 0
    num_failed: int = 0
    """Answered with another status than 200, or not at all."""
    num_dropped: int = 0
    """Never asked, for too many waited."""
    num_values: int = 0
    difference: float = 0.0
    """Absolute, in training deviations; over values."""
    num_classes: int = 0
    num_same: int = 0
    """Classes told as the champion told them."""
    seconds: float = 0.0
    champion_seconds: float = 0.0

    def add(self, other: Compared) -> None:
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)

    def summary(self) -> dict[str, float | int | None]:
        """Means as plain values; None where nothing was compared."""

        def mean(total: float, number: int) -> float | None:
            return total / number if number else None

        asked = self.num_requests
        return {
            "requests": asked,
            "failed": self.num_failed,
            "dropped": self.num_dropped,
            "mean_difference_deviations": mean(self.difference, self.num_values),
            "share_same_class": mean(self.num_same, self.num_classes),
            "mean_ms": mean(1000 * self.seconds, asked),
            "champion_mean_ms": mean(1000 * self.champion_seconds, asked),
        }


@dataclass
class Tally:
    """Requests of one moment."""

    requests: Counter[tuple[str, int]] = field(default_factory=Counter)
    """By route and status."""
    latency_K: NDArray = field(default_factory=lambda: np.zeros(len(EDGES_SECONDS) + 1, np.int64))
    """Predictions by latency bin."""
    inputs: Counts = field(default_factory=dict)
    answers: list[Answer] = field(default_factory=list)
    rows: list[Rows] = field(default_factory=list)
    """Of live requests' histories, what the replica has not met before."""
    num_steps: int = 0
    """Of the rows."""
    lost_steps: int = 0
    """Of rows for which there was no room."""
    num_series: int = 0
    warned_series: int = 0
    """Series answered with a warning."""
    fallbacks: int = 0
    """Series whose answer was not finite, answered by a fallback."""
    compared: Compared = field(default_factory=Compared)
    loads: dict[str, Load] = field(default_factory=dict)
    """By replica."""
    latency_seconds: float = 0.0
    """Sum over predictions."""

    def add_request(self, route: str, status: int, seconds: float | None) -> None:
        """Count an answer. ``seconds`` is given for predictions alone: probes would hide their latency."""
        self.requests[route, status] += 1
        if seconds is not None:
            self.latency_K[np.searchsorted(EDGES_SECONDS, seconds)] += 1
            self.latency_seconds += seconds

    def add(self, other: Tally) -> None:
        """Take in what was counted elsewhere."""
        self.requests.update(other.requests)
        self.latency_K += other.latency_K
        self.inputs = add(self.inputs, other.inputs)
        self.answers += other.answers[: MAX_ANSWERS - len(self.answers)]
        self.lost_steps += other.lost_steps
        if self.num_steps + other.num_steps > MAX_STEPS:
            self.lost_steps += other.num_steps
        else:
            self.rows += other.rows
            self.num_steps += other.num_steps
        self.num_series += other.num_series
        self.warned_series += other.warned_series
        self.fallbacks += other.fallbacks
        self.compared.add(other.compared)
        self.loads.update(other.loads)
        self.latency_seconds += other.latency_seconds


def latency_quantile(latency_K: NDArray, share: float) -> float | None:
    """Latency below which this share of requests lies, in milliseconds; None without requests."""
    total = latency_K.sum()
    if not total:
        return None
    bin_ = int(np.searchsorted(latency_K.cumsum(), share * total))
    return float(1000 * EDGES_SECONDS[min(bin_, len(EDGES_SECONDS) - 1)])
