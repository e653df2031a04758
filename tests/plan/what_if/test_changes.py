"""Each operation on a column, told value by value."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from lstm_ray.data.quality.impute import Filling
from lstm_ray.errors import InputError
from lstm_ray.plan.what_if.changes import Column, Setting, changed, touches
from lstm_ray.sections.scenario import ChangeConfig, ScenarioConfig
from tests import made

SETTING = Setting.of(made.schema_of(), made.make_config())
"""A history of 12, a season of 6, 12 steps ahead, hours from 2024-03-01."""
ORIGIN = 48
BEFORE = np.arange(100.0, 120.0)
EVERY = [
    {"operation": "shift", "value": 2},
    {"operation": "scale", "value": 3},
    {"operation": "set", "value": 7},
    {"operation": "ramp", "value": 4},
    {"operation": "shock", "value": 8, "half_life": 1},
    {"operation": "replay"},
    {"operation": "missing"},
    {"operation": "noise", "value": 2},
]


def change(operation: str = "shift", value: float | None = 2, **values: Any) -> ChangeConfig:
    value = None if operation in ("replay", "missing") else value
    return ChangeConfig.model_validate({"column": "load", "operation": operation, "value": value} | values)


def column(length: int = 12, last: int = 0, **values: Any) -> Column:
    """Steps up to ``last``, valued 0, 1, ...; 20 earlier ones are 100, 101, ..."""
    given: dict[str, Any] = {
        "value_MT": np.arange(length, dtype=np.float32)[None],
        "measured_MT": np.ones((1, length), np.float32),
        "first": last - length + 1,
        "origin_M": np.array([ORIGIN]),
        "names": ["a"],
        "begins_M": np.array([last - length + 1 - len(BEFORE)]),
        "before": lambda m: BEFORE,
    }
    return Column(**(given | values))


def moved(one: ChangeConfig, column: Column, setting: Setting = SETTING) -> NDArray:
    """By how much each value changes."""
    return changed(column, one, setting, "here").value_MT[0] - column.value_MT[0]


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (change("shift", steps=3), [2, 2, 2]),
        (change("scale", steps=3), [9, 10, 11]),
        (change("set", steps=3), [-7, -8, -9]),
        (change("ramp", 6, steps=3), [2, 4, 6]),
        (change("shock", 8, steps=3, half_life=1), [8, 4, 2]),
        (change("shock", 8, steps=3), [8, 0, 0]),
        (change("shock", 8), [0, 0, 8]),
        (change("replay", steps=3), [-6, -6, -6]),
        (change("replay", steps=3, source="4"), [-4, -4, -4]),
        (change("missing", steps=3), [-1, -2, -3]),
    ],
    ids=str,
)
def test_the_newest_steps_change_as_the_operation_says(one: ChangeConfig, expected: list[float]) -> None:
    found = moved(one, column())
    np.testing.assert_allclose(found[-3:], expected)
    assert not found[:-3].any()


@given(st.integers(-14, 14), st.integers(1, 30), st.sampled_from(EVERY), st.integers(0, 6))
def test_nothing_changes_outside_of_the_stretch(first: int, steps: int, operation: dict[str, Any], ahead: int) -> None:
    one = change(**operation, first=first, steps=steps)
    mine = column(12 + ahead, ahead, ahead=ahead > 0)
    found = changed(mine, one, SETTING, "here")
    outside = (mine.steps < first) | (mine.steps >= first + steps)
    np.testing.assert_array_equal(found.value_MT[0, outside], mine.value_MT[0, outside])
    assert found.measured_MT is not None
    assert found.measured_MT[0, outside].all()
    assert found.value_MT.dtype == np.float32
    if operation["operation"] == "set":
        assert (found.value_MT[0, ~outside] == 7).all()


def test_a_stretch_ends_at_the_origin_or_begins_after_it_where_the_column_is_known_ahead() -> None:
    history, known = column(12), column(18, 6, ahead=True)
    assert np.flatnonzero(moved(change(steps=3), history)).tolist() == [9, 10, 11]
    assert np.flatnonzero(moved(change(), history)).tolist() == list(range(12))
    assert np.flatnonzero(moved(change(first=-3), history)).tolist() == [8, 9, 10, 11]
    assert np.flatnonzero(moved(change(steps=2), known)).tolist() == [12, 13]
    assert np.flatnonzero(moved(change(), known)).tolist() == list(range(12, 18))
    assert np.flatnonzero(moved(change(first=-3), known)).tolist() == list(range(8, 18))
    assert np.flatnonzero(moved(change(first=-3, steps=5), known)).tolist() == list(range(8, 13))


def test_all_of_history_holds_what_lies_before_it_for_lags_but_a_line_begins_with_the_history() -> None:
    longer = column(15)
    assert (moved(change("shift"), longer) == 2).all()
    np.testing.assert_allclose(moved(change("ramp", 12), longer), [0, 0, 0, *range(1, 13)])


def test_a_line_without_an_end_reaches_its_value_with_the_last_step_that_is_looked_at() -> None:
    found = moved(change("ramp", 12), column(14 + 12, 14, ahead=True))
    np.testing.assert_allclose(found[12:], [*range(1, 13), 12, 12])


@pytest.mark.parametrize(
    ("between", "hours"),
    [
        (("2024-03-02T20:00", "2024-03-02T22:30"), [20, 21, 22]),
        (("2024-03-02T20:00:00Z", "2024-03-02T23:00+01:00"), [20, 21, 22]),
        (("2024-03-03", "2024-03-03"), [24]),
        (("2024-03-01", "2024-03-02T13"), [13]),
        (("2023-01-01", "2023-05-01"), []),
    ],
)
def test_a_stretch_between_two_times_is_the_same_whatever_the_origin(between: Any, hours: list[int]) -> None:
    """The origin is the 3rd of March at 0, the column's first value that of the 2nd at 13."""
    one = change(between=between)
    assert (13 + np.flatnonzero(moved(one, column()))).tolist() == hours
    later = replace(column(), origin_M=np.array([ORIGIN + 2]))
    assert (15 + np.flatnonzero(moved(one, later)[:10])).tolist() == [hour for hour in hours if hour >= 15]


