"""Labelled sequences of known balance."""

from __future__ import annotations

import polars as pl

from lstm_ray.explore.analysis import axis_of
from lstm_ray.explore.classes import balance
from lstm_ray.explore.parts import with_parts
from lstm_ray.sections.prepare import SplitConfig
from tests.explore.tables import HOUR, labelled, said


def balanced(frame):
    return balance(with_parts(frame, SplitConfig(), HOUR, axis_of(frame), whole_sequences=True), "label", HOUR)


def test_the_balance_is_counted_over_all_and_over_time():
    analysis = balanced(labelled())
    assert analysis.tables["classes"][0] == {"class": "on time", "count": 90, "share": 0.75}
    assert "on time 90 (75.0 %), late 30 (25.0 %)" in said(analysis)
    assert sum(row["count"] for row in analysis.tables["classes_over_time"]) == 120
    assert "Every sequence has 24 steps." in said(analysis)


def test_a_majority_that_makes_accuracy_useless_is_said():
    text = said(balanced(labelled(num=200, late_share=0.1)), "advice")
    assert "Always answering 'on time' is right 90.0 % of the time" in text


def test_rare_classes_are_warned_of():
    assert "late (6)" in said(balanced(labelled(num=60, late_share=0.1)), "warning")


def test_classes_that_shift_over_time_are_warned_of():
    text = said(balanced(labelled(shift=True)), "warning")
    assert "'on time' is 100.0 % of the training part and 0.0 % of the" in text


def test_one_class_is_a_warning_not_a_crash():
    frame = labelled(num=20).with_columns(label=pl.lit("only"))
    assert "one class only, only" in said(balanced(frame), "warning")


def test_a_label_that_changes_inside_a_sequence_is_warned_of():
    mixed = pl.when((pl.col("series") == "003") & pl.int_range(pl.len()).over("series").gt(12)).then(pl.lit("on time"))
    frame = labelled(num=40, late_share=1).with_columns(label=mixed.otherwise("label"))
    assert "'label' changes inside 1 sequence" in said(balanced(frame), "warning")
