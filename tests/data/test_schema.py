"""Steps to times, and values to deviations and their sums."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstm_ray.data.schema import ColumnScale, LogScale, Scaler, column_scale
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
    np.testing.assert_array_equal(scaler.unscale(scaled), back)


def test_calendar_columns_are_not_scaled() -> None:
    segments = segments_of(schema=schema_of(known=["price"]))
    scaled = segments.scaled(scaler_of(segments))
    np.testing.assert_array_equal(scaled.known_RK[:, 1:], segments.known_RK[:, 1:])
    assert abs(scaled.known_RK[:, 0].mean()) < 1e-4


def test_a_scaler_survives_its_round_trip_exactly() -> None:
    scaler = scaler_of(segments_of())
    assert Scaler.model_validate_json(scaler.model_dump_json()) == scaler


def logarithmic(offset: float = 2.0) -> Scaler:
    none, raw = ColumnScale(mean=[], deviation=[]), ColumnScale(mean=[100.0, 7.0], deviation=[300.0, 3.0])
    log = LogScale(offset=[offset, 1.0], mean=[3.0, 2.0], deviation=[1.5, 0.5])
    return Scaler(target=raw, past=none, known=none, log=log)


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=20))
def test_logarithms_are_taken_back_and_zeros_are_fine(values: list[float]) -> None:
    scaler, given_TC = logarithmic(), np.array(values, dtype=np.float32)[:, None].repeat(2, 1)
    scaled = scaler.scale(given_TC, "target")
    assert scaled.dtype == np.float32
    np.testing.assert_allclose(scaled[:, 0], (np.log(np.array(values) + 2) - 3) / 1.5, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(scaler.unscale(scaled), given_TC, rtol=1e-3, atol=1e-4)
    quantiles = scaler.unscale(np.stack([scaled - 1, scaled], axis=-1), quantile_axis=True)
    np.testing.assert_array_equal(quantiles[..., 1], scaler.unscale(scaled))
    assert (quantiles[..., 0] <= quantiles[..., 1]).all()


def test_forecasts_of_logarithms_are_finite_and_never_below_0() -> None:
    scaler = logarithmic()
    extreme = scaler.unscale(np.array([[-1e4, -1e4], [1e4, 1e4]], np.float32))
    assert (extreme[0] == 0).all()
    assert np.isfinite(extreme).all()
    np.testing.assert_array_equal(
        scaler.scale(np.array([[-5.0, 0.0]]), "target"), scaler.scale(np.zeros((1, 2)), "target")
    )


@pytest.mark.parametrize("log", [False, True])
def test_the_centre_is_what_scaling_turns_into_0_as_it_does_missing_values(log: bool) -> None:
    scaler = logarithmic() if log else logarithmic().model_copy(update={"log": None})
    centre = np.array([scaler.centre("target")], np.float32)
    np.testing.assert_allclose(scaler.scale(centre, "target"), 0, atol=1e-5)
    np.testing.assert_array_equal(scaler.scale(np.full((1, 2), np.nan), "target"), 0)


@pytest.mark.parametrize("log", [False, True])
def test_a_forecast_moved_by_its_error_is_the_actual_value(log: bool) -> None:
    scaler = logarithmic() if log else logarithmic().model_copy(update={"log": None})
    forecast, actual = np.array([[5.0, 9.0]], np.float32), np.array([[80.0, 0.0]], np.float32)
    np.testing.assert_allclose(
        scaler.moved(forecast, scaler.difference(actual, forecast)), actual, rtol=1e-4, atol=1e-4
    )
    tenfold = scaler.moved(forecast * 10, scaler.difference(actual, forecast))[0, 0]
    assert tenfold == pytest.approx(52 * 82 / 7 - 2 if log else 125, rel=1e-4)


def test_statistics_of_the_raw_values_do_not_change_with_logarithms() -> None:
    scaler = logarithmic()
    np.testing.assert_array_equal(scaler.target_mean, [100, 7])
    np.testing.assert_array_equal(scaler.target_deviation, [300, 3])
