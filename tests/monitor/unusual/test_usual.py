"""What travels with a policy of usual values and errors."""

from __future__ import annotations

import json

import numpy as np
import pytest

from lstm_ray.monitor.errors import validated
from lstm_ray.monitor.unusual import usual
from tests import made

BOUNDS = {"train": (0, 300), "validation": (300, 350), "test": (350, 400)}


def test_equal_values_in_a_row_are_counted_and_a_gap_begins_anew() -> None:
    values = np.array([1, 1, 1, np.nan, 1, 2, 2, 2.0])
    starts = np.zeros(8, bool)
    starts[6] = True
    assert usual.repeats_of(values, starts).tolist() == [1, 2, 3, 1, 1, 1, 1, 2]


def test_a_value_is_expected_from_its_past_and_wild_ones_do_not_bend_that() -> None:
    rng = np.random.default_rng(0)
    segments = made.segments_of((3_000,), schema=made.schema_of(past=(), known=()))
    value_T = np.zeros(3_000)
    for t in range(1, 3_000):
        value_T[t] = 0.8 * value_T[t - 1] + rng.standard_normal()
    value_T[::300] = 500
    segments.target_RC[:, 0] = value_T
    found = usual.values(segments, {"train": (0, 3_000), "validation": (3_000, 3_000), "test": (3_000, 3_000)}, 24)
    assert found["columns"]["load"]["weights"][0] == pytest.approx(0.8, abs=0.05)


def test_only_training_is_looked_at() -> None:
    segments = made.segments_of((400,))
    before = usual.values(segments, BOUNDS, 6)
    segments.target_RC[300:] += 1_000
    assert usual.values(segments, BOUNDS, 6) == before


def test_validation_errors_are_told_by_target_and_how_far_ahead() -> None:
    forecast = np.zeros((50, 8, 2, 3)) + np.array([-1.0, 0.0, 1.0])
    actual = np.zeros((50, 8, 2))
    actual[:, :, 0] = np.arange(1, 9) / 4
    actual[0, 0, 1] = np.nan
    found = usual.forecasts(forecast, actual, 1, ["load", "wind"], np.array([2.0, np.nan]))
    assert found["leads"] == [[1, 1], [2, 2], [3, 4], [5, 8]]
    load = found["targets"]["load"]["groups"]
    assert [group["mae"] for group in load] == pytest.approx([0.25, 0.5, 0.875, 1.625])
    assert [group["coverage"] for group in load] == [1, 1, 1, 0]
    assert found["targets"]["wind"]["scale"] is None
    assert found["targets"]["wind"]["groups"][0]["tail"]["count"] == 49


def test_a_bundle_tells_them_as_plain_numbers() -> None:
    segments = made.segments_of((400, 400))
    config = made.make_config(model__quantiles=[0.1, 0.5, 0.9])
    found = validated.of(made.random_policy(config, segments), segments, BOUNDS)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert set(found["values"]["columns"]) == {*segments.schema.target, *segments.schema.past, *segments.schema.known}
    groups = found["forecasts"]["targets"]["load"]["groups"]
    assert all(group["mae"] > 0 and 0 <= group["coverage"] <= 1 for group in groups)


def test_sequences_that_are_classified_have_no_steps_to_watch() -> None:
    segments = made.sequences_of([12] * 8)
    policy = made.random_policy(made.classify_config(), segments)
    assert validated.of(policy, segments, BOUNDS) == {}
