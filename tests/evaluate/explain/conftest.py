"""Models whose inputs matter as a test plants it, for each task; they carry what a policy carries."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lstm_ray.config import Config, parse
from lstm_ray.data.schema import Scaler
from lstm_ray.data.windows import Segments, rows_of
from tests import made


@dataclass
class Reads:
    """Forecasts the mean of the last step's target and past inputs, each by its weight, over the whole horizon."""

    scaler: Scaler
    target: float = 1.0
    past: tuple[float, ...] = (0.0, 0.0)
    steps_back: int = 0
    horizon: int = 12
    quantiles: list[float] = field(default_factory=lambda: [0.5])

    def forecast_windows(self, segments: Segments, origins_M: NDArray, batch: int = 512) -> NDArray:
        read = origins_M - self.steps_back
        point_MC = self.target * segments.target_RC[read] + (segments.past_RP[read] @ np.array(self.past))[:, None]
        return np.repeat(point_MC[:, None, :, None], self.horizon, axis=1).astype(np.float32)


@dataclass
class Classes:
    """Sure of the second class where a sequence's last value of the first input is above 0."""

    scaler: Scaler

    def class_probabilities(self, segments: Segments, ids_M: NDArray, batch: int = 512) -> NDArray:
        second = 1 / (1 + np.exp(-4 * segments.past_RP[segments.bounds[ids_M + 1] - 1, 0]))
        return np.stack([1 - second, second], axis=1)


@dataclass
class Labels:
    """Tells each step's value from the first input."""

    scaler: Scaler

    def tell_steps(self, segments: Segments, range_S2: NDArray, batch: int = 512) -> NDArray:
        return segments.past_RP[rows_of(range_S2), :1]


def config_of(**values: Any) -> Config:
    """A forecast of the data of tests/evaluate/conftest.py; ``section__field`` replaces a field."""
    tree = made.config_tree() | {"window": {"history": 48, "horizon": 12, "patch": 12, "season": 24}}
    tree["data"] = tree["data"] | {"past": ["a", "b"]}
    for name, value in values.items():
        section, _, key = name.partition("__")
        tree.setdefault(section, {})[key] = value
    return parse(tree)


@pytest.fixture
def config() -> Config:
    return config_of()


@pytest.fixture
def reads() -> type[Reads]:
    return Reads
