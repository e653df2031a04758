"""M4's scores against a hand-computed example."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lstm_ray.benchmark import m4
from lstm_ray.benchmark.m4 import M4Score
from lstm_ray.errors import InputError
from lstm_ray.evaluate.forecasts.baselines import SeasonalNaive
from tests import made


def test_smape_mase_and_owa_by_hand() -> None:
    # Series 1: errors 2 and 0 of 10 + 8 and 5 + 5. Series 2: errors 1 and 3 of 1 + 2 and 4 + 1.
    actual, forecast = np.array([[10.0, 5.0], [1.0, 4.0]]), np.array([[8.0, 5.0], [2.0, 1.0]])
    found = m4.score(actual, forecast, np.array([0.5, 4.0]))
    assert found.smape == pytest.approx(100 * (2 / 18 + 0 + 1 / 3 + 3 / 5) / 2)
    assert found.mase == pytest.approx((1 / 0.5 + 2 / 4) / 2)
    assert M4Score(18.383, 2.395).owa == pytest.approx(1.0)
    assert M4Score(9.328, 0.893).owa == pytest.approx(0.4401, abs=1e-4)  # the competition's winner
    assert found.owa == pytest.approx((found.smape / 18.383 + 1.25 / 2.395) / 2)


def test_the_scale_reads_the_whole_in_sample_part_and_nothing_after_it() -> None:
    values = np.array([[1.0], [2.0], [4.0], [1000.0], [5.0], [5.0], [8.0]])
    # Season 1; series 1 is rows 0 to 2 in sample (row 3 is its future), series 2 rows 4 to 6.
    found = m4.seasonal_differences(values, np.array([0, 4]), np.array([2, 6]), season=1)
    assert found == pytest.approx([1.5, 1.5])


def test_forecasters_are_scored_on_the_last_window_of_every_series() -> None:
    segments = made.segments_of((100, 130))
    origins_M = segments.bounds[1:] - 1 - 6
    naive = SeasonalNaive(6, 24)
    found = m4.score_forecasters({"naive": naive}, segments, origins_M, 6)["naive"]
    smape, mase = [], []
    for first, end in ((0, 100), (100, 230)):
        series = segments.target_RC[first:end, 0].astype(np.float64)
        past, future = series[:-6], series[-6:]
        guess = past[-24:-18]
        smape.append(200 * np.mean(np.abs(future - guess) / (np.abs(future) + np.abs(guess))))
        mase.append(np.abs(future - guess).mean() / np.abs(past[24:] - past[:-24]).mean())
    assert found.smape == pytest.approx(np.mean(smape))
    assert found.mase == pytest.approx(np.mean(mase))


def test_windows_that_are_not_the_last_of_every_series_are_refused() -> None:
    segments = made.segments_of((100, 130))
    last_M = segments.bounds[1:] - 1 - 6
    naive = {"naive": SeasonalNaive(6, 24)}
    for origins_M in (last_M - 1, last_M[:1], np.sort(np.append(last_M, last_M[0] - 3))):
        with pytest.raises(InputError, match="one test window at the end of each series"):
            m4.score_forecasters(naive, segments, origins_M, 6)
    cut = replace(segments, series=["same", "same"])
    with pytest.raises(InputError, match="one test window at the end of each series"):
        m4.score_forecasters(naive, cut, last_M, 6)
