"""Figures are plain data that any JSON reader takes."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import numpy as np
import pytest

from lstm_ray.figure import Figure, bars, heatmap, line, lines, plain, shaded
from lstm_ray.run_dir import to_json


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 2.0, np.float32(0.1)], [1, 2.0, 0.1]),
        ([np.nan, np.inf, -np.inf, None], [None] * 4),
        (np.array([1.23456789, np.nan]), [1.23457, None]),
        ([np.int64(123456789), "a", True], [123456789, "a", True]),
        (np.array(["2024-03-01T05"], dtype="datetime64[us]"), ["2024-03-01T05:00:00"]),
        ([datetime(2024, 3, 1)], ["2024-03-01T00:00:00"]),
    ],
)
def test_values_become_plain(values: Any, expected: list[Any]) -> None:
    assert plain(values) == expected


def drawn() -> list[Figure]:
    x, y = np.arange(3), np.array([1.0, np.nan, 3.0])
    return [
        lines("l", "Lines", "Three.", x, {"a": y, "b": y}, x_title="x", y_title="y", band=(y - 1, y + 1, "band")),
        bars("b", "Bars", "Three.", ["p", "q", "r"], {"a": y}),
        heatmap("h", "Heat", "Nine.", x, x, np.stack([y, y, y]), diverging=True),
    ]


def test_figures_survive_json() -> None:
    for figure in drawn():
        assert Figure.model_validate(json.loads(to_json(figure))) == figure


def test_a_band_lies_behind_the_lines_and_is_named_once() -> None:
    low, high, *series = drawn()[0].traces
    assert (low["showlegend"], high["fill"], high["name"]) == (False, "tonexty", "band")
    assert [trace["name"] for trace in series] == ["a", "b"]
    assert low["y"] == [0.0, None, 2.0]


def test_a_diverging_heatmap_is_centred_on_zero() -> None:
    assert drawn()[2].traces[0]["zmid"] == 0
    assert "zmid" not in heatmap("h", "Heat", "One.", [0], [0], [[1.0]]).traces[0]


def test_a_band_belongs_to_its_line_or_to_none() -> None:
    low, high = shaded([1, 2], [0.0, 1.0], [2.0, 3.0], "95 %", of="a", legend=False)
    assert (low["y"], high["y"], high["fill"]) == ([0, 1], [2, 3], "tonexty")
    assert low["legendgroup"] == high["legendgroup"] == line([1], [1], "a", banded=True)["legendgroup"]
    assert not high["showlegend"]
    low, high = shaded([1], [0.0], [1.0], "bounds")
    assert "legendgroup" not in low | high | line([1], [1], "bounds")
    assert high["showlegend"]
