"""Inputs have names, and windows take some of them from others."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lstm_ray.evaluate.explain.inputs import Input, donors, inputs_of, mixed, varies
from lstm_ray.evaluate.gather import cut_out


def test_every_column_belongs_to_one_input(data):
    schema = data.segments.schema.model_copy(
        update={
            "known": ["price", "size"],
            "calendar": ["hour", "month"],
            "holidays": ["2024-01-01"],
            "categories": {"kind": ["x"]},
        }
    )
    found = inputs_of(schema, static=["size"])
    names = [one.name for one in found]
    assert names == [
        "target0",
        "a",
        "b",
        "price",
        "size",
        "calendar: hour",
        "calendar: month",
        "calendar: holiday",
        "kind",
    ]
    known = [column for one in found if one.role == "known" for column in one.columns]
    assert known == list(range(schema.num_known))
    assert [one.name for one in found if one.fixed] == ["size", "kind"]
    assert [one.name for one in found if one.has_lags] == ["target0", "a", "b"]


def test_windows_stand_for_others_of_their_series_and_never_for_themselves():
    series = np.array(["x"] * 6 + ["y"] * 5 + ["few"] * 2 + ["one"])
    found = donors(series, np.random.default_rng(0))
    assert sorted(found) == list(range(14))
    assert (found != np.arange(14)).all()
    assert (series[found][:11] == series[:11]).all()
    assert set(found[11:]) == {11, 12, 13}, "those of small series stand for each other"


def test_only_the_asked_columns_and_rows_are_taken(data):
    origin_M = np.array([100, 150, 200])
    whole, _ = cut_out(data.segments, origin_M, 48, 12)
    where = np.zeros(len(whole.target_RC), bool)
    where[whole.bounds[:-1] + 5] = True
    changed = mixed(whole, [Input("a", "past", (0,))], np.array([1, 2, 0]), where)
    expected = whole.past_RP.copy()
    expected[whole.bounds[:-1] + 5, 0] = whole.past_RP[whole.bounds[:-1][[1, 2, 0]] + 5, 0]
    np.testing.assert_array_equal(changed.past_RP, expected)
    assert changed.target_RC is whole.target_RC


def test_a_target_brings_which_of_its_steps_were_observed(data):
    whole, _ = cut_out(data.segments, np.array([100, 150]), 48, 12)
    changed = mixed(whole, [Input("target0", "target", (0,))], np.array([1, 0]))
    length = len(whole.target_RC) // 2
    np.testing.assert_array_equal(changed.observed_RC, np.roll(whole.observed_RC, length, axis=0))
    np.testing.assert_array_equal(changed.target_RC, np.roll(whole.target_RC, length, axis=0))


def test_steps_are_counted_from_the_end_where_lengths_differ(sequences_data):
    whole = sequences_data.segments
    donor = np.roll(np.arange(200), 1)
    changed = mixed(whole, [Input("a", "past", (0,))], donor)
    ends = whole.bounds[1:] - 1
    np.testing.assert_array_equal(changed.past_RP[ends, 0], whole.past_RP[ends[donor], 0])
    np.testing.assert_array_equal(changed.past_RP[:, 1], whole.past_RP[:, 1])


def test_an_input_that_is_always_the_same_does_not_vary(data):
    segments = replace(data.segments, past_RP=data.segments.past_RP * np.array([1, 0], np.float32))
    assert varies(segments, Input("a", "past", (0,)))
    assert not varies(segments, Input("b", "past", (1,)))
