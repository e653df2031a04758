"""Jumps planted and found; noise, seasons, trends and random walks without."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest

from lstm_ray.explore.changes import CLEAR, blocks_of, changes, find_changes
from tests.explore.tables import HOUR, START, daily_wave, hourly, noise, said


def looked_at(values, **more):
    return changes(hourly({"y": values}), ["y"], 24, HOUR, **more)


def remembering(size, share, seed):
    values = noise(size, seed)
    for t in range(1, size):
        values[t] += share * values[t - 1]
    return values


def test_a_planted_shift_is_found_where_it_is():
    values = daily_wave(24 * 120, spread=0.5)
    values[24 * 70 :] += 1.0
    analysis = looked_at(values)
    [row] = analysis.tables["changes"]
    assert row["kind"] == "mean"
    assert abs(row["time"] - (START + timedelta(days=70))) <= timedelta(days=1)
    assert row["after"] - row["before"] == pytest.approx(1, abs=0.1)
    assert "1 change that lasts in" in said(analysis)
    assert [figure.id for figure in analysis.figures] == ["changes"]


def test_a_shift_that_training_never_saw_is_a_warning():
    values = daily_wave(24 * 120, spread=0.5)
    values[24 * 100 :] += 3.0
    text = said(looked_at(values, train_end=START + timedelta(days=84)), "warning")
    assert "has never seen what comes after" in text
    assert said(looked_at(values, train_end=START + timedelta(days=110)), "warning") == ""


def test_a_spread_that_jumps_is_found_and_normalised_away():
    values = daily_wave(24 * 120, spread=0.2)
    values[24 * 50 :] += 1.0 * noise(24 * 70, 3)
    analysis = looked_at(values, normalisation="last")
    [row] = analysis.tables["changes"]
    assert row["kind"] == "spread"
    assert abs(row["time"] - (START + timedelta(days=50))) <= timedelta(days=1)
    assert "model: {normalisation: mean_deviation}" in said(analysis, "advice")
    assert said(looked_at(values), "advice") == ""


def test_two_shifts_are_told_apart():
    values = noise(24 * 200, 5)
    values[24 * 60 :] += 2
    values[24 * 140 :] -= 3
    times = [row["time"] for row in looked_at(values).tables["changes"]]
    assert [round((time - START) / timedelta(days=1)) for time in times] == [60, 140]


@pytest.mark.parametrize(
    "made",
    [
        lambda seed: daily_wave(24 * 120, spread=0.3, seed=seed),
        lambda seed: noise(24 * 120, seed),
        lambda seed: remembering(24 * 120, 0.95, seed),
        lambda seed: noise(24 * 120, seed).cumsum(),
        lambda seed: np.linspace(0, 20, 24 * 120) + noise(24 * 120, seed),
        lambda seed: 5 * np.sin(np.arange(24 * 120) / 450) + noise(24 * 120, seed),
    ],
    ids=["season", "noise", "memory", "random walk", "trend", "slow cycle"],
)
def test_what_does_not_jump_raises_few_alarms(made):
    alarms = [find_changes(blocks_of(made(seed), 24)) for seed in range(40)]
    assert sum(bool(found) for found in alarms) <= 3


def test_a_pure_season_and_a_constant_raise_none():
    wave = np.sin(2 * np.pi * np.arange(24 * 100) / 24)
    assert "No level and no spread jumps" in said(looked_at(wave))
    assert looked_at(np.ones(24 * 100)).findings == []
    assert looked_at(np.full(24 * 100, np.nan)).findings == []
    assert looked_at(daily_wave(30)).findings == []


def test_holes_move_no_change():
    values = noise(24 * 120, 7)
    values[24 * 70 :] += 1.5
    values[24 * 20 : 24 * 30] = np.nan
    [change] = find_changes(blocks_of(values, 24))
    assert abs(change.at - 70) <= 1
    assert change.deviations > CLEAR


@pytest.mark.parametrize("size", [1500, 2880, 4000])
@pytest.mark.parametrize("seed", range(3))
def test_single_spikes_and_odd_days_are_no_changes_that_last(size, seed):
    values = 70 + daily_wave(size, spread=1.0, seed=seed)
    values[[size // 3, size * 2 // 3]] += 400
    values[size // 2 : size // 2 + 24] += 15
    assert find_changes(blocks_of(values, 24)) == []


def test_a_spike_beside_a_shift_hides_it_not_and_is_not_in_its_figures():
    values = 70 + daily_wave(24 * 120, spread=0.5)
    values[24 * 70 :] += 2.0
    values[24 * 68] += 400
    [row] = [row for row in looked_at(values).tables["changes"] if row["kind"] == "mean"]
    assert abs(row["time"] - (START + timedelta(days=70))) <= timedelta(days=1)
    assert (row["before"], row["after"]) == pytest.approx((70, 72), abs=0.2)
