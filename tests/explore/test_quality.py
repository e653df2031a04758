"""What was put right on reading, intervals off the grid, and words by part."""

from __future__ import annotations

from collections import Counter

import numpy as np
import polars as pl
import yaml

from lstm_ray.explore import quality
from lstm_ray.sections.data import DataConfig
from tests.explore.tables import HOUR, hourly, noise, said

DATA = DataConfig(source="x.csv", time="time", target=["y"], duplicates="mean", time_zone="Europe/Berlin")
MINUTE = 60_000_000


def test_duplicates_and_double_hours_are_counted_in_words():
    counts = Counter(duplicates=30, ambiguous=2, unheard_of=1)
    analysis = quality.put_right(counts, 1000, DATA)
    assert "30 of 1,030 rows (2.9 %) repeat the time of another row of their series (data.duplicates: mean)" in said(
        analysis, "warning"
    )
    text = said(analysis, "info")
    assert "2 of 1,030 rows (0.2 %) lie in an hour that came twice, as the clocks of Europe/Berlin went back" in text
    assert "1 of 1,030 rows (under 0.1 %) were put right on reading (unheard_of)" in text
    assert quality.put_right(Counter(), 1000, DATA).findings == []


def test_intervals_off_the_grid_are_measured_and_drawn():
    differences = pl.DataFrame({"difference": [60 * MINUTE, 75 * MINUTE, 120 * MINUTE], "n": [80, 15, 5]})
    analysis = quality.intervals(differences, HOUR, DATA)
    text = "15 of 100 differences between time stamps (15.0 %) are no multiple of the step 1h; they go from 1h to 2h."
    assert said(analysis, "info") == text
    assert analysis.figures[0].traces[0]["x"] == ["1h", "75m", "2h"]
    regular = quality.intervals(differences.filter(pl.col("difference") != 75 * MINUTE), HOUR, DATA)
    assert (regular.findings, regular.figures) == ([], [])


def test_a_grid_that_most_rows_miss_is_advised_away():
    odd = pl.DataFrame({"difference": [60 * MINUTE, 61 * MINUTE, 62 * MINUTE], "n": [30, 29, 28]})
    data = DATA.model_copy(update={"irregular": "resample"})
    [finding] = quality.intervals(odd, HOUR, data).findings
    assert yaml.safe_load(finding.advice) == {"data": {"irregular": "time_delta", "frequency": None}}


def test_times_between_rows_are_described_where_rows_are_steps():
    frame = hourly({"y": noise(101)}).with_columns(time_delta=pl.Series([0.0] + [60.0] * 99 + [600.0]))
    text = said(quality.deltas(frame), "advice")
    assert "60 after the one before at the median, 60 to " in text
    assert text.endswith("data: {irregular: resample}")
    uneven = frame.with_columns(time_delta=pl.Series(np.random.default_rng(1).exponential(size=101)))
    assert said(quality.deltas(uneven), "advice") == ""


def test_words_that_training_never_saw_are_named():
    part = ["train"] * 60 + ["validation"] * 20 + ["test"] * 20
    words = ["a"] * 30 + ["b"] * 30 + ["a"] * 20 + ["c"] * 15 + ["b"] * 5
    frame = hourly({"y": noise(100)}).with_columns(part=pl.Series(part), shop=pl.Series(words))
    analysis = quality.categories(frame, ["shop"])
    assert "1 of 3 words of 'shop' are not in the training part (c)" in said(analysis, "warning")
    assert "'c' of 'shop' is 0.0 % of the training part's rows and 75.0 % of the test part's" in said(analysis, "info")
    assert analysis.tables["categories"][0] == {
        "column": "shop",
        "value": "a",
        "train": 0.5,
        "validation": 1.0,
        "test": 0.0,
    }
    same = frame.with_columns(shop=pl.Series(["a", "b"] * 50))
    assert quality.categories(same, ["shop"]).findings == []
