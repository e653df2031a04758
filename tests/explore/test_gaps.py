"""Missing time stamps and values, injected and found."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import yaml

from lstm_ray.data.timeline import grid
from lstm_ray.explore import gaps
from lstm_ray.sections.data import DataConfig
from tests.explore.tables import HOUR, daily_wave, hourly, said

DATA = DataConfig(source="x.csv", time="time", target=["y"], past=["a", "b"])


@pytest.fixture
def holed():
    """Two series; the first lacks hours 100 to 129 and hour 200."""
    first = hourly({"y": daily_wave(400)}, "first")
    kept = [i for i in range(400) if not (100 <= i < 130 or i == 200)]
    return first[kept].vstack(hourly({"y": daily_wave(400)}, "second"))


def test_a_gap_is_counted_measured_and_placed(holed):
    analysis = gaps.timestamps(holed, HOUR, 48)
    text = said(analysis)
    assert "31 time stamps are missing (3.9 %) in 2 gaps of 1 series" in text
    assert "the longest, 30 steps (30h), follows 2024-01-05 03:00 in 'first'" in text
    assert analysis.tables["gaps"][0]["missing_steps"] == 30
    assert yaml.safe_load(analysis.findings[0].advice) == {"preprocess": {"max_gap_steps": 30}}


def test_gaps_longer_than_a_season_are_not_to_be_filled(holed):
    assert gaps.timestamps(holed, HOUR, 24).findings[0].advice == ""


def test_the_number_missing_is_what_the_regular_grid_adds(holed):
    assert gaps.num_missing(holed, HOUR) == grid.regular(holed, HOUR.step).height - holed.height == 31


def test_a_whole_grid_says_so():
    analysis = gaps.timestamps(hourly({"y": daily_wave(50)}), HOUR, 24)
    assert said(analysis) == "No time stamp is missing: all 49 intervals are 1 step (1h)."
    assert gaps.num_missing(hourly({"y": daily_wave(50)}), HOUR) == 0


def test_missing_values_are_counted_with_their_longest_run():
    values = daily_wave(100)
    values[[5, 40, 41, 42]] = np.nan
    frame = hourly({"y": daily_wave(100), "a": values, "b": daily_wave(100)})
    analysis = gaps.missing_values(frame, ["y", "a", "b"], DATA)
    assert "a 4 (4.0 %, at most 3 in a row)" in said(analysis, "info")


def test_a_column_without_values_is_warned_of_and_advised_away():
    frame = hourly({"y": daily_wave(50), "a": np.full(50, np.nan), "b": daily_wave(50)})
    text = said(gaps.missing_values(frame, ["y", "a", "b"], DATA), "warning")
    assert text == "Column 'a' has no value at all; it can teach little. data: {past: [b]}"


def test_the_only_input_of_a_classifier_is_never_advised_away():
    data = DataConfig(source="x", series_id=["s"], time="t", past=["a"], label="c")
    assert gaps.without("a", data) == ""
    assert gaps.without("y", DataConfig(source="x", time="t", target=["y"])) == ""


def test_the_heatmap_shows_where_values_are_missing_and_only_then(holed):
    marked = holed.with_columns(pl.lit(True).alias(gaps.OBSERVED))
    figure = gaps.missing_map(grid.regular(marked, HOUR.step), ["y"], HOUR).figures[0]
    assert figure.traces[0]["y"] == ["time stamp · first", "y · first"]
    row = figure.traces[0]["z"][0]
    assert row[100 // 4] == 100
    assert row[0] == 0
    whole = hourly({"y": daily_wave(50)}).with_columns(pl.lit(True).alias(gaps.OBSERVED))
    assert gaps.missing_map(whole, ["y"], HOUR).figures == []
