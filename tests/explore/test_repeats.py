"""Copies, planted and absent."""

from __future__ import annotations

import numpy as np
import polars as pl

from lstm_ray.explore import repeats
from lstm_ray.explore.analysis import axis_of
from lstm_ray.explore.parts import with_parts
from lstm_ray.sections.prepare import SplitConfig
from tests.explore.tables import HOUR, START, daily_wave, hourly, labelled, noise, said


def parted(frame, **more):
    return with_parts(frame, SplitConfig(), HOUR, axis_of(frame), **more)


def test_a_test_window_that_training_holds_is_a_leak():
    values = noise(1000, 1)
    values[900:950] = values[200:250]
    analysis = repeats.windows(parted(hourly({"y": values})), ["y"], 24, HOUR)
    text = said(analysis, "warning")
    assert "50 of the 150 steps of the test part (33.3 %)" in text
    assert "from 2024-02-07 12:00 in 'a' is also at 2024-01-09 08:00 in 'a'" in text
    assert len(analysis.tables["repeated_windows"]) == 10


def test_a_copy_in_another_series_is_found():
    first, second = noise(500, 2), noise(500, 3)
    second[440:480] = first[100:140]
    frame = hourly({"y": first}, "a").vstack(hourly({"y": second}, "b"))
    assert "in 'b' is also at 2024-01-05 04:00 in 'a'" in said(repeats.windows(parted(frame), ["y"], 24, HOUR))


def test_honest_values_zeros_holes_and_shorter_copies_repeat_nothing():
    short = noise(1000, 4)
    short[900:920] = short[200:220]
    quiet = np.where(np.arange(1000) % 24 < 18, 0.0, noise(1000, 5))
    holes = np.where(np.arange(1000) % 100 < 50, np.nan, noise(1000, 6))
    for values in (daily_wave(1000), short, quiet, holes, np.zeros(1000), noise(20)):
        assert repeats.windows(parted(hourly({"y": values})), ["y"], 24, HOUR).findings == []


def test_a_stretch_over_two_series_is_none():
    values = noise(700, 7)
    first, second = values[:350], np.concatenate([values[350:690], values[345:355]])
    frame = hourly({"y": first}, "a").vstack(hourly({"y": second}, "b"))
    assert repeats.windows(parted(frame), ["y"], 24, HOUR).findings == []


def test_a_series_under_two_names_is_named():
    frame = hourly({"y": noise(60, 1)}, "a").vstack(hourly({"y": noise(60, 2)}, "b"))
    assert repeats.series(frame, ["y"]).findings == []
    twice = frame.vstack(hourly({"y": noise(60, 1)}, "c", START.replace(year=2020)))
    assert "1 series repeats another to the last digit (3 in all): 'c' is 'a'." in said(
        repeats.series(twice, ["y"]), "warning"
    )


def test_series_of_nothing_but_zeros_are_no_copies():
    frame = hourly({"y": np.zeros(60)}, "a").vstack(hourly({"y": np.zeros(60)}, "b"))
    assert repeats.series(frame, ["y"]).findings == []


def test_a_sequence_in_training_and_test_is_a_leak_and_its_two_labels_a_fault():
    frame = parted(labelled(), whole_sequences=True)
    assert repeats.sequences(frame, ["x", "noise"], "label").findings == []
    copy = frame.filter(pl.col("series") == "005").select("x", "noise")
    changed = frame.with_columns(
        pl.when(pl.col("series") == "118")
        .then(pl.Series(np.resize(copy[c].to_numpy(), frame.height)))
        .otherwise(c)
        .alias(c)
        for c in ("x", "noise")
    )
    changed = changed.with_columns(label=pl.when(pl.col("series") == "118").then(pl.lit("late")).otherwise("label"))
    text = said(repeats.sequences(changed, ["x", "noise"], "label"), "warning")
    assert (
        "1 sequence of validation and test is in training too, to the last digit, such as '118', which is '005'" in text
    )
    assert "1 sequence has two labels, for the same values: '005' and '118' (late and on time)" in text
