"""A replica hands on each step of a named series once."""

from __future__ import annotations

import time

import numpy as np

from lstm_ray.serving.seen import Seen

STEP = 10
COLUMNS = ("load", "wind")


def history(newest: int, steps: int) -> dict[str, np.ndarray]:
    tick_T = np.arange(newest - STEP * (steps - 1), newest + 1, STEP)
    return {"load": tick_T + 0.5, "wind": -1.0 * tick_T}


def ticks(seen: Seen, newest: int, steps: int = 5, name: str = "a") -> list[int]:
    found = seen.new(name, newest, history(newest, steps), steps)
    for rows in found:
        assert (rows.name, rows.values_TF.shape) == (name, (len(rows.tick_T), 2))
        assert (rows.values_TF[:, 0] == rows.tick_T + 0.5).all()
        assert (rows.values_TF[:, 1] == -rows.tick_T).all()
    return [int(tick) for rows in found for tick in rows.tick_T]


def test_the_first_history_is_new_as_a_whole_and_then_what_follows_on_it() -> None:
    seen = Seen(COLUMNS, STEP)
    assert ticks(seen, 100) == [60, 70, 80, 90, 100]
    assert ticks(seen, 100) == ticks(seen, 90, 2) == []
    assert ticks(seen, 120) == [110, 120]
    assert ticks(seen, 170) == [130, 140, 150, 160, 170]
    assert ticks(seen, 120, name="b") == [80, 90, 100, 110, 120]


def test_a_longer_history_brings_what_lies_before_and_after() -> None:
    seen = Seen(COLUMNS, STEP)
    ticks(seen, 100, 2)
    assert ticks(seen, 110, 5) == [70, 80, 110]
    assert ticks(seen, 110, 5) == []


def test_a_clock_that_jumped_makes_nothing_old_for_good() -> None:
    seen = Seen(COLUMNS, STEP)
    ticks(seen, 100)
    assert ticks(seen, 10**15) == [10**15 - STEP * before for before in (4, 3, 2, 1, 0)]
    assert ticks(seen, 110)[-1] == 110
    assert ticks(seen, 120) == [120]


def test_steps_between_those_met_are_others() -> None:
    seen = Seen(COLUMNS, STEP)
    ticks(seen, 100)
    assert ticks(seen, 95) == [55, 65, 75, 85, 95]


def test_a_column_that_was_not_sent_is_untold_and_none_is_missing() -> None:
    [rows] = Seen(COLUMNS, STEP).new("a", 20, {"load": [1.0, None]}, 2)
    assert np.array_equal(rows.values_TF, [[1.0, np.nan], [np.nan, np.nan]], equal_nan=True)


def test_series_asked_about_longest_ago_make_room() -> None:
    seen = Seen(COLUMNS, STEP, most=2)
    for name in ("a", "b", "a", "c"):
        ticks(seen, 100, name=name)
    assert ticks(seen, 100, name="a") == []
    assert ticks(seen, 100, name="b") != []


def test_what_did_not_arrive_is_brought_again() -> None:
    seen = Seen(COLUMNS, STEP)
    ticks(seen, 100)
    seen.forget_all()
    assert ticks(seen, 100) == [60, 70, 80, 90, 100]


def test_a_request_that_follows_on_the_last_costs_some_microseconds() -> None:
    columns = [f"c{number}" for number in range(7)]
    seen, values = Seen(columns, STEP), dict.fromkeys(columns, np.random.default_rng(1).normal(size=336))
    spent = []
    for turn in range(2_000):
        began = time.process_time_ns()
        assert len(seen.new("a", 10**6 + STEP * turn, values, 336)) == 1
        spent.append(time.process_time_ns() - began)
    assert np.median(spent) < 100_000, "of a machine that is busy; alone it is about a tenth"
