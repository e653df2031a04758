"""What inputs add, and which repeat each other."""

from __future__ import annotations

import numpy as np

from lstm_ray.explore.inputs import importance, redundancy
from lstm_ray.sections.data import DataConfig
from tests.explore.tables import HOUR, daily_wave, hourly, noise, said

NOISE = noise(800, 1)


def test_an_input_that_tells_the_next_step_takes_the_error_away():
    target = np.roll(NOISE, 1)
    data = DataConfig(source="x", time="time", target=["y"], past=["x", "idle"])
    frame = hourly({"y": target, "x": NOISE, "idle": noise(800, 2)})
    analysis = importance(frame, data, 12, 24, HOUR)
    shares = {(row["input"], row["steps_ahead"]): row["share"] for row in analysis.tables["importance"]}
    assert shares["x", 1] > 0.99
    assert shares["x", 12] < 0.02
    assert shares["idle", 1] < 0.02


def test_a_known_input_is_read_at_the_step_it_tells_of():
    plan = noise(800, 3)
    frame = hourly({"y": plan + 0.1 * NOISE, "plan": plan})
    data = DataConfig(source="x", time="time", target=["y"], known=["plan"])
    shares = [row["share"] for row in importance(frame, data, 12, 24, HOUR).tables["importance"]]
    assert min(shares) > 0.9


def test_too_few_rows_constants_and_holes_give_an_empty_table():
    data = DataConfig(source="x", time="time", target=["y"], past=["x"])
    for target, found in (
        (NOISE[:20], NOISE[:20]),
        (NOISE, np.ones(800)),
        (NOISE, np.full(800, np.nan)),
        (np.ones(800), NOISE),
    ):
        assert importance(hourly({"y": target, "x": found}), data, 12, 24, HOUR).tables["importance"] == []


def test_inputs_that_say_the_same_are_named():
    data = DataConfig(source="x", time="time", target=["y"], past=["celsius", "fahrenheit"])
    frame = hourly({"y": NOISE, "celsius": daily_wave(800), "fahrenheit": 32 + 1.8 * daily_wave(800)})
    text = said(redundancy(frame, data), "advice")
    assert "'celsius' and 'fahrenheit' say the same: they correlate 1.0000" in text
    assert text.endswith("data: {past: [celsius]}")


def test_levels_that_differ_between_series_do_not_correlate_columns():
    frame = hourly({"y": NOISE, "x": noise(800, 4)}, "low")
    high = hourly({"y": 100 + NOISE, "x": 100 + noise(800, 5)}, "high")
    matrix = redundancy(frame.vstack(high), DataConfig(source="x", time="time", target=["y"], past=["x"]))
    assert abs(matrix.tables["correlation"]["matrix"][0][1]) < 0.2
