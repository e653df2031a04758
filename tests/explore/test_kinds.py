"""What a column holds, and what its name says."""

from __future__ import annotations

import polars as pl
import pytest

from lstm_ray.explore.kinds import agrees, counts_on, is_whole, kind_of, says


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["1", "2.5", None], "number"),
        (["2024-01-01", "2024-02-01"], "time"),
        (["31.01.2024 05:00", "01.02.2024 06:00"], "time"),
        (["2024-01-01T00:00:00+02:00", None], "time"),
        (["a", "1"], "text"),
        (["true", "false"], "text"),
        ([None, None], "nothing"),
    ],
)
def test_a_column_is_told_by_its_values(values, expected):
    assert kind_of(pl.Series("c", values, dtype=pl.String)) == expected


def test_names_are_read_word_by_word():
    assert says("sensor_id", "(id|key)")
    assert says("sensorId", "(id|key)")
    assert not says("humid", "(id|key)")


def test_headers_that_count_on_are_one_kind_of_column():
    assert counts_on(["V2", "V3", "V4"])
    assert counts_on(["2024-01-01", "2024-02-01", "2024-03-01"])
    assert not counts_on(["V2", "V4", "V5"])
    assert not counts_on(["load", "wind", "sun"])


def test_whole_numbers_and_parts_of_time():
    assert is_whole(pl.Series(["1", "2.0", None]))
    assert not is_whole(pl.Series(["1.5"]))
    hours = pl.Series([float(i % 24) for i in range(240)])
    assert agrees(hours + 1, hours) == 1
    assert agrees(pl.Series([float(i) for i in range(240)]), hours) < 0.3
