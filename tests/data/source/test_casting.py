"""Columns cast by role: exact, fast where values repeat, and with the first value that cannot be read found."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstm_ray.data.source import casting
from lstm_ray.sections.data import DataConfig


@given(st.lists(st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1)), max_size=20), st.integers(1, 9))
def test_whole_numbers_are_spelt_alike_in_runs_and_alone(values: list[int | None], times: int) -> None:
    for column in (values, [value for value in values for _ in range(times)]):
        chunks = pa.chunked_array([column[:5], column[5:]], pa.int64())
        expected = [None if value is None else str(value) for value in column]
        assert casting.cast(chunks, pa.string()).to_pylist() == expected


def test_an_array_that_is_a_part_of_another_is_spelt_from_its_own_start() -> None:
    ids = pa.chunked_array([np.repeat(np.arange(10), 100)])[450:550]
    assert casting.cast(ids, pa.string()).to_pylist() == ["4"] * 50 + ["5"] * 50


@given(st.lists(st.sampled_from(["1", "2.5", "", "NA", None, "-1e3"]), max_size=30), st.integers(0, 30))
def test_the_first_wrong_value_is_found_wherever_it_lies(values: list[str | None], at: int) -> None:
    column = pa.chunked_array([pa.array(values[:7], pa.string()), pa.array(values[7:], pa.string())])
    assert casting.first_wrong(column, pa.float64()) is None
    wrong = [*values[:at], "x", *values[at:], "y"]
    found = casting.first_wrong(pa.chunked_array([pa.array(wrong)]), pa.float64())
    assert found == min(at, len(values))


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        (pa.array([Decimal("1.25"), None]), pa.float64(), [1.25, None]),
        (pa.array([True, None]), pa.float64(), [1.0, None]),
        (pa.array([True, None]), pa.string(), ["true", None]),
        (pa.array([1.0, 2.5]), pa.string(), ["1", "2.5"]),
        (pa.nulls(2), pa.float64(), [None, None]),
        (pa.array([1.0, 2.0]), pa.int64(), [1, 2]),
        (pa.array(["NA", "7"]).dictionary_encode(), pa.float64(), [None, 7.0]),
        (pa.array(["NA", "7"]).dictionary_encode(), pa.string(), ["NA", "7"]),
        (pa.array(["x"], pa.string_view()), pa.string(), ["x"]),
    ],
)
def test_values_keep_their_meaning(values: pa.Array, kind: pa.DataType, expected: list[Any]) -> None:
    found = casting.cast(pa.chunked_array([values]), kind)
    assert (found.type, found.to_pylist()) == (kind, expected)


def test_a_time_between_whole_numbers_is_refused() -> None:
    with pytest.raises(pa.ArrowInvalid):
        casting.cast(pa.chunked_array([[1.5]]), pa.int64())


def test_what_columns_are_read_as_follows_their_roles() -> None:
    data = DataConfig(
        source="t.csv",
        series_id=["site"],
        time="when",
        past=["wind"],
        weight="counts",
        categorical=["kind"],
        label="state",
        label_kind="value",
    )
    expected = {"site": "words", "when": "time", "wind": "numbers", "counts": "numbers", "kind": "words"}
    assert casting.kinds(data, ["town", "kind"]) == expected | {"state": "numbers", "town": "words"}
    assert casting.kinds(data.model_copy(update={"label_kind": "class"}))["state"] == "words"
