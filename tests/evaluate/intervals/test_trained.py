"""Networks that were really trained, on data of known distribution: what they answer holds what it says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from lstm_ray.data.feed import source
from lstm_ray.data.parts import Boundaries
from lstm_ray.data.windows import Segments, origins
from lstm_ray.evaluate.intervals.calibrating import calibrated
from lstm_ray.model.checkpoint import fit_kept
from lstm_ray.model.network import build
from lstm_ray.model.policy import Policy
from lstm_ray.model.training import start
from tests import made

PARTS: Boundaries = {"train": (0, 1_000), "validation": (1_000, 4_000), "test": (4_000, 8_000)}
LEVELS = [0.05, 0.1, 0.5, 0.9, 0.95]


def skewed_autoregressions() -> Segments:
    """Four series that remember half of the value before; their noise is skewed and twice as large by day as by night."""
    segments = made.segments_of([8_000] * 4)
    random = np.random.default_rng(1)
    noise = (random.exponential(size=(4, 8_000)) - 1) * np.where(np.arange(8_000) % 24 < 12, 2.0, 1.0)
    value = np.zeros((4, 8_000))
    for t in range(1, 8_000):
        value[:, t] = 0.5 * value[:, t - 1] + noise[:, t]
    return replace(
        segments,
        target_RC=value.reshape(-1, 1).astype(np.float32),
        observed_RC=np.ones_like(segments.observed_RC),
    )


@pytest.mark.parametrize("values", [{}, {"model__distribution": "student_t"}], ids=["quantiles", "student_t"])
def test_a_trained_policy_holds_what_it_says_within_two_points(values: dict[str, Any]) -> None:
    segments = skewed_autoregressions()
    config = made.make_config(model__quantiles=LEVELS, train__max_epochs=4, train__batch=32, **values)
    scaler = made.scaler_of(segments)
    scaled = segments.scaled(scaler)
    torch.manual_seed(config.seed)
    training = start(build(config, segments.schema), config, scaler=scaler)
    items, held_out = (source(scaled, PARTS, part, config) for part in ("train", "validation"))
    fit_kept(training, config, items, held_out, None, lambda record: True)
    policy = Policy(config, segments.schema, scaler, training.network.state_dict())
    rows = origins(segments, PARTS, "test", config.window)
    actual = segments.target_RC[rows[:, None] + np.arange(1, config.window.horizon + 1)]
    raw_MHCQ = policy.forecast_windows(segments, rows)
    policy.calibration = calibrated(policy, segments, PARTS)
    answered_MHCQ = policy.forecast_windows(segments, rows)

    def off(forecast_MHCQ: np.ndarray) -> np.ndarray:
        """How far the share of actual values at or below each quantile lies from its level, by step ahead."""
        below_HQ = (actual[..., None] <= forecast_MHCQ).mean(axis=(0, 2))
        return np.abs(below_HQ - LEVELS)[:, [0, 1, 3, 4]]

    assert off(answered_MHCQ).max() < 0.02
    assert off(raw_MHCQ).max() > 0.02
    for low, high, nominal in ((0, 4, 0.9), (1, 3, 0.8)):
        inside = (answered_MHCQ[..., low] <= actual) & (actual <= answered_MHCQ[..., high])
        assert inside.mean() == pytest.approx(nominal, abs=0.02)