def test_a_line_between_two_times_goes_on_from_where_an_earlier_origin_left_it() -> None:
    one = change("ramp", 24, between=("2024-03-02", "2024-03-02"))
    np.testing.assert_allclose(moved(one, column()), [*range(14, 25), 0])
    np.testing.assert_allclose(moved(one, replace(column(), origin_M=np.array([ORIGIN - 5]))), range(9, 21))


def test_the_axis_may_be_of_whole_numbers() -> None:
    setting = Setting.of(made.schema_of(is_time=False), made.make_config())
    assert np.flatnonzero(moved(change(between=(40, 41)), column(), setting)).tolist() == [3, 4]
    np.testing.assert_allclose(moved(change("replay", steps=2, source=37), column(), setting)[-2:], [0 - 10, 1 - 11])
    with pytest.raises(InputError, match=r"here: between is '2024-01-01'; write a whole number"):
        moved(change(between=("2024-01-01", "2024-01-02")), column(), setting)


def test_what_is_copied_may_lie_before_what_is_read() -> None:
    """In the series' earlier steps, also across the border to them, with what was measured of them."""
    found = changed(column(measured_MT=np.zeros((1, 12))), change("replay", steps=4, source="11"), SETTING, "here")
    assert found.value_MT[0, -4:].tolist() == [117, 118, 119, 0]
    assert found.measured_MT is not None
    assert found.measured_MT[0, -4:].tolist() == [1, 1, 1, 0]
    dated = change("replay", steps=2, source="2024-03-01T20:00")
    assert changed(column(), dated, SETTING, "here").value_MT[0, -2:].tolist() == [103, 104]


def test_a_season_that_is_repeated_over_a_longer_stretch_is_never_its_own_copy() -> None:
    known = column(12 + 8, 8, ahead=True)
    assert changed(known, change("replay", steps=8), SETTING, "here").value_MT[0, 12:].tolist() == list(range(8))


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (
            change("replay", steps=3, source="40"),
            r"begins at 2024-03-01 06:00:00, but series 'a' .* from 2024-03-01 17",
        ),
        (change("replay", steps=3, source="0"), r"source 0 is not before the stretch, which begins at 2024-03-02 22"),
        (change("replay", steps=3, source="2024-03-02T22:00"), r"is not before the stretch"),
        (change("scale", 3e38), r"'load' becomes infinite; bring value 3e\+38 nearer to 0"),
    ],
    ids=str,
)
def test_what_cannot_be_done_is_refused_by_name(one: ChangeConfig, expected: str) -> None:
    with pytest.raises(InputError, match=expected):
        moved(one, column(begins_M=np.array([-31])))


