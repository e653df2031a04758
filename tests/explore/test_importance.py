"""What a quick model relies on."""

from __future__ import annotations

import numpy as np

from lstm_ray.explore.analysis import axis_of
from lstm_ray.explore.importance import OWN, permutation
from lstm_ray.explore.parts import with_parts
from lstm_ray.sections.data import DataConfig
from lstm_ray.sections.prepare import SplitConfig
from tests.explore.tables import HOUR, daily_wave, hourly, noise, said


def looked_at(data, horizon=1, **columns):
    frame = hourly(columns)
    return permutation(with_parts(frame, SplitConfig(), HOUR, axis_of(frame)), data, horizon, 24, HOUR, 7)


def data(*past, known=()):
    return DataConfig(source="x.csv", time="time", target=["y"], past=list(past), known=list(known))


def test_an_input_that_acts_in_bends_is_found_where_a_line_sees_nothing():
    driver = noise(3000, 1)
    target = np.roll(driver**2, 1) + 0.2 * noise(3000, 2)
    analysis = looked_at(data("driver", "idle"), y=target, driver=driver, idle=noise(3000, 3))
    growth = {row["input"]: row["growth"] for row in analysis.tables["permutation"]}
    assert growth["driver"] > 2
    assert abs(growth["idle"]) < 0.05
    assert "and by driver " in said(analysis)
    assert analysis.figures[0].traces[0]["x"][0] == "driver"


def test_a_known_column_counts_at_the_step_that_is_told():
    plan = np.sign(noise(3000, 4))
    analysis = looked_at(data(known=["plan"]), horizon=12, y=plan + 0.1 * noise(3000, 5), plan=plan)
    assert analysis.tables["permutation"][0]["input"] == "plan"


def test_a_target_that_lives_by_its_own_past_says_so():
    analysis = looked_at(data("idle"), horizon=24, y=daily_wave(2000, 0.1), idle=noise(2000, 6))
    assert analysis.tables["permutation"][0]["input"] == OWN
    assert "no input matters" in said(analysis)


def test_too_few_rows_constants_and_empty_inputs_are_left_out():
    assert looked_at(data("x"), y=noise(100), x=noise(100, 1)).tables["permutation"] == []
    assert looked_at(data("x"), y=np.ones(3000), x=noise(3000, 1)).tables["permutation"] == []
    assert looked_at(data(), y=noise(3000)).findings == []
    empty = looked_at(data("x", "none"), y=noise(3000), x=noise(3000, 1), none=np.full(3000, np.nan))
    assert {row["input"] for row in empty.tables["permutation"]} == {OWN, "x"}
    assert looked_at(data("none"), y=noise(3000), none=np.full(3000, np.nan)).findings == []
