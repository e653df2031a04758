"""What a scenario changes, told value by value."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstm_ray.errors import InputError
from lstm_ray.plan.scenarios import changed, changed_future, require_known_series, touches
from lstm_ray.sections.plan import ScenarioConfig

VALUES_TF = np.arange(12, dtype=np.float32).reshape(6, 2)


def scenario(**values: Any) -> ScenarioConfig:
    return ScenarioConfig.model_validate({"name": "s", "column": "b", "operation": "shift", "value": 2} | values)


@pytest.mark.parametrize(
    ("operation", "expected"), [("shift", [13, 15, 17]), ("scale", [22, 26, 30]), ("set", [2, 2, 2])]
)
def test_the_newest_steps_of_one_column_change(operation: str, expected: list[float]) -> None:
    values = VALUES_TF * 1.0
    values[:, 1] += 4
    before = values.copy()
    found = changed(values, ["a", "b"], scenario(operation=operation, steps=3))
    assert found[3:, 1].tolist() == expected
    np.testing.assert_array_equal(found[:, 0], before[:, 0])
    np.testing.assert_array_equal(found[:3], before[:3])
    np.testing.assert_array_equal(values, before)


@given(st.one_of(st.none(), st.integers(1, 9)), st.sampled_from(["shift", "scale", "set"]))
def test_steps_count_from_the_newest_in_history_and_from_the_origin_ahead(steps: int | None, operation: str) -> None:
    one = scenario(operation=operation, steps=steps, value=100.0)
    number = min(steps or 6, 6)
    past, future = changed(VALUES_TF, ["a", "b"], one), changed_future(VALUES_TF, ["a", "b"], one)
    assert (past != VALUES_TF)[:, 1].tolist() == [False] * (6 - number) + [True] * number
    assert (future != VALUES_TF)[:, 1].tolist() == [True] * number + [False] * (6 - number)


def test_a_column_that_is_not_there_changes_nothing() -> None:
    for change in (changed, changed_future):
        found = change(VALUES_TF, ["a", "c"], scenario())
        np.testing.assert_array_equal(found, VALUES_TF)
        found[:] = -1
    assert VALUES_TF[0, 1] == 1, "what comes back is a copy"


def test_series_and_paths_may_lead() -> None:
    stacked = np.stack([VALUES_TF, VALUES_TF + 100])
    for change in (changed, changed_future):
        found = change(stacked, ["a", "b"], scenario(steps=2))
        for one, values in zip(found, stacked, strict=True):
            np.testing.assert_array_equal(one, change(values, ["a", "b"], scenario(steps=2)))


def test_a_scenario_touches_the_series_it_names_or_all() -> None:
    assert touches(scenario(), "x")
    assert touches(scenario(series=["x", "y"]), "x")
    assert not touches(scenario(series=["y"]), "x")


def test_a_scenario_for_a_series_that_does_not_exist_is_refused_with_the_nearest_name():
    scenario = ScenarioConfig(name="storm", column="wind", operation="shift", value=1.0, series=["JKF"])
    with pytest.raises(InputError, match="series 'JKF' is not in the data; did you mean 'JFK'"):
        require_known_series([scenario], ["EWR", "JFK", "LGA"])
