"""Sums by group are those of each group alone, however windows lie, are grouped, or are dealt to passes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lstm_ray.evaluate.forecasts import layout, sums
from lstm_ray.evaluate.forecasts.layout import Index, Slots, Truth
from lstm_ray.evaluate.forecasts.metrics import ForecastSums
from lstm_ray.evaluate.forecasts.sums import BIN_EDGES, Tally, forecast_sums

QUANTILES = [0.1, 0.5, 0.9]
M, H, C = 40, 6, 2
Batch = tuple[NDArray, NDArray, NDArray, NDArray]


def _batch(seed: int = 0) -> Batch:
    """Actual, observed, forecast and MASE scale of 40 windows; where not observed, the actual value is NaN."""
    rng = np.random.default_rng(seed)
    observed = (rng.random((M, H, C)) < 0.8).astype(np.float32)
    actual = np.where(observed > 0, 5 * rng.standard_normal((M, H, C)), np.nan).astype(np.float32)
    forecast = np.sort(5 * rng.standard_normal((M, H, C, 3)), axis=-1).astype(np.float32)
    return actual, observed, forecast, np.repeat([[2.0, np.nan]], M, axis=0)


def _sums(
    batch: Batch,
    rows: slice | NDArray = slice(None),
    quantiles: list[float] = QUANTILES,
    by_window: Mapping[str, Index] | None = None,
) -> dict[str, ForecastSums]:
    actual, observed, forecast, scale = (part[rows] for part in batch)
    forecast = forecast if len(quantiles) > 1 else forecast[..., [1]]
    groups = {name: (index[rows], num) for name, (index, num) in (by_window or {}).items()}
    return forecast_sums(actual, observed, forecast, quantiles, scale, groups, scale)


def _assert_same(one: ForecastSums, other: ForecastSums) -> None:
    """To what float32 can tell: sums of errors of either sign cancel, so their size is that of the errors."""
    for name, values in one.sums.items():
        size = one.sums["absolute"].max() * 1e-6 if name == "error" else 0
        np.testing.assert_allclose(other.sums[name], values, rtol=2e-6, atol=size, err_msg=name)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=M, max_size=M), st.integers(0, 3))
def test_any_partition_of_the_windows_merges_to_the_same(part_of: list[int], seed: int):
    batch, part = _batch(seed), np.asarray(part_of)
    groups = {"g": (np.arange(M) % 3, 3)}
    whole = _sums(batch, by_window=groups)
    merged: dict[str, ForecastSums] = {}
    for index in np.unique(part):
        one = _sums(batch, np.flatnonzero(part == index), by_window=groups)
        merged = {name: merged[name] + found for name, found in one.items()} if merged else one
    for name, found in whole.items():
        _assert_same(found, merged[name])


@pytest.mark.parametrize("shape", [(M,), (M, C)])
def test_a_group_of_windows_is_scored_as_if_it_were_alone(shape: tuple[int, ...]):
    actual, observed, forecast, scale = batch = _batch()
    group = np.random.default_rng(1).integers(0, 4, shape)
    found = _sums(batch, by_window={"g": (group, 4)})["g"]
    inside = np.broadcast_to((group == 2).reshape(M, -1), (M, C))[:, None]
    alone = _sums((actual, observed * inside, forecast, scale))["horizon"]
    for name, value in alone.metrics().items():
        assert found.rows(name)[2] == pytest.approx(value, rel=1e-5), name


def test_few_groups_of_very_many_are_found_where_they_belong():
    batch, places = _batch(), np.array([3, 999_999])
    found = _sums(batch, by_window={"g": (places[np.arange(M) % 2], 1_000_000)})["g"]
    few = _sums(batch, by_window={"g": (np.arange(M) % 2, 2)})["g"]
    for name, values in few.sums.items():
        np.testing.assert_array_equal(found.sums[name][places], values, err_msg=name)
        assert np.count_nonzero(found.sums[name].any(axis=1)) <= 2


ORIGINS = {
    "one run": np.arange(M) + 7,
    "two runs": np.concatenate([np.arange(15), np.arange(30, 30 + M - 15)]),
    "nearly a run": np.delete(np.arange(M + 1), 20),
    "far apart": np.arange(M) * 50,
    "every other": np.arange(M) * 2,
}


@pytest.mark.parametrize("where", ORIGINS)
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("quantiles", [[0.5], QUANTILES])
def test_steps_are_grouped_by_their_row_however_windows_lie(
    monkeypatch: pytest.MonkeyPatch, where: str, channels: int, quantiles: list[float]
):
    monkeypatch.setattr(layout, "MOST_SLOTS", 2)
    origins_M, num = ORIGINS[where], 5
    actual, observed, forecast, scale = (part[:, ..., :channels] if part.ndim < 4 else part for part in _batch())
    forecast = forecast[:, :, :channels] if len(quantiles) > 1 else forecast[:, :, :channels, [1]]
    truth = Truth.of(
        actual, observed, scale, scale, {}, origins_M, lambda rows: {"g": (rows % num, num), "h": (rows // 9 % 2, 2)}
    )
    assert (truth.slots.row_W is None) == (where in ("far apart", "every other"))
    tally = Tally(quantiles)
    tally.add(truth, truth.sums().by_group(), forecast)
    group_MH = (origins_M[:, None] + np.arange(1, H + 1)) % num
    for g in range(num):
        inside = (group_MH == g)[..., None]
        alone = forecast_sums(actual, observed * inside, forecast, quantiles, scale, None, scale)["horizon"]
        for name, values in alone.total().sums.items():
            found = tally.by()["g"].sums[name][[g]]
            np.testing.assert_allclose(found, values, rtol=1e-5, atol=1e-4, err_msg=name)


def test_slots_keep_a_diagonal_for_each_row_and_give_up_where_windows_are_far_apart():
    slots = Slots.of(np.array([4, 5, 6, 20, 21]), 3)
    assert slots.row_W is not None
    assert slots.row_W.tolist() == [5, 6, 7, 8, 9, 21, 22, 23, 24]
    np.testing.assert_array_equal(slots.slot_M, [0, 1, 2, 5, 6])
    assert Slots.of(np.arange(5) * 100, 50).row_W is None


def test_values_held_at_once_do_not_change_a_sum(monkeypatch: pytest.MonkeyPatch):
    groups = {"g": (np.random.default_rng(1).integers(0, 4, M), 4)}
    whole = _sums(_batch(), by_window=groups)
    monkeypatch.setattr(sums, "VALUES_AT_A_TIME", 7 * H * C)
    found = _sums(_batch(), by_window=groups)
    monkeypatch.setattr(sums, "VALUES_AT_A_TIME", 1)
    for name, expected in whole.items():
        _assert_same(expected, found[name])
        _assert_same(expected, _sums(_batch(), by_window=groups)[name])


@pytest.mark.parametrize("size", [1e-15, 1e-3, 1e9, 1e15])
def test_values_of_any_size_keep_their_relative_errors(size: float):
    """Squares of what float32 holds may be beyond it."""
    actual, observed, forecast, scale = _batch()
    scaled = _sums((size * actual.astype(np.float64), observed, size * forecast.astype(np.float64), scale))
    expected = _sums(_batch())["horizon"].total().metrics()
    found = scaled["horizon"].in_units_of(np.full(C, size)).total().metrics()
    for name in ("mae", "rmse", "mape", "smape", "wape", "weighted_quantile_loss", "crps"):
        assert found[name] == pytest.approx(expected[name], rel=1e-5), name


def test_near_zeros_and_near_constant_series_overflow_nothing():
    """What divides by them is left out, or worked on with more digits."""
    actual, observed, forecast, _ = _batch()
    tiny = np.where(np.arange(M)[:, None, None] % 2, actual, 1e-37).astype(np.float32)
    found = _sums((tiny, observed, forecast, np.full((M, C), 1e-30)))["horizon"].total()
    assert found.zero_actuals == int(observed[::2].sum())
    some, told = actual[1::2], forecast[1::2, ..., 1]
    assert found.metrics()["mape"] == pytest.approx(100 * np.nanmean(np.abs(told - some) / np.abs(some)), rel=1e-5)
    error = np.abs(np.where(observed > 0, tiny, np.nan) - forecast[..., 1]).astype(np.float64)
    assert found.metrics()["rmsse"] == pytest.approx(np.sqrt(np.nanmean(error**2)) / 1e-30, rel=1e-5)


def test_residuals_are_counted_in_the_bin_they_fall_in_and_the_ends_hold_what_is_beyond():
    actual, observed, forecast, scale = _batch()
    deviation = np.array([2.0, 3.0])
    truth = Truth.of(actual, observed, scale, scale, {}, np.arange(M), lambda rows: {"g": (0 * rows, 1)})
    tally = Tally(QUANTILES, deviation)
    tally.add(truth, truth.sums().by_group(), forecast)
    residual = ((actual - forecast[..., 1]) / deviation)[observed > 0]
    expected, _ = np.histogram(np.clip(residual, BIN_EDGES[0], BIN_EDGES[-1]), BIN_EDGES)
    np.testing.assert_array_equal(tally.histogram_B, expected)


def test_an_empty_group_and_an_empty_batch_give_none_and_never_nan():
    batch = _batch()
    found = _sums(batch, by_window={"g": (np.zeros(M, np.int64), 3)})["g"]
    assert found.rows("mae")[1:] == [None, None]
    actual, observed, forecast, scale = batch
    nothing = _sums((actual, 0 * observed, forecast, scale))["horizon"]
    assert set(nothing.metrics().values()) == {None}
    assert set(_sums(batch, slice(0, 0))["horizon"].metrics().values()) == {None}


def test_mase_leaves_out_series_without_a_scale():
    actual, observed, forecast, _ = batch = _batch()
    seen = observed[..., 0] > 0
    error = np.abs(actual - forecast[..., 1])[..., 0][seen]
    found = _sums(batch)["horizon"].metrics()
    assert found["mase"] == pytest.approx(error.mean() / 2.0, rel=1e-6)
    assert found["rmsse"] == pytest.approx(np.sqrt((error**2).mean()) / 2.0, rel=1e-6)


def test_scaled_errors_are_the_errors_of_standardised_values():
    actual, observed, forecast, _ = batch = _batch()
    deviation = np.array([2.0, 7.0])
    seen = observed > 0
    error = ((actual - forecast[..., 1]) / deviation)[seen]
    found = _sums(batch)["horizon"]
    scaled = found.scaled(deviation)
    assert scaled["mae"] == pytest.approx(np.abs(error).mean(), rel=1e-6)
    assert scaled["mse"] == pytest.approx((error**2).mean(), rel=1e-6)
    width = (forecast[..., 2] - forecast[..., 0]) / deviation
    standard, own = found.in_units_of(deviation).metrics(), found.metrics()
    assert standard["interval_width"] == pytest.approx(width[seen].mean(), rel=1e-6)
    for name in ("smape", "mape", "mase", "rmsse", "coverage", "msis"):
        assert standard[name] == own[name], f"{name} has no unit"


def test_channels_are_told_apart():
    actual, _, forecast, _ = batch = _batch()
    error = np.abs(actual - forecast[..., 1])
    found = _sums(batch)["horizon"].by_channel().rows("mae")
    assert found == pytest.approx([np.nanmean(error[..., 0]), np.nanmean(error[..., 1])], rel=1e-6)


def test_sums_of_other_quantiles_do_not_merge():
    with pytest.raises(AssertionError, match="quantiles differ"):
        _sums(_batch())["horizon"] + _sums(_batch(), quantiles=[0.5])["horizon"]
