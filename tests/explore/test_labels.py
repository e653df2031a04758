"""Labelled steps of known balance."""

from __future__ import annotations

import numpy as np
import polars as pl

from lstm_ray.explore.analysis import Analysis, axis_of
from lstm_ray.explore.labels import balance, presence, told_by_inputs
from lstm_ray.explore.parts import with_parts
from lstm_ray.sections.prepare import SplitConfig
from tests.explore.tables import HOUR, hourly, noise, said

SIZE = 400


def steps_of(high_from: int = 10, period: int = 20) -> pl.DataFrame:
    """'high' in the second half of each period; 'x' tells it, 'noise' does not."""
    high = np.arange(SIZE) % period >= high_from
    frame = hourly({"x": 4.0 * high + noise(SIZE), "noise": noise(SIZE, 1), "value": 2.0 * high + 0.1 * noise(SIZE, 2)})
    return frame.with_columns(label=pl.when(pl.Series(high)).then(pl.lit("high")).otherwise(pl.lit("low")))


def balanced(frame: pl.DataFrame) -> Analysis:
    return balance(with_parts(frame, SplitConfig(), HOUR, axis_of(frame)), "label", HOUR)


def test_classes_are_counted_with_how_long_they_last() -> None:
    analysis = balanced(steps_of())
    assert analysis.tables["labels"][0] == {
        "class": "high",
        "count": 200,
        "runs": 20,
        "median_run_steps": 10.0,
        "longest_run_steps": 10,
        "share": 0.5,
    }
    assert sum(row["count"] for row in analysis.tables["labels_by_part"]) == SIZE
    assert "A class lasts from 10 steps" in said(analysis)


def test_a_majority_that_makes_accuracy_useless_is_said_with_the_cure() -> None:
    text = said(balanced(steps_of(high_from=18)), "advice")
    assert "Always answering 'low' is right 90.0 % of the time" in text
    assert "class_weights: balanced" in text


def test_a_class_that_the_training_part_lacks_is_warned_of() -> None:
    frame = steps_of().with_columns(
        label=pl.when(pl.int_range(SIZE) > 380).then(pl.lit("fault")).otherwise(pl.col("label"))
    )
    assert "The test part has steps of 'label' of which the training part has none: fault" in said(balanced(frame))


def test_classes_that_shift_over_time_are_warned_of() -> None:
    frame = steps_of().with_columns(
        label=pl.when(pl.int_range(SIZE) > 350).then(pl.lit("high")).otherwise(pl.col("label"))
    )
    assert "The classes shift over time: " in said(balanced(frame), "warning")


def test_steps_without_a_label_are_counted() -> None:
    frame = steps_of()
    assert "Each of the 400 rows has a label" in said(presence(frame, "label"))
    some = frame.with_columns(label=pl.when(pl.int_range(SIZE) % 4 == 0).then(None).otherwise(pl.col("label")))
    assert "100 of 400 rows (25.0 %) have no label" in said(presence(some, "label"), "info")
    few = frame.with_columns(label=pl.when(pl.int_range(SIZE) % 4 == 0).then(pl.col("label")).otherwise(None))
    assert "75.0 %" in said(presence(few, "label"), "advice")


def test_the_input_that_tells_a_class_is_named_and_one_that_is_the_answer_warned_of() -> None:
    frame = steps_of()
    analysis = told_by_inputs(frame, ["noise", "x"], "label", True, 1)
    assert [row["column"] for row in analysis.tables["label_inputs"]] == ["x", "noise"]
    assert "'x' takes most" in said(analysis, "info")
    assert not said(analysis, "warning")
    answer = frame.with_columns(answer=pl.col("label").eq("high").cast(pl.Float64))
    assert "the column holds the answer" in said(told_by_inputs(answer, ["answer"], "label", True, 1), "warning")
    assert "than chance would" in said(told_by_inputs(frame, ["noise"], "label", True, 1), "advice")


def test_the_input_that_tells_a_value_is_named_and_one_that_is_the_answer_warned_of() -> None:
    frame = steps_of()
    analysis = told_by_inputs(frame, ["noise", "x"], "value", False, 1)
    assert "'x' is closest" in said(analysis)
    copied = frame.with_columns(copy=pl.col("value") * 3 + 1)
    assert "it holds the answer (leakage)" in said(told_by_inputs(copied, ["copy"], "value", False, 1), "warning")
