"""Some of many: spread evenly, and together where they lie at one step."""

from __future__ import annotations

import numpy as np
import pytest

from lstm_ray.data.spread import at_common_times, evenly


@pytest.mark.parametrize("number", [1, 2, 7, 100, 1_000])
def test_some_items_are_spread_evenly_from_the_first_to_the_last(number: int) -> None:
    found = evenly(np.arange(100) * 10, number)
    assert len(found) == min(number, 100)
    assert found[0] == 0
    assert number == 1 or found[-1] == 990
    assert number == 1 or np.ptp(np.diff(found)) <= 10


def test_what_lies_at_one_step_stays_together() -> None:
    step_N = np.tile(np.arange(50), 3)
    found = at_common_times(step_N, 30, 5)
    steps, counts = np.unique(step_N[found], return_counts=True)
    assert len(steps) == 10
    assert (counts == 3).all()
    assert steps[[0, -1]].tolist() == [0, 49]
    assert (np.diff(found) > 0).all()


def test_many_things_at_one_step_are_thinned_alike_at_each_rather_than_few_steps_kept() -> None:
    step_N = np.tile(np.arange(50), 40)
    found = at_common_times(step_N, 30, 10)
    steps, counts = np.unique(step_N[found], return_counts=True)
    assert len(steps) == 10
    assert (counts == 3).all()
    things = np.reshape(found // 50, (3, 10))
    assert (things == things[:, :1]).all(), "the same things at every step"


def test_all_are_kept_where_they_are_few() -> None:
    assert at_common_times(np.array([5, 1, 5]), 3, 1).tolist() == [0, 1, 2]
    assert at_common_times(np.empty(0, np.int64), 3, 1).tolist() == []


def test_where_some_are_left_out_at_each_time_all_have_their_turn() -> None:
    step_N, name_N = np.tile(np.arange(6), 3), np.repeat([0, 1, 2], 6)
    same, turning = (at_common_times(step_N, 6, 6, turning=turning) for turning in (False, True))
    assert step_N[same].tolist() == sorted(step_N[turning].tolist()) == list(range(6))
    assert name_N[same].tolist() == [0] * 6
    assert np.bincount(name_N[turning]).tolist() == [2, 2, 2]
