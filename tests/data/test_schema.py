"""Steps to times, and values to deviations and their sums."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstm_ray.data.schema import ColumnScale, Scaler, column_scale
from tests.made import START, scaler_of, schema_of, segments_of


def test_steps_become_times_on_the_common_axis() -> None:
    expected = (START + np.array([0, 5, 24])).astype("datetime64[us]")
    np.testing.assert_array_equal(schema_of().times(np.array([0, 5, 24])), expected)
    np.testing.assert_array_equal(schema_of(is_time=False).times(np.array([0, 5])), [0, 5])


def test_known_inputs_count_two_waves_for_each_cycle() -> None:
    schema = schema_of(known=["price"], calendar=["hour", "weekday"])
    assert schema.num_known == 5
    assert schema.calendar_features(schema.times(np.arange(3))).shape == (3, 4)
    assert schema_of(is_time=False).calendar_features(np.arange(3)).shape == (3, 0)


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=40), st.integers(0, 40))
def test_sums_of_parts_give_the_scale_of_the_whole(values: list[float], cut: int) -> None:
    whole = np.array(values)
    parts = [whole[:cut], whole[cut:]]
    sums = (np.array([float(sum(f(part) for part in parts))]) for f in (len, np.sum, lambda part: (part**2).sum()))
    scale = column_scale(*sums)
    assert scale.mean[0] == pytest.approx(whole.mean(), rel=1e-6, abs=1e-6)
    if whole.std() > 1e-2:
        assert scale.deviation[0] == pytest.approx(whole.std(), rel=1e-4)


def test_a_column_that_never_varies_or_never_comes_is_left_in_its_units() -> None:
    constant = column_scale(np.array([4.0, 0.0]), np.array([20.0, 0.0]), np.array([100.0, 0.0]))
    assert constant == ColumnScale(mean=[5.0, 0.0], deviation=[1.0, 1.0])


@pytest.mark.parametrize("unit", [1e-12, 1.0, 1e12])
def test_units_do_not_decide_what_is_constant(unit: float) -> None:
    values = np.array([[3.0, 5.0], [3.0, 5.0 + 1e-3], [3.0, 5.0 - 1e-3]]) * unit
    scale = column_scale(np.full(2, 3.0), values.sum(0), (values**2).sum(0))
    assert scale.deviation[0] == 1.0
    assert scale.deviation[1] == pytest.approx(values[:, 1].std(), rel=1e-3)


def test_scaling_standardises_and_reads_missing_as_the_mean() -> None:
    segments = segments_of()
    scaler = scaler_of(segments)
    scaled = scaler.scale(segments.target_RC, "target")
    assert scaled.dtype == np.float32
    np.testing.assert_allclose([scaled.mean(), scaled.std()], [0, 1], atol=1e-4)
    assert scaler.scale(np.array([[np.nan]]), "target") == 0
    back = scaled * scaler.target_deviation + scaler.target_mean
    np.testing.assert_allclose(back, segments.target_RC, rtol=1e-5)


def test_calendar_columns_are_not_scaled() -> None:
    segments = segments_of(schema=schema_of(known=["price"]))
    scaled = segments.scaled(scaler_of(segments))
    np.testing.assert_array_equal(scaled.known_RK[:, 1:], segments.known_RK[:, 1:])
    assert abs(scaled.known_RK[:, 0].mean()) < 1e-4


def test_a_scaler_survives_its_round_trip_exactly() -> None:
    scaler = scaler_of(segments_of())
    assert Scaler.model_validate_json(scaler.model_dump_json()) == scaler
