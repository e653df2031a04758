"""Words, units and JSON that every analysis shares."""

from __future__ import annotations

import json
from datetime import datetime

import numpy as np
import pytest
import yaml

from lstm_ray.explore.analysis import (
    Clock,
    advise,
    filled,
    named,
    number,
    percent,
    representative,
    tidy,
    varies,
    when,
    within,
)
from tests.explore.tables import HOUR, STEP, hourly


def test_advice_is_one_line_of_yaml_even_where_names_need_quotes():
    line = advise("data", past=["wind: speed", "no"])
    assert "\n" not in line
    assert yaml.safe_load(line) == {"data": {"past": ["wind: speed", "no"]}}


def test_tidy_leaves_no_undefined_number():
    value = {"a": np.array([1.0, np.nan]), "b": float("inf"), "c": np.int64(3), "d": [datetime(2024, 1, 2)]}
    assert json.loads(json.dumps(tidy(value), allow_nan=False)) == {
        "a": [1.0, None],
        "b": None,
        "c": 3,
        "d": ["2024-01-02T00:00:00"],
    }


def test_steps_are_said_in_words_where_time_is_known():
    assert HOUR.span(24) == "24 steps (1d)"
    assert STEP.span(24) == "24 steps"
    assert HOUR.day_steps == 24
    assert STEP.day_steps is None


def test_numbers_read_as_people_write_them():
    assert [number(v) for v in (1048.36, 0.01234, float("nan"), None)] == ["1,048", "0.0123", "undefined", "undefined"]
    assert percent(0.0001) == "under 0.1 %"
    assert percent(0) == "0.0 %"
    assert named(list("abcdef")) == "a, b, c, d and 2 more"
    assert when(datetime(2024, 1, 1, 5)) == "2024-01-01 05:00"
    assert within("all") == ""


def test_gaps_are_bridged_by_a_line_and_ends_held():
    assert filled(np.array([np.nan, 1.0, np.nan, 3.0, np.nan])).tolist() == [1, 1, 2, 3, 3]
    assert filled(np.full(3, np.nan)).tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("values", "expected"), [([1.0, 1.0], False), ([0.1 + 0.2, 0.3], False), ([1.0, 2.0], True), ([np.nan], False)]
)
def test_rounding_is_no_variation(values, expected):
    assert varies(np.array(values)) is expected


def test_the_representative_series_has_the_most_values():
    full, holed = hourly({"y": np.arange(5.0)}, "b"), hourly({"y": np.array([1, np.nan, 2, 3, 4])}, "a")
    assert representative(holed.vstack(full), "y") == "b"


def test_months_are_told_as_months():
    assert when(480, Clock(1, False, True)) == "2010-01"
    assert when(491, Clock(3, False, True)) == "2010-12"
    assert when(480, Clock(1, False)) == "step 480"
