"""Labelled sequences with a known difference."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from lstm_ray.explore.separation import separation
from tests.explore.tables import labelled, said


def test_the_column_that_differs_is_ranked_first():
    analysis = separation(labelled(gap=0.5), ["noise", "x"], "label", 0)
    best = analysis.tables["separation"][0]
    assert (best["column"], best["summary"]) == ("x", "mean")
    assert 0.8 < best["auc"] < 1
    assert "the mean of x" in said(analysis)
    assert said(analysis, "warning") == ""
    ids = [figure.id for figure in analysis.figures]
    assert ids == ["separation", "mean-sequence-1", "mean-sequence-2", "differences"]


def test_a_column_that_gives_the_answer_away_is_a_leak():
    text = said(separation(labelled(gap=10), ["noise", "x"], "label", 0), "warning")
    assert "of 'x' alone ranks a class of 'label' with AUC 1.0000" in text


def test_the_mean_sequences_are_the_means():
    analysis = separation(labelled(gap=4.0), ["x"], "label", 0)
    rows = analysis.tables["mean_sequence"]
    means = {name: np.mean([row["x"] for row in rows if row["class"] == name]) for name in ("late", "on time")}
    assert means["late"] - means["on time"] == pytest.approx(4, abs=0.2)


def test_noise_separates_nothing():
    assert "No summary of a column" in said(separation(labelled(gap=0), ["noise"], "label", 3))


@pytest.mark.parametrize("values", [np.ones(24), np.full(24, np.nan)])
def test_constant_and_missing_columns_survive(values):
    frame = labelled(num=40).with_columns(pl.Series("noise", np.tile(values, 40)).fill_nan(None))
    analysis = separation(frame, ["noise"], "label", 0)
    assert all(row["auc"] == 0.5 for row in analysis.tables.get("separation", []))


def test_one_class_leaves_nothing_to_tell_apart():
    frame = labelled(num=20).with_columns(label=pl.lit("only"))
    assert separation(frame, ["x"], "label", 0).figures == []
