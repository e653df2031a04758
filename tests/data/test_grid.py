"""Time stamps parsed, duplicates refused, every series on its full grid."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstm_ray.data import grid
from lstm_ray.errors import InputError
from lstm_ray.sections.data import DataConfig
from tests.made import HOUR


def data_config(**changes: Any) -> DataConfig:
    return DataConfig(**({"source": "x", "time": "when", "target": ["load"]} | changes))


def loaded(when: list[Any], load: list[float | None] | None = None, **changes: Any) -> pl.DataFrame:
    values = load if load is not None else [1.0] * len(when)
    columns = {"when": pa.array(when, pa.string()), "load": pa.array(values, pa.float64())}
    if "series_id" in changes:
        columns["site"] = pa.array(changes.pop("site"), pa.string())
    return grid.typed(pa.table(columns), data_config(**changes))


@pytest.mark.parametrize(
    ("when", "hour"),
    [
        (["2024-03-01T05:00:00Z", "2024-03-01T06:00:00Z"], 5),
        (["2024-03-01T05:00:00+02:00", "2024-03-01T06:00:00+02:00"], 3),
        (["2024-03-01T05:00:00", "2024-03-01T06:00:00"], 5),
        (["2024-03-01 05:00:00", "2024-03-01 06:00:00.500000"], 5),
        (["2024-03-01 05:00", "2024-03-01 06:00"], 5),
        (["2024-03-01", "2024-03-02"], 0),
    ],
)
def test_iso_time_stamps_become_utc(when: list[str], hour: int) -> None:
    frame = loaded(when)
    assert frame.schema["time"] == pl.Datetime("us")
    assert frame["time"][0] == datetime(2024, 3, 1, hour)


def test_whole_numbers_are_steps() -> None:
    frame = loaded(["7", "5", "6"], [7.0, 5.0, 6.0])
    assert frame["time"].to_list() == [5, 6, 7]
    assert frame["load"].to_list() == [5.0, 6.0, 7.0]


@pytest.mark.parametrize(
    ("when", "value", "row"),
    [
        (["2024-03-01T05:00:00Z", "soon", "2024-03-01T06:00:00Z"], "'soon'", 1),
        (["soon", "2024-03-01T06:00:00Z"], "'soon'", 0),
        (["soon", "later"], "'soon'", 0),
        (["2024-03-01", "2024-13-01"], "'2024-13-01'", 1),
        (["1", "2.5"], "'1'", 0),
    ],
)
def test_an_unparsable_time_stamp_is_named_with_its_row(when: list[str], value: str, row: int) -> None:
    with pytest.raises(InputError, match=f"column 'when' holds {value} in row {row}, .*write ISO 8601"):
        loaded(when)


def test_an_empty_time_stamp_is_named_with_its_row() -> None:
    with pytest.raises(InputError, match="column 'when' has 1 empty time stamps, the first in row 1; fill them"):
        loaded(["2024-03-01T05:00:00Z", None])


def test_duplicates_are_refused_within_a_series_alone() -> None:
    when = ["2024-03-01T05:00:00Z"] * 2
    assert loaded(when, series_id=["site"], site=["a", "b"]).height == 2
    with pytest.raises(InputError, match=r"2024-03-01 05:00:00 occurs twice in series 'a' \(2 rows"):
        loaded(when, series_id=["site"], site=["a", "a"])
    with pytest.raises(InputError, match=r"occurs twice .* or name the columns in data.series_id"):
        loaded(when)


def test_the_same_moment_in_two_zones_is_a_duplicate() -> None:
    with pytest.raises(InputError, match="occurs twice"):
        loaded(["2024-03-01T05:00:00Z", "2024-03-01T07:00:00+02:00"])


@pytest.mark.parametrize("empty", [None, float("nan")])
def test_a_target_without_values_is_named(empty: float | None) -> None:
    with pytest.raises(InputError, match=r"target 'load' has no values at all; name another"):
        loaded(["1", "2"], [empty, empty])


@pytest.mark.parametrize("value", [float("inf"), float("-inf")])
def test_an_infinite_value_is_named_with_its_row(value: float) -> None:
    with pytest.raises(InputError, match=f"column 'load' holds {value} in row 1; leave the field empty"):
        loaded(["2", "1"], [1.0, value])


def test_not_a_number_is_missing() -> None:
    assert loaded(["1", "2"], [float("nan"), 1.0])["load"].to_list() == [None, 1.0]


def test_several_columns_name_a_series_together() -> None:
    table = pa.table({"when": ["1", "1"], "load": [1.0, 2.0], "a": ["x", "x"], "b": ["y", None]})
    frame = grid.typed(table, data_config(series_id=["a", "b"]))
    assert frame["series"].to_list() == ["x | ", "x | y"]


def test_the_frequency_is_the_commonest_difference() -> None:
    hours = [0, 1, 2, 3, 7, 9]
    frame = loaded([f"2024-03-01T{h:02d}:00:00Z" for h in hours])
    assert grid.frequency(frame, data_config()) == HOUR
    assert grid.frequency(frame, data_config(frequency="30m")) == HOUR // 2
    assert grid.frequency(loaded(["0", "5", "10", "20"]), data_config()) == 5
    assert grid.frequency(loaded(["0", "5", "10", "20"]), data_config(frequency="1")) == 1


@pytest.mark.parametrize(
    ("when", "frequency", "words"),
    [
        (["2024-03-01T00:00:00Z", "2024-03-01T01:00:00Z"], "hourly", "'hourly' is no duration; write such as 30s"),
        (["2024-03-01T00:00:00Z", "2024-03-01T01:00:00Z"], "0h", "'0h' is no step at all"),
        (
            ["2024-03-01T00:00:00Z", "2024-03-01T01:00:00Z"],
            "2h",
            "1 of 1 time differences .* no multiple of the step 2h",
        ),
        (["1", "2"], "1h", "'1h' must be a whole number: 'when' holds integers"),
        (["1", "2"], "0", "'0' is no step at all"),
        (["0", "2", "4", "6", "7"], None, "1 of 4 time differences .* no multiple of the step 2"),
        (["2024-03-01T00:00:00Z"], None, "every series has one row, so no frequency can be found; set data.frequency"),
    ],
)
def test_a_frequency_that_cannot_be_is_refused(when: list[str], frequency: str | None, words: str) -> None:
    with pytest.raises(InputError, match=words):
        grid.frequency(loaded(when), data_config(frequency=frequency))


def test_a_step_is_written_as_people_do() -> None:
    minute = 60_000_000
    assert [grid.describe_step(minute * n) for n in (15, 60, 90, 1440, 10080)] == ["15m", "1h", "90m", "1d", "1w"]
    assert grid.describe_step(1) == "1 microseconds"
    assert grid.describe_step(3, is_time=False) == "3"


@given(st.dictionaries(st.sampled_from("ab"), st.sets(st.integers(0, 30), min_size=1), min_size=1))
def test_the_regular_grid_is_the_union_of_what_is_there_and_what_lacks(hours: dict[str, set[int]]) -> None:
    rows = [(site, hour) for site, present in hours.items() for hour in present]
    when = [(datetime(2024, 3, 1, tzinfo=UTC) + timedelta(hours=h)).isoformat() for _, h in rows]
    frame = loaded(when, [float(h) for _, h in rows], series_id=["site"], site=[site for site, _ in rows])
    whole = grid.regular(frame, HOUR)
    expected = [
        (site, np.datetime64("2024-03-01T00", "us") + np.timedelta64(h, "h"), float(h) if h in present else None)
        for site, present in sorted(hours.items())
        for h in range(min(present), max(present) + 1)
    ]
    assert whole.rows() == [(site, time.item(), load) for site, time, load in expected]


def test_without_a_time_column_the_rows_of_a_series_are_numbered_in_order() -> None:
    columns = {"site": pa.array(["b", "a", "b", "a", "b"]), "load": pa.array([5.0, 1.0, 4.0, 2.0, 3.0])}
    data = DataConfig(source="x", series_id=["site"], target=["load"])
    frame = grid.typed(pa.table(columns), data)
    assert frame["series"].to_list() == ["a", "a", "b", "b", "b"]
    assert frame["time"].to_list() == [0, 1, 0, 1, 2]
    assert frame["load"].to_list() == [1.0, 2.0, 5.0, 4.0, 3.0]
    assert grid.frequency(frame, data) == 1
    alone = grid.typed(pa.table(columns).drop(["site"]), DataConfig(source="x", target=["load"]))
    assert alone["time"].to_list() == [0, 1, 2, 3, 4]


def test_categorical_columns_stay_text() -> None:
    columns = {"kind": pa.array(["7", "7"]), "load": pa.array([5.0, 1.0])}
    frame = grid.typed(pa.table(columns), DataConfig(source="x", target=["load"], categorical=["kind"]))
    assert frame["kind"].to_list() == ["7", "7"]
