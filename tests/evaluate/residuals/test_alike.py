"""A planted group of series that fail alike is found and named; noise falls into no groups."""

from __future__ import annotations

import numpy as np
import pytest

from lstm_ray.evaluate.residuals import alike
from lstm_ray.evaluate.residuals.sample import sampled


def _told(seen, data, policy):
    view, models = seen(data, policy)
    return alike.told(view, sampled(view, models))


def _number(segments, rows):
    numbers = np.array([int(name[1:]) for name in segments.series])
    return numbers[segments.series_of(rows)][..., None]


@pytest.fixture
def many(make_data):
    return make_data(num_series=14, steps=2400, cut_first=False)


def test_series_that_are_too_low_on_weekends_are_found_and_named(many, seen, erring, noise):
    def error(segments, rows):
        weekend = ((segments.times(rows).astype("datetime64[D]").astype(int) + 3) % 7 >= 5)[..., None]
        return 0.3 * noise(segments, rows) - 4 * (weekend & (_number(segments, rows) >= 9))

    told = _told(seen, many, erring(error))
    [finding] = told.findings
    assert finding.text.startswith("5 series fail alike: too low on weekends (s10, s11, s12, s13, s9)")
    assert finding.severity == "advice"
    first = told.details["series_alike"]["clusters"][0]
    assert first["series"] == ["s10", "s11", "s12", "s13", "s9"]
    assert first["bias"] < -0.5


def test_series_that_lose_to_the_baseline_are_told_to_be_served_by_it(many, seen, erring, noise):
    def error(segments, rows):
        return (0.3 + 3.0 * (_number(segments, rows) < 4)) * noise(segments, rows)

    told = _told(seen, many, erring(error))
    [finding] = told.findings
    assert finding.text.startswith("4 series fail alike: worse against the baseline")
    assert "above the seasonal naive's" in finding.text
    assert "Serve the seasonal naive" in finding.advice


def test_noise_falls_into_no_groups(many, seen, erring, noise):
    [finding] = _told(seen, many, erring(lambda segments, rows: 0.3 * noise(segments, rows))).findings
    assert finding.severity == "info"
    assert "do not fall into groups" in finding.text


def test_few_series_are_not_grouped(make_data, seen, erring, noise):
    told = _told(seen, make_data(num_series=7, cut_first=False), erring(noise))
    assert not told.findings
    assert not told.figures


def test_series_without_error_are_left_out(many, seen, erring):
    assert not _told(seen, many, erring(lambda segments, rows: np.zeros((*rows.shape, 1)))).findings
