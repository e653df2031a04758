"""Steps to times, and values to deviations and their sums."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstm_ray.data.scaling.transform import Transform
from lstm_ray.data.schema import ColumnScale, Fence, Scaler, SeriesUnits, Units, own_units
from tests.made import START, in_logarithms, scaler_of, schema_of, segments_of


def test_steps_become_times_on_the_common_axis() -> None:
    expected = (START + np.array([0, 5, 24])).astype("datetime64[us]")
    np.testing.assert_array_equal(schema_of().times(np.array([0, 5, 24])), expected)
    np.testing.assert_array_equal(schema_of(is_time=False).times(np.array([0, 5])), [0, 5])


def test_known_inputs_count_two_waves_for_each_cycle() -> None:
    schema = schema_of(known=["price"], calendar=["hour", "weekday"])
    assert schema.num_known == 5
    assert schema.calendar_features(schema.times(np.arange(3))).shape == (3, 4)
    assert schema_of(is_time=False).calendar_features(np.arange(3)).shape == (3, 0)


def test_the_calendar_follows_the_clock_of_its_zone() -> None:
    schema = schema_of(calendar=["hour"])
    times = schema.times(np.array([0, 24 * 31]))  # the first of March, and the first of April, at midnight of UTC
    berlin = schema.model_copy(update={"time_zone": "Europe/Berlin"}).calendar_features(times)
    expected = schema.calendar_features(times + np.array([1, 2], "timedelta64[h]"))
    np.testing.assert_array_equal(berlin, expected)


def test_holidays_are_one_more_known_column_on_the_local_clock() -> None:
    dates = {"holidays": ["2024-12-25"], "time_zone": "Asia/Tokyo"}
    schema = schema_of(known=["price"], calendar=["hour"]).model_copy(update=dates)
    assert schema.num_known == 4
    hours = np.arange("2024-12-24T12", "2024-12-26T00", dtype="datetime64[h]").astype("datetime64[us]")
    found = schema.calendar_features(hours)
    assert found.shape == (36, 3)
    assert hours[found[:, 2] == 1].astype("datetime64[h]").astype(str).tolist() == [
        *(f"2024-12-24T{hour}" for hour in range(15, 24)),
        *(f"2024-12-25T{hour:02d}" for hour in range(15)),
    ]
    alone = schema.model_copy(update={"calendar": []})
    np.testing.assert_array_equal(alone.calendar_features(hours), found[:, 2:])


def test_steps_of_months_are_the_first_of_each_whatever_its_length() -> None:
    months = {"in_months": True, "step": 1, "axis_start": 54 * 12, "holidays": ["2024-01-01", "2024-02-29"]}
    schema = schema_of(calendar=["month"], is_time=False).model_copy(update={**months, "calendar": ["month"]})
    assert schema.has_dates
    times = schema.times(np.arange(4))
    assert times.astype("datetime64[D]").astype(str).tolist() == [
        "2024-01-01",
        "2024-02-01",
        "2024-03-01",
        "2024-04-01",
    ]
    np.testing.assert_array_equal(schema.ticks(times + np.timedelta64(27, "D")), 54 * 12 + np.arange(4))
    found = schema.calendar_features(times)
    assert found[:, 2].tolist() == [1, 1, 0, 0]
    np.testing.assert_allclose(found[3, :2], [1, 0], atol=1e-6)


def test_ticks_are_what_times_are_made_of() -> None:
    for schema in (schema_of(), schema_of(is_time=False)):
        ticks = np.array([schema.axis_start, schema.axis_start + 7 * schema.step])
        np.testing.assert_array_equal(schema.ticks(schema.of_ticks(ticks)), ticks)


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
    return in_logarithms(Scaler(target=raw, past=none, known=none), offset, 3.0, 1.5)


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
    scaler = logarithmic() if log else logarithmic().model_copy(update={"transform": None, "read": {}})
    centre = np.array([scaler.centre("target")], np.float32)
    np.testing.assert_allclose(scaler.scale(centre, "target"), 0, atol=1e-5)
    np.testing.assert_array_equal(scaler.scale(np.full((1, 2), np.nan), "target"), 0)


@pytest.mark.parametrize("log", [False, True])
def test_a_forecast_moved_by_its_error_is_the_actual_value(log: bool) -> None:
    scaler = logarithmic() if log else logarithmic().model_copy(update={"transform": None, "read": {}})
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


def transformed(kind: str, power: float) -> Scaler:
    """Targets around 100, learned by a power."""
    none, raw = ColumnScale(mean=[], deviation=[]), ColumnScale(mean=[100.0], deviation=[50.0])
    least = {"log": 0.0, "log1p": -0.9, "box_cox": 0.01, "yeo_johnson": 0.0}[kind]
    unit, offset = (50.0, 0.0) if kind == "yeo_johnson" else (1.0, float(kind in ("log", "log1p")))
    transform = Transform(kind=kind, power=[power], offset=[offset], least=[least], unit=[unit])  # type: ignore[arg-type]
    units = Units(zero=[2.0], unit=[3.0], typical=[2.0], spread=[3.0])
    return Scaler(target=raw, past=none, known=none, transform=transform, read={"target": units})


EVERY_TRANSFORM = [
    ("log", 0.0),
    ("log1p", 0.0),
    *(("box_cox", power) for power in (0.0, 0.3, 1.0, 2.0)),
    *(("yeo_johnson", power) for power in (0.0, 0.7, 1.0, 1.4, 2.0)),
]
HIGHEST = float(np.finfo(np.float32).max)


@pytest.mark.parametrize(("kind", "power"), EVERY_TRANSFORM)
@given(st.lists(st.floats(0.015625, 1e4, width=32), min_size=2, max_size=20))
def test_every_transform_is_taken_back_and_keeps_the_order(kind: str, power: float, values: list[float]) -> None:
    scaler, given_TC = transformed(kind, power), np.sort(np.array(values, np.float32))[:, None]
    signed = kind == "yeo_johnson"
    for sign in (1, -1) if signed else (1,):
        scaled = scaler.scale(sign * given_TC, "target")
        assert scaled.dtype == np.float32
        assert (sign * np.diff(scaled[:, 0]) >= 0).all()
        # What is scaled has float32's digits, and so has each value as far as one of them moves it.
        step = np.abs(scaler.unscale(scaled + 4e-7 * (1 + np.abs(scaled))) - scaler.unscale(scaled))
        assert (np.abs(scaler.unscale(scaled) - sign * given_TC) <= step + 1e-6 * given_TC).all()
        both = scaler.unscale(np.stack([scaled, scaled + 1], axis=-1), quantile_axis=True)
        assert both.shape == (len(values), 1, 2)
        np.testing.assert_array_equal(both[..., 0], scaler.unscale(scaled))
        assert (both[..., 0] <= both[..., 1]).all()


@pytest.mark.parametrize(("kind", "power"), EVERY_TRANSFORM)
def test_what_a_transform_cannot_take_is_read_as_the_least_it_can_and_no_answer_is_infinite(
    kind: str, power: float
) -> None:
    scaler = transformed(kind, power)
    assert scaler.transform is not None
    given_TC = np.array([[-1e30], [-5.0], [scaler.transform.least[0]], [np.nan]], np.float32)
    scaled = scaler.scale(given_TC, "target")
    assert np.isfinite(scaled).all()
    assert scaled[3] == 0, "missing is the typical value"
    if kind != "yeo_johnson":
        np.testing.assert_allclose(scaled[:2], scaled[[2, 2]], rtol=1e-6)
    back = scaler.unscale(np.array([[-1e6], [-1e3], [0.0], [1e3], [1e6]], np.float32))
    assert back.dtype == np.float32
    assert (np.abs(back) <= HIGHEST).all()
    assert (np.diff(back[:, 0]) >= 0).all()
    if kind != "yeo_johnson":
        assert back[0] == np.float32(scaler.transform.least[0])


@pytest.mark.parametrize(("kind", "power"), EVERY_TRANSFORM)
def test_errors_of_what_is_learned_lead_back_to_the_actual_value(kind: str, power: float) -> None:
    scaler = transformed(kind, power)
    forecast, actual = np.array([[5.0]], np.float32), np.array([[80.0]], np.float32)
    np.testing.assert_allclose(scaler.moved(forecast, scaler.difference(actual, forecast)), actual, rtol=1e-5)


def test_values_beyond_a_fence_are_read_as_the_fence() -> None:
    scaler = scaler_of(segments_of()).model_copy(update={"fences": None})
    fence = {role: Fence(low=[15.0], high=[25.0]) for role in ("target", "past", "known")}
    fenced = scaler.model_copy(update={"fences": fence})
    given_TC = np.array([[-1e9], [20.0], [1e9], [np.nan]], np.float32)
    expected = scaler.scale(np.array([[15.0], [20.0], [25.0], [np.nan]], np.float32), "target")
    np.testing.assert_array_equal(fenced.scale(given_TC, "target"), expected)


def by_series(scale: str = "standard") -> Scaler:
    none, raw = ColumnScale(mean=[], deviation=[]), ColumnScale(mean=[100.0, 7.0], deviation=[300.0, 3.0])
    series = SeriesUnits(of={"a": [1.0, 2.0, 0.5, 0.25]}, scale=scale, steps=12)  # type: ignore[arg-type]
    return Scaler(target=raw, past=none, known=none, series=series)


def test_a_series_is_told_in_its_own_units_an_unknown_one_in_those_of_its_history() -> None:
    scaler = by_series()
    history_LC = np.stack([np.arange(12.0), np.full(12, 4.0)], axis=1)
    short = np.where(np.arange(12)[:, None] < 7, history_LC, np.nan)
    own = scaler.own(["a", "b", "c"], lambda b: [history_LC, history_LC, short][b])
    assert own is not None
    np.testing.assert_allclose(own.zero_BC, [[1, 2], [5.5, 7], [100, 7]])
    np.testing.assert_allclose(own.unit_BC, [[0.5, 0.25], [np.arange(12).std(), 3], [300, 3]], rtol=1e-6)
    values = np.random.default_rng(0).normal(5, 2, (3, 4, 2)).astype(np.float32)
    scaled = scaler.scale(values, "target", own)
    np.testing.assert_allclose(scaled[0], (values[0] - [1, 2]) / [0.5, 0.25], rtol=1e-5)
    np.testing.assert_allclose(scaled[2], scaler.scale(values[2], "target"))
    np.testing.assert_allclose(scaler.unscale(scaled, own=own), values, rtol=1e-5)
    stacked = np.stack([scaled, scaled + 1], axis=-1)
    unscaled = scaler.unscale(stacked, quantile_axis=True, own=own)
    np.testing.assert_allclose(unscaled[..., 0], values, rtol=1e-5)
    np.testing.assert_allclose(
        unscaled[..., 1] - unscaled[..., 0], np.broadcast_to(own.across(3)[1], (3, 4, 2)), rtol=1e-4
    )
    forecast, actual = values, values + 1
    np.testing.assert_allclose(scaler.moved(forecast, scaler.difference(actual, forecast, own), own), actual, rtol=1e-5)
    assert by_series().model_copy(update={"series": None}).own(["a"], lambda b: history_LC) is None


def test_units_of_a_history_follow_the_scale_and_need_values_that_differ() -> None:
    values = np.array([0.0, 1, 2, 3, 4, 5, 6, 17])
    assert own_units(values, "standard") == pytest.approx((values.mean(), values.std()))
    assert own_units(values, "minmax") == (0, 17)
    assert own_units(values, "robust") == pytest.approx((3.5, 3.5 / 1.349))
    assert own_units(np.array([0.0] * 9 + [4.0]), "robust") == pytest.approx((0, 1.2))
    assert own_units(values[:7], "standard") is None
    assert own_units(np.full(20, 1e6), "standard") is None
