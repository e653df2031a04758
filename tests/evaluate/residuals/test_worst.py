"""The worst windows are found, do not overlap, and are drawn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lstm_ray.data.windows import origins
from lstm_ray.evaluate.residuals import worst


@pytest.fixture
def shaken(data):
    """The data with an episode in the test part, and the number of the window before it."""
    target = data.segments.target_RC.copy()
    test_M = origins(data.segments, data.parts, "test", data.window)
    target[test_M[200] + 1 : test_M[200] + 13] += 200
    return replace(data, segments=replace(data.segments, target_RC=target))


def test_the_worst_windows_are_found_and_do_not_overlap(shaken, seen, fake_policy):
    view, models = seen(shaken, fake_policy())
    found = worst.worst_windows(view, 4)
    assert found[0] == 200
    assert min(abs(np.diff(np.sort(view.origins_M[found])))) >= shaken.window.horizon
    scaled = view.scores["policy"].scaled_M
    assert (np.diff(scaled[found]) <= 0).all()
    [finding] = worst.told(view, models).findings
    assert view.label(200) in finding.text
    assert finding.severity == "advice"


def test_an_episode_that_hits_all_series_at_once_is_drawn_once_where_there_are_others(make_data, seen, fake_policy):
    data = make_data(steps=2000, cut_first=False, missing=0.0)
    target = data.segments.target_RC.copy()
    row = np.arange(len(target))
    target[np.isin(data.segments.steps(row), np.arange(1800, 1812))] += 100
    view, _ = seen(replace(data, segments=replace(data.segments, target_RC=target)), fake_policy())
    found = worst.worst_windows(view, 6)
    steps = np.sort(view.segments.steps(view.origins_M[found]))
    assert len(found) == 6
    assert np.diff(steps).min() >= data.window.horizon
    few = worst.worst_windows(view, 60)
    assert len(few) > len(np.unique(view.segments.steps(view.origins_M[few]) // 12)), (
        "then others of the same time, too"
    )


def test_panels_show_history_forecast_interval_and_the_baseline(shaken, seen, fake_policy):
    view, models = seen(shaken, fake_policy(quantiles=[0.1, 0.5, 0.9]))
    [figure] = worst.told(view, models).figures
    names = [trace.get("name") for trace in figure.traces if trace.get("showlegend") is not False]
    assert names == ["80 % interval", "actual", "policy", "seasonal naive"]
    assert len(figure.layout["annotations"]) == worst.SHOWN
    assert view.label(200) in figure.layout["annotations"][0]["text"]
    assert figure.id == "windows-worst"


def test_of_several_targets_the_one_that_errs_most_is_drawn(make_data, seen, fake_policy):
    data = make_data(channels=2, missing=0.0)
    target = data.segments.target_RC.copy()
    test_M = origins(data.segments, data.parts, "test", data.window)
    target[test_M[100] + 1 : test_M[100] + 13, 1] += 500
    view, models = seen(replace(data, segments=replace(data.segments, target_RC=target)), fake_policy())
    [figure] = worst.told(view, models).figures
    assert "target1" in figure.layout["annotations"][0]["text"]


def test_one_window_is_enough_and_an_unmeasured_test_part_too_few(make_data, seen, fake_policy):
    data = make_data(num_series=1, steps=60, cut_first=False, missing=0.0)
    view, models = seen(data, fake_policy())
    assert len(view.origins_M) == 1
    assert len(worst.told(view, models).figures) == 1
    segments = replace(data.segments, observed_RC=np.zeros_like(data.segments.observed_RC))
    told = worst.told(*seen(replace(data, segments=segments), fake_policy()))
    assert not told.findings
    assert not told.figures
    assert told.details == {"worst_windows": []}


def test_of_few_windows_there_is_no_worst_twentieth(data, seen, fake_policy):
    data.parts["test"] = (588, 600)
    view, models = seen(data, fake_policy())
    assert len(view.origins_M) < worst.FEW
    [finding] = worst.told(view, models).findings
    assert "5 %" not in finding.text
    assert finding.severity == "info"


def test_a_window_is_forecast_from_all_that_it_was_scored_by(data, seen, fake_policy):
    """Steps before the history decide what is called an outlier in it."""
    read = []

    class Counting(fake_policy):
        def forecast_windows(self, segments, origins_M, batch=512):
            read.append(origins_M[0] - segments.bounds[segments.series_of(origins_M[:1])[0]] + 1)
            return super().forecast_windows(segments, origins_M)

    view, models = seen(data, Counting())
    read.clear()
    worst.worst_figure(replace(view, before=30), models)
    assert set(read) == {data.window.history + 30}
