"""Drift of inputs against the training part."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from lstm_ray.monitor.drift.distances import psi
from lstm_ray.monitor.drift.drift import ENOUGH, HALF_LIFE, Drift, add, count, reference, state
from tests import made

SEGMENTS = made.segments_of((2_000, 1_500), schema=made.schema_of(known=("price",)))
PARTS = {"train": (0, 1_200), "validation": (1_200, 1_500), "test": (1_500, 2_000)}
REFERENCE = reference(SEGMENTS, PARTS)


def row(drift: Drift, column: str) -> dict:
    return next(row for row in drift.rows() if row["column"] == column)


def drift_of(values: np.ndarray, column: str = "wind") -> dict:
    drift = Drift(REFERENCE)
    drift.fold(count([{column: values}], REFERENCE, len(values)))
    return row(drift, column)


def test_a_reference_is_plain_json_with_every_input_but_the_calendar() -> None:
    assert json.loads(json.dumps(REFERENCE, allow_nan=False)) == REFERENCE
    assert set(REFERENCE["columns"]) == {"load", "wind", "price"}
    for column in REFERENCE["columns"].values():
        assert sum(column["shares"]) == pytest.approx(1)
        assert len(column["shares"]) == len(column["edges"]) + 1
        assert column["edges"] == sorted(set(column["edges"]))


def test_a_reference_sees_measured_values_of_the_training_part_alone() -> None:
    train = np.concatenate([np.arange(1_200), 2_000 + np.arange(1_200)])
    measured = train[SEGMENTS.observed_RC[train, 0] > 0]
    assert REFERENCE["columns"]["wind"]["count"] == len(train)
    assert REFERENCE["columns"]["load"]["count"] == len(measured)
    assert REFERENCE["columns"]["load"]["mean"] == pytest.approx(SEGMENTS.target_RC[measured, 0].mean(), rel=1e-5)
    later = SEGMENTS.past_RP.copy()
    later[1_200:2_000] += 100
    assert reference(replace(SEGMENTS, past_RP=later), PARTS) == REFERENCE


def test_a_reference_of_dealt_series_sees_those_that_train_alone() -> None:
    whole = dict.fromkeys(PARTS, (0, 2_000))
    dealt = replace(SEGMENTS, part_S=np.array([2, 0], dtype=np.int8))
    second = reference(made.segments_of((2_000, 1_500), schema=SEGMENTS.schema), whole)["columns"]["wind"]["count"]
    assert second == 3_500
    found = reference(dealt, whole)["columns"]["wind"]
    assert found["count"] == 1_500
    assert found["mean"] == pytest.approx(SEGMENTS.past_RP[2_000:, 0].mean(dtype=np.float64))


def test_the_training_part_itself_has_not_moved() -> None:
    found = drift_of(SEGMENTS.past_RP[:1_200, 0])
    assert found["psi"] < 0.01
    assert found["state"] == "stable"


@pytest.mark.parametrize(("deviations", "expected"), [(0.35, "moderate shift"), (1.0, "shifted"), (-2.0, "shifted")])
def test_a_known_shift_is_told_in_its_size(deviations: float, expected: str) -> None:
    shift = deviations * REFERENCE["columns"]["wind"]["deviation"]
    assert drift_of(SEGMENTS.past_RP[:1_200, 0] + shift)["state"] == expected


def test_fresh_values_of_the_same_kind_rarely_look_shifted() -> None:
    random = np.random.default_rng(3)
    alarms = 0
    for _ in range(100):
        steps = np.arange(ENOUGH)
        values = 20 + 3 * np.sin(2 * np.pi * steps / 24) + random.normal(size=ENOUGH)
        alarms += drift_of(values.astype(np.float32))["state"] != "stable"
    assert alarms <= 1


def test_psi_is_zero_for_equal_shares_and_grows_with_the_distance() -> None:
    shares = [0.25, 0.25, 0.5]
    assert psi(shares, np.array([100, 100, 200])) == pytest.approx(0)
    near, far = psi(shares, np.array([120, 90, 190])), psi(shares, np.array([0, 0, 400]))
    assert 0 < near < far
    assert np.isfinite(far)


def test_a_value_that_fills_many_bins_gets_one_of_its_own() -> None:
    rain = np.where(np.arange(3_500) % 10 == 0, 0.3, 0.0)[:, None].astype(np.float32)
    found = reference(replace(SEGMENTS, past_RP=rain), PARTS)
    assert max(found["columns"]["wind"]["shares"]) == pytest.approx(0.9, abs=0.01)
    dry, wet, below = Drift(found), Drift(found), Drift(found)
    dry.fold(count([{"wind": rain[:1_200, 0]}], found, 1_200))
    wet.fold(count([{"wind": np.full(1_200, 0.3)}], found, 1_200))
    below.fold(count([{"wind": np.full(1_200, -1.0)}], found, 1_200))
    assert row(dry, "wind")["state"] == "stable"
    assert row(wet, "wind")["state"] == row(below, "wind")["state"] == "shifted"


def test_a_constant_column_is_stable_while_it_stays_and_shifted_when_it_moves() -> None:
    constant = np.full((3_500, 1), 7.1, dtype=np.float32)
    found = reference(replace(SEGMENTS, past_RP=constant), PARTS)
    for value, expected in ((7.1, "stable"), (7.0, "shifted"), (7.2, "shifted")):
        drift = Drift(found)
        drift.fold(count([{"wind": [value] * ENOUGH}], found, ENOUGH))
        assert row(drift, "wind")["state"] == expected


def test_missing_values_are_counted_and_not_binned() -> None:
    values = [None if step % 4 == 0 else 20.0 for step in range(1_000)]
    found = drift_of(np.array(values, dtype=np.float64))
    assert found["missing_share"] == 0.25
    assert found["mean"] == pytest.approx(20)


def test_a_few_values_are_not_judged() -> None:
    assert drift_of(np.full(ENOUGH - 1, 500.0))["state"] == "too little data"
    assert state(None) == "too little data"


def test_only_the_newest_steps_are_counted_and_unknown_columns_are_not() -> None:
    counts = count([{"wind": np.arange(50.0), "nothing": np.arange(50.0)}], REFERENCE, 10)
    assert list(counts) == ["wind"]
    assert counts["wind"].total == 10
    assert counts["wind"].sum == np.arange(40, 50).sum()


def test_counts_of_two_replicas_add_up_to_those_of_one() -> None:
    first, second = SEGMENTS.past_RP[:600, 0], SEGMENTS.past_RP[600:1_200, 0]
    apart = add(count([{"wind": first}], REFERENCE, 600), count([{"wind": second}], REFERENCE, 600))
    together = count([{"wind": SEGMENTS.past_RP[:1_200, 0]}], REFERENCE, 1_200)
    np.testing.assert_array_equal(apart["wind"].bins_K, together["wind"].bins_K)
    assert apart["wind"].total == together["wind"].total


def test_an_old_shift_fades_and_memory_does_not_grow() -> None:
    drift = Drift(REFERENCE)
    normal = SEGMENTS.past_RP[:1_200, 0]
    drift.fold(count([{"wind": np.tile(normal + 10, 20)}], REFERENCE, 100_000))
    assert row(drift, "wind")["state"] == "shifted"
    usual = count([{"wind": np.tile(normal, 42)}], REFERENCE, 100_000)
    for _ in range(8):
        drift.fold(usual)
    assert row(drift, "wind")["state"] == "stable"
    assert row(drift, "wind")["values"] < 3 * HALF_LIFE


def test_without_a_reference_there_is_nothing_to_tell() -> None:
    drift = Drift({})
    drift.fold(count([{"wind": [1.0]}], {}, 10))
    assert drift.rows() == []
