"""Normal errors pass for normal, and heavy tails are named."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import jarque_bera

from lstm_ray.evaluate.residuals import shape
from lstm_ray.evaluate.residuals.sample import apart, one_of_each, sampled


def _told(seen, data, policy, distribution=None):
    view, models = seen(data, policy)
    return shape.told(view, sampled(view, models), apart(view, models), distribution)


@pytest.fixture
def long(make_data):
    return make_data(num_series=2, steps=9000, cut_first=False)


def test_normal_errors_are_not_accused(long, seen, erring, noise):
    [finding] = _told(seen, long, erring(noise), "gaussian").findings
    assert finding.severity == "info"
    assert finding.text.startswith("Errors may well be normal")


def test_errors_that_grow_with_the_horizon_are_normal_still(long, seen, erring, noise):
    def error(segments, rows):
        return noise(segments, rows) * np.arange(1, 13)[None, :, None] ** 1.5

    [finding] = _told(seen, long, erring(error)).findings
    assert finding.text.startswith("Errors may well be normal")


def test_heavy_tails_are_named_and_a_gaussian_head_is_advised_against(long, seen, erring, noise):
    policy = erring(lambda segments, rows: noise(segments, rows) ** 3)
    told = _told(seen, long, policy, "gaussian")
    [finding] = told.findings
    assert "heavier tails" in finding.text
    assert "student_t" in finding.advice
    assert told.details["normality"]["kurtosis"] > 5
    assert not _told(seen, long, policy).findings[0].advice, "quantiles assume no shape"


def test_the_p_value_is_of_one_error_of_each_window_that_shares_no_step(long, seen, erring, noise):
    view, models = seen(long, erring(noise))
    few = apart(view, models)
    gaps = np.diff(np.sort(few.step_M))
    assert gaps.min() >= view.window.horizon
    assert len(np.unique(few.step_M % 24)) > 20, "windows begin at all hours"
    scaled, _ = one_of_each(few)
    assert len(scaled) <= len(few.step_M)
    told = shape.told(view, sampled(view, models), few, None)
    assert told.details["normality"]["jarque_bera_p"] == pytest.approx(jarque_bera(scaled).pvalue)


def test_few_windows_are_drawn_but_not_tested(make_data, seen, erring, noise):
    told = _told(seen, make_data(num_series=1, steps=300, cut_first=False), erring(noise))
    assert not told.findings
    assert [figure.id for figure in told.figures] == ["residuals-by-horizon"]


def test_errors_that_never_vary_have_no_shape(long, seen, erring):
    assert not _told(seen, long, erring(lambda segments, rows: np.ones((*rows.shape, 1)))).findings
