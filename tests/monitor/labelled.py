"""Series as a server meets them, with anomalies whose place is known (as the Numenta benchmark labels its own), and what is
usual of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstm_ray.monitor.unusual import usual
from lstm_ray.monitor.watched import Watched
from lstm_ray.sections.operate import MonitorConfig
from tests import made

SEASON, STEPS = 24, 6_000
"""Half of the steps are trained on."""
BOUNDS = {"train": (0, 3_000), "validation": (3_000, 3_001), "test": (3_001, STEPS)}
RATE = 0.01
WINDOW = 6
"""Steps from a label in which an anomaly counts as found."""


@dataclass(frozen=True)
class Series:
    """Two columns, a target and an input, and when each anomaly begins: kind to steps of the live part."""

    value_TF: NDArray
    labels: dict[str, list[int]]


def usual_series(seed: int) -> NDArray:
    """A daily pattern with noise that remembers, [T]."""
    rng = np.random.default_rng(seed)
    noise, value_T = rng.standard_normal(STEPS), np.empty(STEPS)
    level = 0.0
    for t in range(STEPS):
        level = 0.7 * level + noise[t]
        value_T[t] = level
    return 50 + 10 * np.sin(2 * np.pi * np.arange(STEPS) / SEASON) + value_T


def labelled(seed: int) -> Series:
    """Spikes, shifts of the level that stay for a day and a half, and stretches where the value is stuck."""
    rng = np.random.default_rng(seed)
    value_TF = np.stack([usual_series(seed), usual_series(seed + 1_000)], axis=1)
    places = 3_000 + 100 + np.arange(24) * 115 + rng.integers(0, 20, 24)
    labels: dict[str, list[int]] = {"spike": [], "shift": [], "flat": []}
    for number, at in enumerate(places):
        kind = ("spike", "shift", "flat")[number % 3]
        labels[kind].append(int(at))
        if kind == "spike":
            value_TF[at, 0] += rng.choice([-1, 1]) * 12
        elif kind == "shift":
            value_TF[at : at + 36, 0] += rng.choice([-1, 1]) * 12
        else:
            value_TF[at : at + 12, 0] = value_TF[at, 0]
    return Series(value_TF, labels)


def watched(value_TF: NDArray, rate: float = RATE, **more: Any) -> Watched:
    """A monitor's policy, with what is usual in the first half."""
    segments = made.segments_of((STEPS,), schema=made.schema_of(past=("wind",), known=()))
    segments.target_RC[:, 0], segments.past_RP[:, 0] = value_TF[:, 0], value_TF[:, 1]
    reference = {"values": usual.values(segments, BOUNDS, SEASON)}
    return Watched(
        version="v",
        task="forecast",
        targets=["load"],
        columns=["load", "wind"],
        classes=[],
        step=made.HOUR,
        reference=reference | more,
        validation={},
        settings=MonitorConfig(anomalies=rate),
    )
