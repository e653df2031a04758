"""All that errors show, for data of every kind."""

from __future__ import annotations

import json

import pytest

from lstm_ray.evaluate.residuals import told as residuals


@pytest.mark.parametrize(
    "kind",
    [
        {},
        {"channels": 2},
        {"is_time": False},
        {"num_series": 1, "cut_first": False},
        {"num_series": 1, "steps": 60, "cut_first": False, "missing": 0.0},
        {"num_series": 9, "steps": 320, "cut_first": False},
        {"missing": 0.0, "noise": 0.0},
        {"missing": 0.9},
    ],
)
def test_any_test_part_is_told_without_a_number_that_is_none(make_data, seen, fake_policy, kind):
    view, models = seen(make_data(**kind), fake_policy(quantiles=[0.1, 0.5, 0.9], bias=0.5))
    found = residuals.told(view, models, None)
    json.dumps(found.details, allow_nan=False)
    ids = [figure.id for figure in found.figures]
    assert len(ids) == len(set(ids))
    for figure in found.figures:
        json.dumps(figure.model_dump(), allow_nan=False)
        assert "nan" not in figure.caption
    assert not [finding.text for finding in found.findings if "nan" in finding.text]
    assert found.topic == "Where it errs"


def test_the_sample_is_bounded_however_many_windows_there_are(make_data, seen, fake_policy):
    policy = fake_policy()
    view, models = seen(make_data(num_series=9, steps=4000, cut_first=False), policy)
    policy.asked = 0
    residuals.told(view, models, None)
    assert len(view.origins_M) > 7000
    assert policy.asked < 4_000 + 200
