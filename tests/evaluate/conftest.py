"""Small segments with a daily cycle, and stand-ins for a trained policy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest
from numpy.typing import NDArray

from lstm_ray.data.parts import Boundaries
from lstm_ray.data.schema import ColumnScale, Scaler, Schema
from lstm_ray.data.windows import Segments
from lstm_ray.evaluate.forecasts.baselines import SeasonalNaive
from lstm_ray.sections.prepare import WindowConfig

HOUR = 3_600_000_000
WINDOW = WindowConfig(history=48, horizon=12, patch=12, season=24)


@dataclass(frozen=True)
class Data:
    """What the functions under test are given."""

    segments: Segments
    parts: Boundaries
    scaler: Scaler
    window: WindowConfig = WINDOW


@dataclass
class FakePolicy:
    """The seasonal naive with a bias, and quantiles a fixed distance apart; counts the windows it is asked for."""

    window: WindowConfig = WINDOW
    quantiles: list[float] = field(default_factory=lambda: [0.5])
    bias: float = 0.0
    spread: float = 1.0
    asked: int = 0

    def forecast_windows(self, segments: Segments, origins_M: NDArray, batch: int = 512) -> NDArray:
        self.asked += len(origins_M)
        point = SeasonalNaive(self.window.horizon, self.window.season).forecast_windows(segments, origins_M)
        return point + self.bias + self.spread * (np.asarray(self.quantiles, dtype=np.float32) - 0.5)


@dataclass
class FakeClassifier:
    """Sure of the second class where a sequence's last value of the first input is above 0."""

    sharpness: float = 4.0

    def class_probabilities(self, segments: Segments, ids_M: NDArray, batch: int = 512) -> NDArray:
        last = segments.past_RP[segments.bounds[ids_M + 1] - 1, 0]
        second = 1 / (1 + np.exp(-self.sharpness * last))
        return np.stack([1 - second, second], axis=1)


@pytest.fixture
def make_data() -> Callable[..., Data]:
    """A factory of forecasting data: several series of a daily cycle and noise."""
    return _make_data


@pytest.fixture
def data() -> Data:
    """Three series of 600 hours, one in two segments, a tenth of the target not measured."""
    return _make_data()


def _make_data(
    num_series: int = 3,
    steps: int = 600,
    channels: int = 1,
    missing: float = 0.1,
    noise: float = 0.5,
    is_time: bool = True,
    cut_first: bool = True,
) -> Data:
    rng = np.random.default_rng(3)
    lengths = [steps] * num_series
    first = [0] * num_series
    names = [f"s{index}" for index in range(num_series)]
    if cut_first:
        lengths[:1], first[:1], names[:1] = [steps // 2, steps // 2 - 5], [0, steps // 2 + 5], ["s0", "s0"]
    rows = sum(lengths)
    step = np.concatenate([f + np.arange(n) for f, n in zip(first, lengths, strict=True)])
    level = np.repeat([10.0 * (1 + int(name[1:])) for name in names], lengths)[:, None]
    cycle = 3 * np.sin(2 * np.pi * step / 24)[:, None]
    target = level + cycle * np.arange(1, channels + 1) + noise * rng.standard_normal((rows, channels))
    target = target.astype(np.float32)
    scale = ColumnScale(mean=target.mean(axis=0).tolist(), deviation=target.std(axis=0).tolist())
    segments = Segments(
        target_RC=target,
        observed_RC=(rng.random((rows, channels)) >= missing).astype(np.float32),
        past_RP=rng.standard_normal((rows, 2)).astype(np.float32),
        known_RK=np.zeros((rows, 0), np.float32),
        bounds=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        series=names,
        first_step=np.asarray(first, np.int64),
        label=None,
        schema=Schema(
            target=[f"target{c}" for c in range(channels)],
            past=["a", "b"],
            known=[],
            calendar=[],
            classes=[],
            step=HOUR if is_time else 1,
            is_time=is_time,
            axis_start=0,
        ),
        category_SK=np.zeros((len(first), 0), np.int64),
    )
    unit = ColumnScale(mean=[0.0, 0.0], deviation=[1.0, 1.0])
    scaler = Scaler(target=scale, past=unit, known=ColumnScale(mean=[], deviation=[]))
    cuts = int(steps * 0.6), int(steps * 0.8)
    return Data(segments, {"train": (0, cuts[0]), "validation": cuts, "test": (cuts[1], steps)}, scaler)


@pytest.fixture
def sequences_data() -> Data:
    """200 labelled sequences of 5 to 30 hours; the first input drifts up in class 'up' and down in 'down'."""
    rng = np.random.default_rng(5)
    num = 200
    length = rng.integers(5, 30, num)
    label = (rng.random(num) < 0.3).astype(np.int64)
    of = np.repeat(np.arange(num), length)
    bounds = np.concatenate([[0], np.cumsum(length)]).astype(np.int64)
    position = np.arange(bounds[-1]) - bounds[of]
    drift = (label[of] - 0.5) * 0.2 * position + rng.standard_normal(len(of)) * 0.8
    past = np.stack([drift, rng.standard_normal(len(of))], axis=1).astype(np.float32)
    none = ColumnScale(mean=[], deviation=[])
    columns = ColumnScale(mean=past.mean(axis=0).tolist(), deviation=past.std(axis=0).tolist())
    segments = Segments(
        target_RC=np.zeros((len(of), 0), np.float32),
        observed_RC=np.zeros((len(of), 0), np.float32),
        past_RP=past,
        known_RK=np.zeros((len(of), 0), np.float32),
        bounds=bounds,
        series=[f"day{index}" for index in range(num)],
        first_step=np.arange(num, dtype=np.int64) * 24,
        label=label,
        schema=Schema(
            target=[],
            past=["a", "b"],
            known=[],
            calendar=[],
            classes=["down", "up"],
            step=HOUR,
            is_time=True,
            axis_start=0,
        ),
        category_SK=np.zeros((num, 0), np.int64),
    )
    parts: Boundaries = {"train": (0, 120 * 24), "validation": (120 * 24, 150 * 24), "test": (150 * 24, 200 * 24)}
    return Data(segments, parts, Scaler(target=none, past=columns, known=none))


@pytest.fixture
def fake_policy() -> type[FakePolicy]:
    return FakePolicy


@pytest.fixture
def fake_classifier() -> type[FakeClassifier]:
    return FakeClassifier