def test_missing_values_are_filled_as_preprocess_fills_them_and_count_as_unmeasured() -> None:
    one = change("missing", first=-11, steps=3)
    forward = changed(column(), one, SETTING, "here")
    assert forward.value_MT[0, :4].tolist() == [119, 119, 119, 3]
    assert forward.measured_MT is not None
    assert forward.measured_MT[0].tolist() == [0] * 3 + [1] * 9
    for how, expected in (("seasonal", [114, 115, 116]), ("mean", [109.5] * 3), ("zero", [0] * 3)):
        setting = replace(SETTING, filling=Filling(how=how, season=6))
        assert changed(column(), one, setting, "here").value_MT[0, :3].tolist() == expected
    between = replace(SETTING, filling=Filling(how="linear", causal=False))
    np.testing.assert_allclose(changed(column(), one, between, "here").value_MT[0, :3], [90, 61, 32])
    unfilled = changed(column(), one, replace(SETTING, filling=None), "here")
    assert np.isnan(unfilled.value_MT[0, :3]).all()


def test_what_was_never_there_is_neither_changed_nor_read() -> None:
    young = column(begins_M=np.array([-5]), before=lambda m: np.empty(0))
    assert np.flatnonzero(moved(change(), young)).tolist() == list(range(6, 12))
    found = changed(young, change("missing", steps=6), SETTING, "here").value_MT[0]
    assert np.isnan(found[6:]).all(), "nothing lies before it to be filled from"
    assert found[:6].tolist() == list(range(6))


def test_noise_belongs_to_the_step_of_a_series_and_has_the_deviation_that_is_asked_for() -> None:
    long = column(4000, measured_MT=None)
    noise = moved(change("noise", 3), long)
    assert noise.std() == pytest.approx(3, rel=0.05)
    assert abs(noise.mean()) < 0.2
    assert abs(np.corrcoef(noise[1:], noise[:-1])[0, 1]) < 0.05
    later = replace(long, origin_M=long.origin_M + 5)
    np.testing.assert_allclose(moved(change("noise", 3), later)[:-5], noise[5:], atol=1e-3)
    for other in (
        moved(change("noise", 3), replace(long, names=["b"])),
        moved(change("noise", 3), long, replace(SETTING, seed=8)),
        moved(change("noise", 3, column="wind"), long),
    ):
        assert abs(np.corrcoef(noise, other)[0, 1]) < 0.05


def test_each_series_and_origin_is_changed_as_if_alone() -> None:
    random = np.random.default_rng(0)
    many = column(
        value_MT=random.normal(size=(4, 12)),
        measured_MT=np.ones((4, 12)),
        origin_M=np.array([40, 48, 50, 60]),
        names=["a", "a", "b", "c"],
        begins_M=np.array([-31, -31, -20, -11]),
        before=lambda m: random_before[m],
    )
    random_before = [random.normal(size=20), random.normal(size=20), random.normal(size=9), np.empty(0)]
    for operation in EVERY:
        one = change(**operation, steps=4, series=["a", "c"])
        found = changed(many, one, SETTING, "here")
        np.testing.assert_array_equal(found.value_MT[2], many.value_MT[2])
        assert (found.value_MT[[0, 1, 3]] != many.value_MT[[0, 1, 3]]).any(axis=1).all()
        for m in range(4):
            alone = Column(
                many.value_MT[m : m + 1], np.ones((1, 12)), -11, many.origin_M[m : m + 1], [many.names[m]],
                many.begins_M[m : m + 1], lambda _, m=m: random_before[m],
            )  # fmt: skip
            np.testing.assert_array_equal(changed(alone, one, SETTING, "here").value_MT[0], found.value_MT[m])


def test_a_scenario_touches_the_series_it_names_or_all() -> None:
    one = ScenarioConfig(name="s", column="b", operation="shift", value=2)
    assert touches(one, "x")
    assert touches(one.model_copy(update={"series": ["x", "y"]}), "x")
    assert not touches(one.model_copy(update={"series": ["y"]}), "x")
