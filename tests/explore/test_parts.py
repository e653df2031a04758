"""Rows in the parts that later stages cut."""

from __future__ import annotations

import numpy as np
import polars as pl

from lstm_ray.explore.analysis import axis_of
from lstm_ray.explore.parts import with_parts
from lstm_ray.sections.prepare import SplitConfig
from tests.explore.tables import HOUR, hourly


def parts_of(frame, split, **more):
    return with_parts(frame, split, HOUR, axis_of(frame), **more)["part"].to_list()


def test_dates_cut_where_they_say():
    frame = hourly({"y": np.zeros(100)})
    split = SplitConfig(validation_from="2024-01-03", test_from="2024-01-04")
    parts = parts_of(frame, split)
    assert [parts[i] for i in (47, 48, 71, 72)] == ["train", "validation", "validation", "test"]
    assert parts_of(frame, split, time_zone="Europe/Berlin")[47] == "validation"


def test_series_that_are_dealt_lie_whole_in_their_part():
    frame = hourly({"y": np.zeros(5)}, "a").vstack(hourly({"y": np.zeros(5)}, "b"))
    dealt = pl.DataFrame({"series": ["b", "a"], "part": ["test", None]})
    assert parts_of(frame, SplitConfig(by="group"), dealt=dealt) == [None] * 5 + ["test"] * 5
