"""Cycles with known answers."""

from __future__ import annotations

import numpy as np
import pytest

from lstm_ray.explore.periods import decompose, find_periods, without_spikes
from tests.explore.tables import daily_wave, noise

T = np.arange(2000)
NOISE = noise(len(T), 3)
WALK = NOISE.cumsum()


def strongest(values):
    return find_periods(values, 200)[0].steps


@pytest.mark.parametrize("period", [7, 24, 48])
def test_the_period_of_a_noisy_sine_is_found(period):
    assert strongest(np.sin(2 * np.pi * T / period) + NOISE) == period


def test_a_pure_sine_carries_all_of_the_variance():
    found = find_periods(np.sin(2 * np.pi * T / 24), 200)
    assert [period.steps for period in found] == [24]
    assert found[0].share == pytest.approx(1, abs=1e-3)
    assert found[0].correlation > 0.98


def test_a_daily_cycle_is_found_on_a_wandering_level():
    assert strongest(WALK + 2 * np.sin(2 * np.pi * T / 24)) == 24


def test_a_day_with_two_humps_is_a_day():
    assert strongest(np.sin(2 * np.pi * T / 12) + 0.5 * np.sin(2 * np.pi * T / 24) + 0.1 * NOISE) == 24


def test_day_and_week_are_both_found():
    week = 0.7 * np.sin(2 * np.pi * T / 168)
    assert [p.steps for p in find_periods(daily_wave(len(T), 0.3) + week, 200)] == [24, 168]


def test_a_gap_does_not_hide_the_cycle():
    values = daily_wave(len(T))
    values[300:360] = np.nan
    assert strongest(values) == 24


def test_noise_and_random_walks_have_no_cycle():
    assert find_periods(NOISE, 200) == []
    assert find_periods(WALK, 200) == []


@pytest.mark.parametrize(
    "values", [np.ones(100), np.arange(50.0), np.full(60, np.nan), np.array([1.0, 2.0]), np.array([])]
)
def test_what_has_no_cycle_gives_none(values):
    assert find_periods(values, 24) == []


def test_strength_tells_a_season_from_noise():
    season, noise = decompose(daily_wave(1000), 24), decompose(NOISE[:1000], 24)
    assert season.seasonal_strength > 0.95
    assert noise.seasonal_strength < 0.25
    assert decompose(WALK, 24).trend_strength > 0.9


def test_the_parts_add_up_to_what_was_observed():
    parts = decompose(daily_wave(500), 24)
    np.testing.assert_allclose(parts.trend + parts.season + parts.rest, parts.observed, atol=1e-12)


def test_constant_and_short_series_are_defined():
    constant = decompose(np.ones(100), 24)
    assert constant.seasonal_strength is None
    assert decompose(daily_wave(47), 24) is None
    assert decompose(daily_wave(100), 1) is None


def test_a_few_spikes_weaken_no_season_and_stand_in_the_rest():
    values = 10 * daily_wave(len(T), 0.1)
    calm = decompose(values, 24).seasonal_strength
    values[[500, 501, 1300]] += 400
    parts = decompose(values, 24)
    assert parts.seasonal_strength == pytest.approx(calm, abs=0.01)
    assert parts.rest[500] == pytest.approx(400, rel=0.05)
    assert np.allclose(parts.trend + parts.season + parts.rest, values)
    assert strongest(values) == 24


def test_many_spikes_are_how_a_series_is():
    values = np.where(T % 24 == 12, 50.0, 0.0) + NOISE
    assert np.array_equal(without_spikes(values), values)
    assert np.array_equal(without_spikes(np.where(T == 5, 9.0, 1.0)), np.where(T == 5, 9.0, 1.0))
