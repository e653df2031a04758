"""Windows and steps are told apart by the clock and by their history alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lstm_ray.data.windows import origins
from lstm_ray.evaluate.forecasts.strata import FIFTHS, calendar_cells, strata_of
from lstm_ray.evaluate.gather import future_rows, series_names

HOUR, DAY = 3_600_000_000, 86_400_000_000


def _series(data, origins_M):
    return series_names(data.segments)[1][data.segments.series_of(origins_M)]


def _strata(data):
    found = strata_of(data.segments, data.parts, data.window)
    assert found is not None
    return found


@pytest.mark.parametrize("zone", [None, "America/New_York"])
def test_cells_are_those_of_the_calendars_clock(data, zone):
    """1970-01-01 was a Thursday; in New York the first five hours of it were still Wednesday."""
    segments = replace(data.segments, schema=data.segments.schema.model_copy(update={"time_zone": zone}))
    rows = future_rows(np.array([10, 700, 701]), 30).T
    found = calendar_cells(segments, rows)
    assert found.keys() == {"weekday_hour", "month"}
    hours = segments.steps(rows.ravel()).reshape(rows.shape) - (5 if zone else 0)
    np.testing.assert_array_equal(found["weekday_hour"][0], (hours + 3 * 24) % 168)
    np.testing.assert_array_equal(found["month"][0], np.where(hours < 0, 11, hours // (31 * 24)))
    one = calendar_cells(segments, rows[:, 2])
    np.testing.assert_array_equal(one["weekday_hour"][0], found["weekday_hour"][0][:, 2])


def test_windows_far_apart_have_the_same_cells_as_each_alone(data):
    rows = future_rows(np.array([5, 290, 1500]), 3).T
    whole = calendar_cells(data.segments, rows)
    for m in range(3):
        alone = calendar_cells(data.segments, rows[:, m])
        for name, (index, _) in alone.items():
            np.testing.assert_array_equal(whole[name][0][:, m], index)


@pytest.mark.parametrize(
    ("step", "names"),
    [
        (HOUR, {"weekday_hour", "month"}),
        (DAY, {"weekday", "month"}),
        (2 * DAY, {"weekday", "month"}),
        (7 * DAY, {"month"}),
    ],
)
def test_only_what_tells_steps_apart_is_counted(data, step, names):
    segments = replace(data.segments, schema=data.segments.schema.model_copy(update={"step": step}))
    assert calendar_cells(segments, np.arange(20)).keys() == names


def test_months_and_plain_steps_have_no_days(make_data):
    plain = make_data(is_time=False).segments
    assert calendar_cells(plain, np.arange(5)) == {}
    months = replace(plain, schema=plain.schema.model_copy(update={"in_months": True, "step": 1}))
    (index, num) = calendar_cells(months, np.arange(14))["month"]
    assert index.tolist() == [*range(12), 0, 1]
    assert num == 12


def test_fifths_of_the_training_windows_hold_a_fifth_each(data):
    train_M = origins(data.segments, data.parts, "train", data.window)
    for name, (index, num) in _strata(data).of(data.segments, train_M, _series(data, train_M)).items():
        share = np.bincount(index.ravel(), minlength=num) / index.size
        np.testing.assert_allclose(share, 1 / FIFTHS, atol=0.01, err_msg=name)


def test_a_level_is_that_of_the_newest_season_in_units_of_the_series_training_part(data):
    """Each series stands elsewhere; a window is high where it is high for its own series."""
    strata, origin = _strata(data), np.array([1000])
    segments = data.segments
    target = segments.target_RC.copy()
    target[origin[0] - 23 : origin[0] + 1] += 100
    raised = replace(segments, target_RC=target)
    assert strata.of(raised, origin, _series(data, origin))["level"][0].tolist() == [[FIFTHS - 1]]
    target[origin[0] - 23 : origin[0] + 1] -= 200
    assert strata.of(raised, origin, _series(data, origin))["level"][0].tolist() == [[0]]
    target[origin[0] - 23 : origin[0] + 1] += 100 + 50 * np.resize([1, -1], 24)[:, None]
    assert strata.of(raised, origin, _series(data, origin))["volatility"][0].tolist() == [[FIFTHS - 1]]


def test_nothing_after_the_training_part_moves_an_edge_and_nothing_after_an_origin_its_stratum(data):
    segments, strata = data.segments, _strata(data)
    steps = segments.steps(np.arange(len(segments.target_RC)))
    later = np.where(steps[:, None] >= data.parts["train"][1], 1e6, segments.target_RC).astype(np.float32)
    scrambled = replace(data, segments=replace(segments, target_RC=later))
    np.testing.assert_array_equal(_strata(scrambled).level_edges, strata.level_edges)
    np.testing.assert_array_equal(_strata(scrambled).volatility_edges, strata.volatility_edges)
    test_M = origins(segments, data.parts, "test", data.window)[:1]
    target = segments.target_RC.copy()
    target[test_M[0] + 1 :] = -1e6
    after = strata.of(replace(segments, target_RC=target), test_M, _series(data, test_M))
    for name, (index, _) in strata.of(segments, test_M, _series(data, test_M)).items():
        np.testing.assert_array_equal(after[name][0], index)


def test_a_part_without_training_windows_has_no_strata(data):
    assert strata_of(data.segments, {**data.parts, "train": (0, 10)}, data.window) is None


def test_a_constant_series_has_strata_without_a_warning(data):
    flat = replace(data, segments=replace(data.segments, target_RC=np.ones_like(data.segments.target_RC)))
    test_M = origins(data.segments, data.parts, "test", data.window)
    for index, num in _strata(flat).of(flat.segments, test_M, _series(data, test_M)).values():
        assert index.min() >= 0
        assert index.max() < num
