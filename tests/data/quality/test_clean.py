"""Outliers told by hand, one window at a time; raw values stay, and the future tells nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lstm_ray.data.quality.clean import LONGEST, MOST, Cleaning, add, cleaned, count, lookback, rolling, seen
from lstm_ray.data.quality.impute import Filling
from lstm_ray.data.schema import Fence, Scaler
from lstm_ray.data.windows import Segments
from tests import made
from tests.made import make_config

NAN = np.float32(np.nan)
VALUES = arrays(np.float32, st.integers(1, 40), elements=st.sampled_from([NAN, 0, 1, 2, 3.5, 90]))
FENCES = {
    "target": Fence(low=[10.0], high=[30.0]),
    "past": Fence(low=[0.0], high=[40.0]),
    "known": Fence(low=[], high=[]),
}


def scaler_of(segments: Segments, method: str = "z", action: str = "mask", **values: Any) -> Scaler:
    given = {"method": method, "action": action, "deviations": 3.0, "steps": 9, "filling": Filling()} | values
    fences = None if method == "hampel" else FENCES
    return made.scaler_of(segments).model_copy(update={"cleaning": Cleaning(**given), "fences": fences})


def spiked(at: int = 100, value: float = 500.0) -> Segments:
    """Segments whose every value is measured, but for 5 steps from 110 on, with one spike."""
    segments = made.segments_of((240, 60))
    target_RC, observed_RC = segments.target_RC.copy(), np.ones_like(segments.observed_RC)
    observed_RC[110:115] = 0
    target_RC[at] = value
    return replace(segments, target_RC=target_RC, observed_RC=observed_RC)


@given(VALUES, st.lists(st.integers(0, 40), max_size=4), st.integers(5, 12))
def test_rolling_medians_are_those_of_each_steps_last_values(values_R: np.ndarray, cuts: list[int], steps: int) -> None:
    bounds = np.array(sorted([0, len(values_R), *(min(cut, len(values_R)) for cut in cuts)]))
    median_R, spread_R = rolling(values_R, bounds, steps)
    for row in range(len(values_R)):
        start = max(bounds[bounds <= row].max(), row - steps + 1)
        told = values_R[start : row + 1][~np.isnan(values_R[start : row + 1])]
        expected = (0, 0) if len(told) < 5 else (np.median(told), np.median(np.abs(told - np.median(told))))
        np.testing.assert_allclose((median_R[row], spread_R[row]), expected, rtol=1e-6)


@pytest.mark.parametrize("rows", [1, 60, 250])
def test_segments_are_seen_in_chunks_as_whole(monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    segments = made.segments_of((50, 0, 100, 3, 240))
    scaler = scaler_of(segments, "hampel")
    whole = seen(segments, scaler)
    monkeypatch.setattr("lstm_ray.data.room.CHUNK_ROWS", rows)
    monkeypatch.setattr("lstm_ray.data.room.MAPPED_FROM_BYTES", 100)
    for name in ("target_RC", "past_RP", "observed_RC"):
        np.testing.assert_array_equal(getattr(seen(segments, scaler), name), getattr(whole, name))


def test_long_columns_are_looked_at_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    values_R = np.random.default_rng(0).normal(size=300).astype(np.float32)
    whole = rolling(values_R, np.array([0, 200, 300]), 20)
    monkeypatch.setattr("lstm_ray.data.quality.clean.AT_A_TIME", 20 * 7)
    np.testing.assert_array_equal(rolling(values_R, np.array([0, 200, 300]), 20), whole)


@pytest.mark.parametrize("method", ["z", "iqr", "hampel"])
def test_a_masked_outlier_is_imputed_and_marked_unobserved(method: str) -> None:
    segments = spiked()
    found = seen(segments, scaler_of(segments, method))
    assert found.target_RC[100, 0] == found.target_RC[99, 0]
    assert found.observed_RC[100, 0] == 0
    assert segments.target_RC[100, 0] == 500, "truth keeps what was measured"
    assert segments.observed_RC[100, 0] == 1
    other = np.arange(300) != 100
    if method == "z":
        told = other & (segments.observed_RC[:, 0] > 0)
        np.testing.assert_array_equal(found.target_RC[told], segments.target_RC[told])
        np.testing.assert_array_equal(found.observed_RC[other], segments.observed_RC[other])


def test_what_a_masked_outlier_filled_is_filled_anew() -> None:
    segments = spiked(109)
    found = seen(segments, scaler_of(segments))
    np.testing.assert_array_equal(found.target_RC[109:115], np.full((6, 1), segments.target_RC[108, 0]))


def test_hampels_clip_is_the_nearest_value_that_is_no_outlier() -> None:
    segments = spiked()
    found = seen(segments, scaler_of(segments, "hampel", "clip"))
    window = segments.target_RC[92:101, 0]
    limit = np.median(window) + 3 * 1.4826 * np.median(np.abs(window - np.median(window)))
    assert found.target_RC[100, 0] == pytest.approx(limit, rel=1e-6)
    np.testing.assert_array_equal(found.observed_RC, segments.observed_RC)


def test_fences_are_clipped_by_the_scaler_alone() -> None:
    segments = spiked()
    scaler = scaler_of(segments, "z", "clip")
    np.testing.assert_array_equal(seen(segments, scaler).target_RC, segments.target_RC)
    assert segments.scaled(scaler).target_RC[100] == scaler.scale(np.array([[30.0]], np.float32), "target")[0]


def test_a_series_that_is_mostly_one_value_has_no_outliers_of_its_own() -> None:
    segments = made.segments_of((60,))
    rain = np.where(np.arange(60) % 7 == 3, 20.0, 0.0).astype(np.float32)[:, None]
    segments = replace(segments, target_RC=rain, observed_RC=np.ones_like(rain))
    np.testing.assert_array_equal(seen(segments, scaler_of(segments, "hampel")).target_RC, rain)


@pytest.mark.parametrize("how", ["forward", "seasonal", "mean", "median", "zero", "constant"])
@pytest.mark.parametrize("action", ["mask", "clip"])
@pytest.mark.parametrize("method", ["z", "hampel"])
def test_the_future_changes_nothing_in_what_is_seen_of_the_past(method: str, action: str, how: Any) -> None:
    segments = spiked()
    scaler = scaler_of(segments, method, action, filling=Filling(how=how, season=24))
    later = segments.target_RC.copy()
    later[105:240] = -1e6
    before, after = (seen(replace(segments, target_RC=one), scaler) for one in (segments.target_RC, later))
    for rows in (slice(0, 105), slice(240, 300)):
        np.testing.assert_array_equal(before.target_RC[rows], after.target_RC[rows])
        np.testing.assert_array_equal(before.observed_RC[rows], after.observed_RC[rows])


@pytest.mark.parametrize("method", ["z", "hampel"])
def test_each_series_is_seen_alone_as_among_others(method: str) -> None:
    segments = spiked(250)
    scaler = scaler_of(segments, method)
    whole = seen(segments, scaler)
    alone = seen(segments.stretches(np.array([[240, 300]])), scaler)
    np.testing.assert_array_equal(alone.target_RC, whole.target_RC[240:])
    np.testing.assert_array_equal(alone.observed_RC, whole.observed_RC[240:])
    assert whole.observed_RC[250] == 0


@pytest.mark.parametrize("how", ["forward", "seasonal"])
@pytest.mark.parametrize(("method", "action"), [("hampel", "mask"), ("hampel", "clip"), ("z", "mask"), ("z", "clip")])
def test_what_lies_further_back_than_the_lookback_changes_no_window(how: Any, method: str, action: str) -> None:
    segments = made.segments_of((700,))
    target_RC, observed_RC = segments.target_RC.copy(), np.ones_like(segments.observed_RC)
    observed_RC[380:403] = 0  # a gap into the window, longer than Hampel looks back
    target_RC[360:380] = 500  # and a run of outliers before it
    segments = replace(segments, target_RC=target_RC, observed_RC=observed_RC)
    scaler = scaler_of(segments, method, action, filling=Filling(how=how, season=4))
    first = max(400 - lookback(scaler), 0)
    assert first or action == "mask"
    cut = seen(segments.stretches(np.array([[first, 500]])), scaler)
    np.testing.assert_array_equal(cut.target_RC[400 - first :], seen(segments, scaler).target_RC[400:500])


@pytest.mark.parametrize(
    ("method", "action", "steps"), [("z", "clip", 0), ("z", "mask", MOST), ("hampel", "clip", 8 + MOST)]
)
def test_means_reach_back_as_far_as_is_read(method: str, action: str, steps: int) -> None:
    assert lookback(scaler_of(spiked(), method, action, filling=Filling(how="mean"))) == steps


def test_nothing_is_done_where_outliers_are_kept() -> None:
    segments = spiked()
    scaler = made.scaler_of(segments)
    assert seen(segments, scaler) is segments
    assert count(segments, scaler) == {}
    assert lookback(scaler) == 0
    assert Cleaning.of(make_config().preprocess, make_config().window) is None


def test_past_inputs_of_labelled_steps_are_marked_where_they_are_masked() -> None:
    segments = made.labelled_of()
    past_RP = segments.past_RP.copy()
    past_RP[50] = 900
    segments = replace(segments, past_RP=past_RP, observed_RC=np.ones_like(segments.observed_RC))
    found = seen(segments, scaler_of(segments))
    assert found.past_RP[50, 0] == segments.past_RP[49, 0]
    assert found.observed_RC[50, 0] == 0
    assert found.label_R is segments.label_R


def test_a_mean_that_is_not_causal_stays_in_gaps_and_is_of_what_came_before_under_masks() -> None:
    segments = spiked()
    scaler = scaler_of(segments, filling=Filling(how="mean", causal=False))
    found = seen(segments, scaler)
    assert found.target_RC[100, 0] == pytest.approx(segments.target_RC[:100, 0].mean(), rel=1e-6)
    np.testing.assert_array_equal(found.target_RC[110:115], segments.target_RC[110:115])


def test_outliers_are_counted_among_measured_values_and_counts_add_up() -> None:
    segments = spiked()
    target_RC = segments.target_RC.copy()
    target_RC[112] = 500
    segments = replace(segments, target_RC=target_RC)
    scaler = scaler_of(segments)
    whole = count(segments, scaler)
    assert whole["load"] == (1, 295), "an imputed value is none"
    parts = [count(segments.stretches(np.array([rows])), scaler) for rows in ([0, 240], [240, 300])]
    assert add(*parts) == whole
    assert add({}, whole) == whole


def test_the_configs_cleaning_is_what_it_says() -> None:
    config = make_config(
        preprocess__outliers="mask", preprocess__outlier_method="hampel", preprocess__outlier_steps=30, window__season=6
    )
    found = Cleaning.of(config.preprocess, config.window)
    filling = Filling.of(config.preprocess, config.window)
    assert found == Cleaning(method="hampel", action="mask", deviations=6.0, steps=30, filling=filling, max_gap=6)
    assert found.reach == 29 + 6 + LONGEST + 1


def test_no_columns_have_no_outliers() -> None:
    segments = spiked()
    values, out = cleaned(np.empty((4, 0)), None, np.array([0, 4]), scaler_of(segments), "past")
    assert values.shape == out.shape == (4, 0)
