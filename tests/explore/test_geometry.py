"""Windows that fit what there is."""

from __future__ import annotations

import numpy as np
import pytest

from lstm_ray.explore.geometry import of_forecast, window_of
from tests.explore.tables import HOUR, STEP, hourly, noise, stepped


@pytest.mark.parametrize(
    ("season", "room", "expected"),
    [
        (24, 500, (168, 24)),
        (24, 80, (72, 12)),
        (7, 100, (49, 7)),
        (96, 5000, (672, 48)),
        (1, 20, (20, 1)),
        (24, 5, (5, 1)),
    ],
)
def test_a_history_is_whole_seasons_read_a_patch_at_a_time(season, room, expected):
    history, patch = window_of(season, room)
    assert (history, patch) == expected
    assert history % patch == 0


def test_a_cycle_that_is_measured_beats_habit():
    steps = np.arange(1200)
    found = of_forecast(hourly({"y": np.sin(2 * np.pi * steps / 36) + 0.2 * noise(1200)}), ["y"], HOUR)
    assert found.fields["window"]["season"][0] == 36
    assert "strength 0.9" in found.fields["window"]["season"][1]


def test_without_a_clock_or_a_cycle_there_is_no_season():
    found = of_forecast(stepped({"y": noise(600)}), ["y"], STEP)
    assert found.fields["window"]["season"][0] == 1
    assert any("no cycle stands out" in doubt for doubt in found.unsure)


def test_windows_fit_what_gaps_leave_of_series():
    values = noise(2000)
    values[np.arange(2000) % 100 < 40] = np.nan
    window = of_forecast(stepped({"y": values}), ["y"], STEP).fields["window"]
    assert window["history"][0] + window["horizon"][0] <= 60
