"""Errors that grow with the forecast are found, and even ones are not accused."""

from __future__ import annotations

import numpy as np
import pytest

from lstm_ray.evaluate.residuals import spread
from lstm_ray.evaluate.residuals.sample import apart, sampled


def _told(seen, data, policy):
    view, models = seen(data, policy)
    return spread.told(view, sampled(view, models), apart(view, models))


@pytest.fixture
def long(make_data):
    return make_data(num_series=1, steps=9000, cut_first=False)


def test_planted_heteroscedasticity_is_found_with_its_size(long, seen, erring, noise):
    def error(segments, rows):
        level = (segments.target_RC[rows] - 7) / 6
        return 0.4 * noise(segments, rows) * np.clip(level, 0.1, 1) ** 2

    told = _told(seen, long, erring(error))
    [finding] = told.findings
    assert finding.severity == "advice"
    assert "hangs on the level" in finding.text
    assert "log1p" in finding.advice
    assert told.details["heteroscedasticity"]["ratio"] > 2
    assert told.details["heteroscedasticity"]["breusch_pagan_p"] < 0.01


def test_even_errors_are_not_accused(long, seen, erring, noise):
    told = _told(seen, long, erring(lambda segments, rows: 0.1 * noise(segments, rows)))
    [finding] = told.findings
    assert finding.severity == "info"
    assert "does not clearly hang" in finding.text
    assert told.details["heteroscedasticity"]["ratio"] == pytest.approx(1, abs=0.3)


def test_few_windows_are_drawn_but_not_tested(make_data, seen, erring, noise):
    told = _told(seen, make_data(num_series=1, steps=300, cut_first=False), erring(noise))
    assert not told.findings
    assert told.details["heteroscedasticity"]["breusch_pagan_p"] is None
    assert len(told.figures) == 1


def test_a_forecast_that_is_always_the_same_has_no_levels(long, seen, erring):
    told = _told(seen, long, erring(lambda segments, rows: -segments.target_RC[rows]))
    assert not told.findings
    assert not told.figures
