"""The sensors that go wrong at a known hour."""

from __future__ import annotations

import numpy as np

from lstm_ray.operate.shift import Shift, shifted
from tests.operate.tapes import tape


def test_nothing_changes_before_the_shift_and_outside_its_hours() -> None:
    before, after = tape(), shifted(tape(), Shift(first=30, hours=(16, 21)))
    hour_T = np.arange(72) % 24
    outside_T = (np.arange(72) < 30) | (hour_T < 16) | (hour_T >= 21)
    np.testing.assert_array_equal(after.values_STF[:, outside_T], before.values_STF[:, outside_T])


def test_the_thermometer_reads_more_and_the_air_drier_in_its_hours_of_every_day_after() -> None:
    before, after = tape(), shifted(tape(), Shift(first=30, warmer=25.0))
    for step in (40, 44, 64, 68):
        np.testing.assert_allclose(after.values_STF[0, step, 0], before.values_STF[0, step, 0] + 25)
        np.testing.assert_allclose(after.values_STF[:, step, 1], before.values_STF[:, step, 1] * np.exp(-25 / 36))
        np.testing.assert_array_equal(after.values_STF[:, step, 2], before.values_STF[:, step, 2])


def test_what_was_missing_stays_missing_and_the_tape_itself_is_left_alone() -> None:
    whole = tape()
    after = shifted(whole, Shift(first=0, hours=(5, 6)))
    assert np.isnan(after.values_STF[1, 5, 0])
    assert whole.values_STF[0, 5, 0] == tape().values_STF[0, 5, 0]


def test_the_words_say_by_how_much() -> None:
    assert "25 °F more" in Shift(first=0, warmer=25.0).words
    assert "50% less" in Shift(first=0, warmer=25.0).words
